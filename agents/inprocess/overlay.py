"""The uncommitted state of one task over its committed values.

A task is one stage on one partition. Everything that a step changes stays here until the driver commits the step as
a whole; reads look at the uncommitted changes first, then at a bounded cache of committed values, then at the store
underneath, in one multi-get for all keys of a batch. Where committed values live is left to `rocks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

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
        Reads committed values: keys in ascending order to values or None in the same order.
    cache_bytes
        Upper bound of the memory that cached committed values take, estimated. The cache has two generations: what
        was not used since the younger one last filled up leaves with the older one.
    empty
        True if the store has no keys of this task. Then nothing needs to be read from it until a generation leaves.
    """

    def __init__(self, read: Read, *, cache_bytes: int, empty: bool = False) -> None:
        self._read = read
        self._dirty: dict[bytes, bytes | None] = {}
        self._ranges: list[tuple[bytes, bytes]] = []
        # What `get` returns now, by key: changes, and committed values used since the generation began; None is "no value".
        self._recent: dict[bytes, bytes | None] = {}
        self._old: dict[bytes, bytes | None] = {}
        self._recent_bytes = 0
        self._generation_bytes = cache_bytes // 2
        self._complete = empty  # every committed value is in `_recent` or `_old`

    def get(self, key: bytes) -> bytes | None:
        """Return the value of one key, None if there is none."""
        value = self._recent.get(key, _UNKNOWN)
        return self._fetch([key])[0] if isinstance(value, _Unknown) else value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of several keys, in the order of the keys; keys may repeat."""
        known: list[Any] = list(map(self._recent.get, keys, repeat(_UNKNOWN)))
        missing = [index for index, value in enumerate(known) if value is _UNKNOWN]
        if len(missing) == len(known):
            return self._fetch(keys)
        if missing:
            for index, value in zip(missing, self._fetch([keys[index] for index in missing]), strict=True):
                known[index] = value
        return known

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self._dirty[key] = self._recent[key] = value

    def put_many(self, items: Mapping[bytes, bytes]) -> None:
        """Set the values of several keys."""
        self._dirty.update(items)
        self._recent.update(items)

    def delete(self, key: bytes) -> None:
        """Remove a key; it need not exist."""
        self._dirty[key] = self._recent[key] = None

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Remove several keys; they need not exist."""
        gone: dict[bytes, bytes | None] = dict.fromkeys(keys)
        self._dirty.update(gone)
        self._recent.update(gone)

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Remove every key from `start` (included) to `end` (excluded), committed or not."""
        for values in (self._dirty, self._recent, self._old):
            for key in [key for key in values if start <= key < end]:
                del values[key]
        self._ranges.append((start, end))

    def ranges(self) -> Sequence[tuple[bytes, bytes]]:
        """Return the ranges deleted since the last commit; they apply before `changes`."""
        return self._ranges

    def changes(self) -> Mapping[bytes, bytes | None]:
        """Return the keys changed since the last commit, None for a deletion."""
        return self._dirty

    def settle(self) -> None:
        """Take the changes over as committed, once the store has them."""
        dirty = self._dirty
        values = [value for value in dirty.values() if value is not None]
        if len(values) < len(dirty):
            for key, value in dirty.items():
                if value is None:
                    del self._recent[key]
                    self._old.pop(key, None)
        self._recent_bytes += _size(dirty, values)
        self._dirty = {}
        self._ranges = []
        if self._recent_bytes > self._generation_bytes:
            # Deleted and overwritten values were counted too; looking once a generation keeps the cost of counting small.
            self._recent_bytes = _size(self._recent, [value for value in self._recent.values() if value is not None])
            if self._recent_bytes > self._generation_bytes // 2:
                self._complete = self._complete and not self._old
                self._old, self._recent, self._recent_bytes = self._recent, {}, 0

    def _fetch(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return committed values, as the ranges deleted since leave them, and keep them at hand."""
        values: list[bytes | None] = list(map(self._old.get, keys)) if self._old else [None] * len(keys)
        hits = len(values) - values.count(None)
        wanted = [key for key, value in zip(keys, values, strict=True) if value is None] if hits else list(keys)
        if wanted and self._complete:
            if not hits:
                return values
        elif wanted:
            # Ascending keys make a multi-get three times as fast: neighbours share the path through the memtable.
            wanted.sort()
            found = self._read(wanted)
            if self._ranges:
                found = [None if self._in_deleted_range(key) else value for key, value in zip(wanted, found, strict=True)]
            if not hits and found.count(None) == len(found):
                return values
            by_key = dict(zip(wanted, found, strict=True))
            values = [by_key[key] if value is None else value for key, value in zip(keys, values, strict=True)]
        used = [(key, value) for key, value in zip(keys, values, strict=True) if value is not None]
        self._recent.update(used)
        self._recent_bytes += sum(len(key) + len(value) for key, value in used) + len(used) * _ENTRY_BYTES
        return values

    def _in_deleted_range(self, key: bytes) -> bool:
        return any(start <= key < end for start, end in self._ranges)


def _size(keys: Collection[bytes], values: Collection[bytes]) -> int:
    return sum(map(len, keys)) + sum(map(len, values)) + len(keys) * _ENTRY_BYTES
