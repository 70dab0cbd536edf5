"""Settings of the whole test run: property tests draw new examples on a developer's machine, and
the same ones in CI.

A change is then judged by itself in CI; what a developer's run finds becomes an example or a seed
of its own. No example has a deadline: how long one takes says how busy the machine is.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
