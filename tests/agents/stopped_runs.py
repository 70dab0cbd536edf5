"""Runs that are stopped at many commits and started again."""

from __future__ import annotations

from collections.abc import Callable
from random import Random


class _Stop(Exception):
    """Ends a run where it is."""


def run_through_stops(start: Callable[[Random, Callable[[str], None]], object], seed: int) -> None:
    """Start a run until it ends by itself; one commit in seven stops it, more than ten in all.

    Parameters
    ----------
    start
        Starts or resumes the run; gets a random generator, and what the run has to call at each
        point that it reaches.
    """
    random, stops = Random(seed), 0

    def reached(point: str) -> None:
        nonlocal stops
        if random.random() < 0.15:
            stops += 1
            raise _Stop(point)

    while True:
        try:
            start(random, reached)
            break
        except _Stop:
            continue
    assert stops > 10, "the run has too few commits for this test"
