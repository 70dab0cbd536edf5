"""Long work in short slices, between which a driver may do something else.

A generator that yields between slices and returns its result: all its changes of state are made
when it is exhausted, and until then nobody else may use the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")

SLICE_ROWS: Final = 256
"""Records that a stage handles in one slice: a few ms."""

WorkSlices = Generator[None, None, T]


class Done(NamedTuple, Generic[T]):
    """The result of work that is done."""

    result: T


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


def run_some(slices: WorkSlices[T], is_enough: Callable[[], bool]) -> Done[T] | None:
    """Do slices until one was done and `is_enough`; returns None while some are left.

    Examples
    --------
    >>> def halves():
    ...     yield
    ...     return "done"
    >>> work = halves()
    >>> run_some(work, lambda: True), run_some(work, lambda: True)
    (None, Done(result='done'))
    """
    try:
        next(slices)
        while not is_enough():
            next(slices)
    except StopIteration as end:
        return Done(end.value)
    return None


def in_slices(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows in parts of SLICE_ROWS.

    Examples
    --------
    >>> [len(part) for part in in_slices(range(600))]
    [256, 256, 88]
    """
    for begin in range(0, len(rows), SLICE_ROWS):
        yield rows[begin : begin + SLICE_ROWS]
