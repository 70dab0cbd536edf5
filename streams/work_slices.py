"""Long work in short slices, between which a driver may do something else.

A generator that yields between slices and returns its result: all its changes of state are made
when it is exhausted, and until then nobody else may use the same state.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

WorkSlices = Generator[None, None, T]


def run_slices(slices: WorkSlices[T]) -> T:
    """Do all slices at once; returns their result.

    Examples
    --------
    >>> def halves():
    ...     yield
    ...     return "done"
    >>> run_slices(halves())
    'done'
    """
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result
