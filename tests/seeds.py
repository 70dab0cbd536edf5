"""Seeds of simulated histories, of which the quick selection runs the first ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest


def quick_and_slow(seeds: Sequence[int], quick: int) -> list[Any]:
    """The first `quick` seeds, and the others marked as slow."""
    return [
        *seeds[:quick],
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in seeds[quick:]),
    ]
