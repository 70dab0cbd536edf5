"""Mergeable items that grow by small increments, in `State`, without a rewrite at each increment.

A place holds a few runs of falling size. An increment is appended as a run of its own; as soon as
eight runs at the end are of about one size, they are merged into one. So a row is rewritten about
log8(rows / increment) times, and a read merges a handful of runs. (Bentley and Saxe's logarithmic
method; log-structured stores do the same with files.) Size and extent of each run stay in memory,
so an append reads nothing, and a read takes only the runs that reach into its extent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from driftline.streams.stage import State

T = TypeVar("T")

FAN: Final = 8
MOST_RUNS: Final = 60


class Extent(NamedTuple):
    """First and last key, both included."""

    first: int
    last: int


EVERYWHERE: Final = Extent(0, 1 << 62)


def _everywhere(item: object) -> Extent:
    return EVERYWHERE


@dataclass(frozen=True, slots=True)
class RunFormat(Generic[T]):
    """How items of one kind are measured, merged and encoded.

    Attributes
    ----------
    size
        Number of rows, for the sizes of runs and the cache.
    merge
        Merges items, associative.
    encode, decode
        To the bytes in state and back.
    extent
        First and last key of an item; everywhere for items without keys.
    """

    size: Callable[[T], int]
    merge: Callable[[Sequence[T]], T]
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    extent: Callable[[T], tuple[int, int]] = _everywhere


class _RunHead(NamedTuple):
    """Size and extent of a run."""

    size: int
    first: int
    last: int


class MergeRuns(Generic[T]):
    """Runs of one kind at any number of places; a place is a key prefix.

    Parameters
    ----------
    run_format
        How the items are merged and encoded.
    cached
        Limit on the sum of the sizes of the decoded items in memory. The item used least recently
        leaves the cache first and is read from `State` again.
    """

    def __init__(self, run_format: RunFormat[T], *, cached: int) -> None:
        self._format = run_format
        self._limit = cached
        self._heads: dict[bytes, list[_RunHead]] = {}
        self._items: dict[bytes, tuple[int, T]] = {}
        self._size = 0

    @property
    def cached_size(self) -> int:
        """Sum of the sizes of the decoded items in memory."""
        return self._size

    def append(self, place: bytes, item: T, state: State) -> None:
        """Add an increment at a place."""
        heads = self._heads_at(place, state)
        self._heads[place] = heads
        keep, size = len(heads), self._format.size(item)
        while (first := self._first_to_merge(heads[:keep], size)) < keep:
            item = self._format.merge(
                [*(self._item(_slot(place, number), state) for number in range(first, keep)), item]
            )
            keep, size = first, self._format.size(item)
        self._truncate(place, heads, keep + 1, state)
        self._put(place, heads, keep, item, size, state)
        self._trim_cache()

    def replace(self, place: bytes, item: T, state: State) -> None:
        """Replace all runs at a place by one item."""
        heads = self._heads_at(place, state)
        self._heads[place] = heads
        self._truncate(place, heads, 1, state)
        self._put(place, heads, 0, item, self._format.size(item), state)
        self._trim_cache()

    def read(self, place: bytes, state: State, extent: tuple[int, int] = EVERYWHERE) -> Sequence[T]:
        """The runs at a place that reach into an extent, oldest first."""
        heads = self._heads_at(place, state)
        first, last = extent
        numbers = [
            number for number, head in enumerate(heads) if head.first <= last and first <= head.last
        ]
        items = [self._item(_slot(place, number), state) for number in numbers]
        self._trim_cache()
        return items

    def drop(self, places: Iterable[bytes], state: State) -> None:
        """Delete places one by one: what few places cost does not grow with the size of the state,
        as it does with `drop_range`.
        """
        for place in places:
            for number in range(len(self._heads_at(place, state))):
                self._uncache(_slot(place, number))
                state.delete(_slot(place, number))
            self._heads.pop(place, None)

    def drop_range(self, start: bytes, end: bytes, state: State) -> None:
        """Delete all places p with start <= p < end; looks at every key in memory."""
        state.delete_range(start, end)
        for place in [place for place in self._heads if start <= place < end]:
            for number in range(len(self._heads.pop(place))):
                self._uncache(_slot(place, number))

    @staticmethod
    def _first_to_merge(heads: Sequence[_RunHead], size: int) -> int:
        """Number of the first run at the end to merge with an item of a size.

        The number of all runs if none is to be merged.
        """
        if len(heads) == MOST_RUNS - 1:
            return 0
        first = len(heads)
        while first and heads[first - 1].size < 2 * max(size, 1):
            first -= 1
        return first if len(heads) - first >= FAN - 1 else len(heads)

    def _heads_at(self, place: bytes, state: State) -> list[_RunHead]:
        heads = self._heads.get(place)
        if heads is None:
            heads = []
            first = state.get(_slot(place, 0))
            if first is not None:
                # Places without runs are not kept: windows without rows are read again and again.
                self._heads[place] = heads
            later = (
                state.get_many([_slot(place, number) for number in range(1, MOST_RUNS)])
                if first is not None
                else ()
            )
            for number, data in enumerate((first, *later)):
                if data is None:
                    break
                item = self._format.decode(data)
                heads.append(self._cache(_slot(place, number), item, self._format.size(item)))
        return heads

    def _put(
        self, place: bytes, heads: list[_RunHead], number: int, item: T, size: int, state: State
    ) -> None:
        slot = _slot(place, number)
        self._uncache(slot)
        heads[number:] = [self._cache(slot, item, size)]
        state.put(slot, self._format.encode(item))

    def _truncate(self, place: bytes, heads: list[_RunHead], length: int, state: State) -> None:
        """Keep at most the first `length` runs."""
        for number in range(length, len(heads)):
            self._uncache(_slot(place, number))
            state.delete(_slot(place, number))
        del heads[length:]

    def _item(self, slot: bytes, state: State) -> T:
        """A run, marked as used most recently."""
        cached = self._items.pop(slot, None)
        if cached is not None:
            self._items[slot] = cached
            return cached[1]
        data = state.get(slot)
        if data is None:
            raise ValueError(
                f"measure: run {slot.hex()} is missing from the state; "
                "replay the log into a new folder"
            )
        item = self._format.decode(data)
        self._cache(slot, item, self._format.size(item))
        return item

    def _cache(self, slot: bytes, item: T, size: int) -> _RunHead:
        self._items[slot] = (size, item)
        self._size += size
        return _RunHead(size, *self._format.extent(item))

    def _uncache(self, slot: bytes) -> None:
        size, _ = self._items.pop(slot, (0, None))
        self._size -= size

    def _trim_cache(self) -> None:
        while self._size > self._limit and len(self._items) > 1:
            self._uncache(next(iter(self._items)))


def _slot(place: bytes, number: int) -> bytes:
    return place + number.to_bytes(1, "big")
