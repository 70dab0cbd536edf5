"""Seeds of simulated histories. The quick selection runs the first ones, CI more of them, and all
run where DRIFTLINE_SEEDS=all (`make test-drawn`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

VARIABLE = "DRIFTLINE_SEEDS"


def quick_and_slow(seeds: Sequence[Any], quick: int, *, in_ci: int | None = None) -> list[Any]:
    """The first `quick` seeds, and others marked as slow: all of them, or the first `in_ci`."""
    most = None if os.environ.get(VARIABLE) == "all" else in_ci
    return [
        *seeds[:quick],
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in seeds[quick:most]),
    ]
