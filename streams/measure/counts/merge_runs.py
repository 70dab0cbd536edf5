"""Mergeable things that grow by small increments, kept in `State` without rewriting all of them
each time.

At one place there are a few runs of falling size. An increment is appended as a run of its own, and
as soon as eight runs at the end are of about one size they become one; so a row is rewritten about
log8(rows / increment) times, and reading merges a handful of runs. (Bentley and Saxe's logarithmic
method; log-structured stores do the same with files.) Size and extent of each run stay in memory,
so that an increment is appended without reading what is there, and a read takes only the runs that
reach into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from driftline.streams.stage import State

T = TypeVar("T")

FAN: Final = 8
MOST_RUNS: Final = 60


EVERYWHERE: Final = (0, 1 << 62)


def _everywhere(item: object) -> tuple[int, int]:
    return EVERYWHERE


@dataclass(frozen=True, slots=True)
class RunFormat(Generic[T]):
    """How things of one kind are measured, merged and written down;

    `extent` is where its first and its last part lie, if it has parts.
    """

    size: Callable[[T], int]
    merge: Callable[[Sequence[T]], T]
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    extent: Callable[[T], tuple[int, int]] = _everywhere


@dataclass(frozen=True, slots=True)
class _Head:
    """What is known of a run without reading it."""

    size: int
    first: int
    last: int


class MergeRuns(Generic[T]):
    """Runs of one kind at any number of places; a place is a key prefix.

    Parameters
    ----------
    kind
        What is kept.
    cached
        Sum of the sizes of what stays decoded in memory, oldest use out first. What is dropped is
        read again from `State`.
    """

    def __init__(self, kind: RunFormat[T], *, cached: int) -> None:
        self._kind = kind
        self._limit = cached
        self._heads: dict[bytes, list[_Head]] = {}
        self._items: dict[bytes, tuple[int, T]] = {}
        self._size = 0

    def append(self, place: bytes, item: T, state: State) -> None:
        """Add an increment at a place."""
        heads = self._heads_at(place, state)
        keep, size = len(heads), self._kind.size(item)
        while (first := self._first_alike(heads[:keep], size)) < keep:
            item = self._kind.merge(
                [*(self._item(_slot(place, number), state) for number in range(first, keep)), item]
            )
            keep, size = first, self._kind.size(item)
        self._cut(place, heads, keep + 1, state)
        self._put(place, heads, keep, item, size, state)
        self._trim()

    @staticmethod
    def _first_alike(heads: Sequence[_Head], size: int) -> int:
        """Which of the runs at the end, from the first of them on, are to become one with an item
        of a size; their number for none.
        """
        if len(heads) == MOST_RUNS - 1:
            return 0
        first = len(heads)
        while first and heads[first - 1].size < 2 * max(size, 1):
            first -= 1
        return first if len(heads) - first >= FAN - 1 else len(heads)

    def replace(self, place: bytes, item: T, state: State) -> None:
        """Let one item be all there is at a place."""
        heads = self._heads_at(place, state)
        self._cut(place, heads, 1, state)
        self._put(place, heads, 0, item, self._kind.size(item), state)
        self._trim()

    def read(self, place: bytes, state: State, extent: tuple[int, int] = EVERYWHERE) -> Sequence[T]:
        """The runs at a place that reach into an extent (both ends included), oldest first."""
        heads = self._heads_at(place, state)
        first, last = extent
        found = [
            number for number, head in enumerate(heads) if head.first <= last and first <= head.last
        ]
        items = [self._item(_slot(place, number), state) for number in found]
        self._trim()
        return items

    def drop(self, start: bytes, end: bytes, state: State) -> None:
        """Forget all places p with start <= p < end."""
        state.delete_range(start, end)
        for place in [place for place in self._heads if start <= place < end]:
            for number in range(len(self._heads.pop(place))):
                self._forget(_slot(place, number))

    def _heads_at(self, place: bytes, state: State) -> list[_Head]:
        heads = self._heads.get(place)
        if heads is None:
            heads = self._heads[place] = []
            first = state.get(_slot(place, 0))
            others = (
                state.get_many([_slot(place, number) for number in range(1, MOST_RUNS)])
                if first is not None
                else ()
            )
            for number, data in enumerate((first, *others)):
                if data is None:
                    break
                item = self._kind.decode(data)
                heads.append(self._remember(_slot(place, number), item, self._kind.size(item)))
        return heads

    def _put(
        self, place: bytes, heads: list[_Head], number: int, item: T, size: int, state: State
    ) -> None:
        slot = _slot(place, number)
        self._forget(slot)
        heads[number:] = [self._remember(slot, item, size)]
        state.put(slot, self._kind.encode(item))

    def _cut(self, place: bytes, heads: list[_Head], length: int, state: State) -> None:
        """Keep no more than `length` runs."""
        for number in range(length, len(heads)):
            self._forget(_slot(place, number))
            state.delete(_slot(place, number))
        del heads[length:]

    def _item(self, slot: bytes, state: State) -> T:
        """A run, marked as used last."""
        held = self._items.pop(slot, None)
        if held is not None:
            self._items[slot] = held
            return held[1]
        data = state.get(slot)
        if data is None:
            raise ValueError(
                f"measure: run {slot.hex()} is gone from the state; replay the log into a new folder"
            )
        item = self._kind.decode(data)
        self._remember(slot, item, self._kind.size(item))
        return item

    def _remember(self, slot: bytes, item: T, size: int) -> _Head:
        self._items[slot] = (size, item)
        self._size += size
        return _Head(size, *self._kind.extent(item))

    def _forget(self, slot: bytes) -> None:
        size, _ = self._items.pop(slot, (0, None))
        self._size -= size

    def _trim(self) -> None:
        while self._size > self._limit and len(self._items) > 1:
            self._forget(next(iter(self._items)))


def _slot(place: bytes, number: int) -> bytes:
    return place + number.to_bytes(1, "big")
