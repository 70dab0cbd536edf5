"""Settings of the whole test run: property tests draw new examples on a developer's machine, and the same ones in CI.

A change is then judged by itself in CI; what a developer's run finds becomes an example or a seed of its own.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
