"""The uncommitted state of one task over its committed values.

A task is one stage on one partition. Everything that a step changes stays here until the driver commits the step as
a whole; reads look at the uncommitted changes first, then at a bounded cache of committed values, then at the store
underneath, in one multi-get for all keys of a batch. Where committed values live is left to `rocks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final

Read = Callable[[Sequence[bytes]], Sequence[bytes | None]]

# What CPython 3.11 takes for two bytes objects and their dictionary slot, beside the bytes themselves.
_ENTRY_BYTES: Final = 33 + 33 + 100


class _Unknown:
    """The type of the mark for "not known here, ask the next layer" (None stands for "known to be absent")."""


_UNKNOWN: Final = _Unknown()


class Overlay:
    """`State` of one task: dirty changes over cached committed values over a store.

    Parameters
    ----------
    read
        Reads committed values: keys in ascending order, without duplicates, to values or None in the same order.
    cache_bytes
        Upper bound of the memory that cached committed values take, estimated. The cache has two generations: what
        was not used since the younger one last filled up leaves with the older one.
    """

    def __init__(self, read: Read, *, cache_bytes: int) -> None:
        self._read = read
        self._dirty: dict[bytes, bytes | None] = {}
        self._ranges: list[tuple[bytes, bytes]] = []
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}
        self._young_bytes = 0
        self._generation_bytes = cache_bytes // 2

    def get(self, key: bytes) -> bytes | None:
        """Return the value of one key, None if there is none."""
        value = self._dirty.get(key, _UNKNOWN)
        if not isinstance(value, _Unknown):
            return value
        return self._committed([key])[0]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of several keys, in the order of the keys; keys may repeat."""
        known = list(map(self._dirty.get, keys, repeat(_UNKNOWN)))
        unknown = [index for index, value in enumerate(known) if value is _UNKNOWN]
        if len(unknown) == len(known):
            return self._committed(keys)
        if unknown:
            for index, value in zip(unknown, self._committed([keys[index] for index in unknown]), strict=True):
                known[index] = value
        return known  # type: ignore[return-value]  # every mark was replaced

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self._dirty[key] = value

    def put_many(self, items: Mapping[bytes, bytes]) -> None:
        """Set the values of several keys."""
        self._dirty.update(items)

    def delete(self, key: bytes) -> None:
        """Remove a key; it need not exist."""
        self._dirty[key] = None

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Remove every key from `start` (included) to `end` (excluded), committed or not."""
        for key in [key for key in self._dirty if start <= key < end]:
            del self._dirty[key]
        self._ranges.append((start, end))

    def ranges(self) -> Sequence[tuple[bytes, bytes]]:
        """Return the ranges deleted since the last commit; they apply before `changes`."""
        return self._ranges

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield the changed keys since the last commit in ascending order, None for a deletion."""
        dirty = self._dirty
        for key in sorted(dirty):
            yield key, dirty[key]

    def settle(self) -> None:
        """Take the changes over as committed, once the store has them."""
        young, old = self._young, self._old
        for start, end in self._ranges:
            for generation in (young, old):
                for key in [key for key in generation if start <= key < end]:
                    del generation[key]
        size = 0
        for key, value in self._dirty.items():
            if value is None:
                young.pop(key, None)
                old.pop(key, None)
            else:
                young[key] = value
                size += len(key) + len(value) + _ENTRY_BYTES
        self._dirty.clear()
        self._ranges.clear()
        self._grown(size)

    def _committed(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return committed values, as the ranges deleted since leave them."""
        young, old = self._young, self._old
        values: list[bytes | None] = list(map(young.get, keys))
        missing = [index for index, value in enumerate(values) if value is None]
        if not missing:
            return self._visible(keys, values)
        size = 0
        wanted = []
        for index in missing:
            key = keys[index]
            value = old.get(key)
            if value is None:
                wanted.append(index)
            else:
                values[index] = young[key] = value
                size += len(key) + len(value) + _ENTRY_BYTES
        if wanted:
            # Ascending keys make a multi-get three times as fast: neighbours share the path through the memtable.
            ordered = sorted({keys[index] for index in wanted})
            found = dict(zip(ordered, self._read(ordered), strict=True))
            for index in wanted:
                values[index] = found[keys[index]]
            for key, value in found.items():
                if value is not None:
                    young[key] = value
                    size += len(key) + len(value) + _ENTRY_BYTES
        if size:
            self._grown(size)
        return self._visible(keys, values)

    def _visible(self, keys: Sequence[bytes], values: list[bytes | None]) -> list[bytes | None]:
        """Blank the values whose keys lie in a range deleted since the last commit."""
        for start, end in self._ranges:
            for index, key in enumerate(keys):
                if start <= key < end:
                    values[index] = None
        return values

    def _grown(self, size: int) -> None:
        """Account for values added to the younger generation, and start the next one when it is full."""
        self._young_bytes += size
        if self._young_bytes > self._generation_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0
