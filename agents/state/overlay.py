"""The state of one task in memory: what changed lately, over what the store holds.

A task is one stage on one partition. All values that were put since the task was last spilled are here; what was spilled is
read from the store, in one multi-get for all keys of a batch, behind a bounded cache. A commit writes down the changes
since the last commit as one record, from which the table is rebuilt after a kill: most entries are gone again before they
would have been spilled, and the changes cost 0.7 us a joined pair as a record, 3.4 us as keys of their own (measured). When
to spill, and where records and spilled values lie, is `rocks.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

import msgspec

Read = Callable[[Sequence[bytes]], Sequence[bytes | None]]
Ranges = list[tuple[bytes, bytes]]

# What CPython 3.11 takes for two bytes objects and their dictionary slot, beside the bytes themselves.
_ENTRY_BYTES: Final = 33 + 33 + 100


class _Unknown:
    """The type of the mark for "not known here, ask the next layer" (None stands for "known to be absent")."""


_UNKNOWN: Final = _Unknown()
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Ranges, dict[bytes, bytes | None]]).decode


class Overlay:
    """`State` of one task.

    Parameters
    ----------
    read
        Reads spilled values: keys in ascending order to values or None in the same order.
    bare
        True if the store has no keys of this task; then it is not asked.
    """

    def __init__(self, read: Read, *, bare: bool) -> None:
        self._read = read
        self._bare = bare
        # Current values, None for what is deleted here and may be in the store; `_dirty` is the part since the last commit.
        self._table: dict[bytes, bytes | None] = {}
        self._dirty: dict[bytes, bytes | None] = {}
        # Ranges deleted since the last commit, and those that the store does not know of yet.
        self._dirty_ranges: Ranges = []
        self._ranges: Ranges = []
        self._cache: dict[bytes, bytes] = {}
        self._grown_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """Return the value of one key, None if there is none."""
        value = self._table.get(key, _UNKNOWN)
        return self._spilled([key])[0] if isinstance(value, _Unknown) else value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of several keys, in the order of the keys; keys may repeat."""
        if self._bare:
            return list(map(self._table.get, keys))
        known: list[Any] = list(map(self._table.get, keys, repeat(_UNKNOWN)))
        missing = [index for index, value in enumerate(known) if value is _UNKNOWN]
        if len(missing) == len(known):
            return self._spilled(keys)
        if missing:
            for index, value in zip(missing, self._spilled([keys[index] for index in missing]), strict=True):
                known[index] = value
        return known

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key; one that it has already is no change."""
        if self._table.get(key) != value:
            self._dirty[key] = self._table[key] = value

    def put_many(self, items: Mapping[bytes, bytes]) -> None:
        """Set the values of several keys."""
        self._dirty.update(items)
        self._table.update(items)

    def delete(self, key: bytes) -> None:
        """Remove a key; it need not exist."""
        self._dirty[key] = None
        if self._bare:
            self._table.pop(key, None)
        else:
            self._table[key] = None

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Remove several keys; they need not exist."""
        gone = dict.fromkeys(keys)
        self._dirty.update(gone)
        if self._bare:
            deque(map(self._table.pop, keys, repeat(None)), maxlen=0)
        else:
            self._table.update(gone)

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Remove every key from `start` (included) to `end` (excluded)."""
        for values in (self._dirty, self._table, self._cache):
            for key in [key for key in values if start <= key < end]:
                del values[key]
        self._dirty_ranges.append((start, end))
        if not self._bare:
            self._ranges.append((start, end))

    @property
    def changed(self) -> bool:
        """True if there is something to commit."""
        return bool(self._dirty or self._dirty_ranges)

    def record(self) -> bytes:
        """Return the changes since the last commit."""
        record = _encode((self._dirty_ranges, self._dirty))
        self._grown_bytes += len(record) + len(self._dirty) * _ENTRY_BYTES
        return record

    def snapshot(self) -> bytes:
        """Return one record that stands for all records since the last spill."""
        snapshot = _encode((self._ranges, self._table))
        self._grown_bytes = len(snapshot) + len(self._table) * _ENTRY_BYTES
        return snapshot

    def replay(self, record: bytes) -> None:
        """Take in a record; those since the last spill or snapshot, in order, make the table."""
        ranges, changes = _decode(record)
        for start, end in ranges:
            self.delete_range(start, end)
        for key, value in changes.items():
            if value is None:
                self.delete(key)
            else:
                self._table[key] = value
        self._grown_bytes += len(record) + len(changes) * _ENTRY_BYTES
        self.settle()

    def settle(self) -> None:
        """Take the changes over as committed, once the store has their record."""
        self._dirty = {}
        self._dirty_ranges = []

    def exceeds(self, limit_bytes: int) -> bool:
        """Tell whether the table takes more memory than `limit_bytes`, about."""
        if self._grown_bytes <= limit_bytes:
            return False
        # What was deleted and overwritten since has been counted too; counting anew only now keeps its cost small.
        self._grown_bytes = _size(self._table)
        return self._grown_bytes > limit_bytes // 2

    def pending(self) -> tuple[Ranges, dict[bytes, bytes | None]]:
        """Return what the store has to learn in a spill: ranges to delete, then keys to set or (None) to delete."""
        return self._ranges, self._table

    def spilled(self) -> None:
        """Forget the table, once the store has it; its values stay at hand until the next spill."""
        self._cache = {key: value for key, value in self._table.items() if value is not None}
        self._table = {}
        self._ranges = []
        self._grown_bytes = 0
        self._bare = False

    def trim(self, limit_bytes: int) -> None:
        """Drop cached values if they take more memory than `limit_bytes`, about."""
        if len(self._cache) * _ENTRY_BYTES > limit_bytes and _size(self._cache) > limit_bytes:
            self._cache = {}

    def _spilled(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return values that the table does not have."""
        if self._bare:
            return [None] * len(keys)
        values: list[bytes | None] = list(map(self._cache.get, keys))
        wanted = [key for key, value in zip(keys, values, strict=True) if value is None]
        if not wanted:
            return values
        # Ascending keys make a multi-get three times as fast: neighbours share the path through RocksDB's memtable.
        wanted.sort()
        found = self._read(wanted)
        if self._ranges:
            found = [None if self._in_deleted_range(key) else value for key, value in zip(wanted, found, strict=True)]
        if found.count(None) < len(found):
            by_key = dict(zip(wanted, found, strict=True))
            values = [by_key[key] if value is None else value for key, value in zip(keys, values, strict=True)]
            self._cache.update((key, value) for key, value in by_key.items() if value is not None)
        return values

    def _in_deleted_range(self, key: bytes) -> bool:
        return any(start <= key < end for start, end in self._ranges)


def _size(values: Mapping[bytes, bytes | None]) -> int:
    """Memory of a mapping, about."""
    there: Collection[bytes] = [value for value in values.values() if value is not None]
    return sum(map(len, values)) + sum(map(len, there)) + len(values) * _ENTRY_BYTES
