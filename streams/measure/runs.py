"""Mergeable things that grow by small increments, kept in `State` without rewriting all of them each time.

At one place there are a few runs of falling size. An increment is appended as a run of its own, and as soon as four runs at the end
are of about one size they become one; so a row is rewritten about log4(rows / increment) times, and reading merges a handful of
runs. (Bentley and Saxe's logarithmic method; log-structured stores do the same with files.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from streams.stage import State

T = TypeVar("T")

FAN: Final = 4
MOST_RUNS: Final = 60


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How things of one kind are measured, merged and written down."""

    size: Callable[[T], int]
    merge: Callable[[Sequence[T]], T]
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]


class Runs(Generic[T]):
    """Runs of one kind at any number of places; a place is a key prefix.

    Parameters
    ----------
    kind
        What is kept.
    cached
        Sum of the sizes of what stays decoded in memory, oldest use out first. What is dropped is read again from `State`.
    """

    def __init__(self, kind: Kind[T], *, cached: int) -> None:
        self._kind = kind
        self._limit = cached
        self._runs: dict[bytes, list[T]] = {}
        self._size = 0

    def append(self, place: bytes, item: T, state: State) -> None:
        """Add an increment at a place."""
        kind = self._kind
        runs = self._taken(place, state)
        before, size = len(runs), kind.size(item)
        self._size += size
        keep, total = before, size
        while keep and kind.size(runs[keep - 1]) < 2 * total:
            keep -= 1
            total += kind.size(runs[keep])
        if before - keep < FAN - 1:
            keep = before
        if before == MOST_RUNS - 1:
            keep = 0
        if keep < before:
            total = size + sum(map(kind.size, runs[keep:]))
            self._size -= total
            item = kind.merge([*runs[keep:], item])
            self._size += kind.size(item)
            del runs[keep:]
        runs.append(item)
        state.put(_slot(place, keep), kind.encode(item))
        for number in range(keep + 1, before):
            state.delete(_slot(place, number))
        self._trim()

    def replace(self, place: bytes, item: T, state: State) -> None:
        """Let one item be all there is at a place."""
        runs = self._taken(place, state)
        self._size += self._kind.size(item) - sum(map(self._kind.size, runs))
        for number in range(1, len(runs)):
            state.delete(_slot(place, number))
        runs[:] = [item]
        state.put(_slot(place, 0), self._kind.encode(item))
        self._trim()

    def read(self, place: bytes, state: State) -> Sequence[T]:
        """The runs at a place, oldest first."""
        runs = tuple(self._taken(place, state))
        self._trim()
        return runs

    def drop(self, start: bytes, end: bytes, state: State) -> None:
        """Forget all places p with start <= p < end."""
        state.delete_range(start, end)
        for place in [place for place in self._runs if start <= place < end]:
            self._size -= sum(map(self._kind.size, self._runs.pop(place)))

    def _taken(self, place: bytes, state: State) -> list[T]:
        """The decoded runs of a place, marked as used last."""
        runs = self._runs.pop(place, None)
        if runs is None:
            runs = self._loaded(place, state)
            self._size += sum(map(self._kind.size, runs))
        self._runs[place] = runs
        return runs

    def _loaded(self, place: bytes, state: State) -> list[T]:
        first = state.get(_slot(place, 0))
        if first is None:
            return []
        runs = [self._kind.decode(first)]
        for data in state.get_many([_slot(place, number) for number in range(1, MOST_RUNS)]):
            if data is None:
                break
            runs.append(self._kind.decode(data))
        return runs

    def _trim(self) -> None:
        while self._size > self._limit and len(self._runs) > 1:
            place = next(iter(self._runs))
            self._size -= sum(map(self._kind.size, self._runs.pop(place)))


def _slot(place: bytes, number: int) -> bytes:
    return place + number.to_bytes(1, "big")


def place_of(kind: bytes, *numbers: int) -> bytes:
    """A place: one letter and numbers of 8 bytes each, so that places sort as their numbers do.

    Examples
    --------
    >>> place_of(b"c", 0, 258).hex()
    '6300000000000000000000000000000102'
    """
    return kind + b"".join(number.to_bytes(8, "big") for number in numbers)
