"""Recent changes to the state of one stage on one partition, in memory, over a store.

Holds all values that were put since the last spill. Spilled values are read from the store, with
one multi-get for all keys of a batch, behind a bounded cache. A commit writes the changes since the
last commit as one record, from which the table is rebuilt after a kill: most entries are deleted
before they would be spilled, and the changes cost 0.7 us a joined pair as one record, 3.4 us as
separate keys (measured). The same bytes are a driver's journal. When to spill is decided in
`task_state.py`; `rocks.py` is the store.

A read looks in the table, the frozen table (a spill that is being written while the next batch
changes the table), the cache and the store, in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

import msgspec
from msgspec import Struct

Read = Callable[[Sequence[bytes]], Sequence[bytes | None]]
Ranges = list[tuple[bytes, bytes]]
Table = dict[bytes, bytes | None]

# Memory of two bytes objects and their dictionary slot in CPython 3.11, without their contents.
ENTRY_BYTES: Final = 33 + 33 + 100


class Put(Struct, array_like=True, tag=0, gc=False):
    """Keys that were set, and their values; None for a key that was removed."""

    keys: Sequence[bytes]
    values: Sequence[bytes | None]


class Pop(Struct, array_like=True, tag=1, gc=False):
    """Keys that were removed."""

    keys: Sequence[bytes]


class DeleteRange(Struct, array_like=True, tag=2, gc=False):
    """All keys from `start` (included) to `end` (excluded) were removed."""

    start: bytes
    end: bytes


class _Unknown:
    """Type of the sentinel for "not in this layer, ask the next one" (None: known to be absent)."""


_UNKNOWN: Final = _Unknown()
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Put | Pop | DeleteRange]).decode


class Overlay:
    """`State` of one stage on one partition.

    Parameters
    ----------
    read
        Reads spilled values: takes keys in ascending order, returns values or None in that order.
    store_is_empty
        True if the store has no keys of this task; then it is never read.
    """

    def __init__(self, read: Read, *, store_is_empty: bool) -> None:
        self._read = read
        self._store_is_empty = store_is_empty
        # Current values (None for a deleted key that the store may have), and the ranges deleted
        # since the last spill.
        self._table: Table = {}
        self._ranges: Ranges = []
        # Changes since the last record, in order; those of single keys since the last change of
        # many keys are in `_single_changes`.
        self._changes: list[Put | Pop | DeleteRange] = []
        self._single_changes: Table = {}
        self._frozen: Table | None = None
        self._frozen_ranges: Ranges = []
        self._cache: dict[bytes, bytes] = {}
        self._cached_entry_bytes = ENTRY_BYTES
        # Estimated memory of the table. It includes deleted and overwritten values until
        # `count_bytes`.
        self.grown_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """Return the value of one key, None if there is none."""
        value = self._table.get(key, _UNKNOWN)
        return self._read_spilled([key])[0] if isinstance(value, _Unknown) else value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of several keys, in the order of the keys; keys may repeat."""
        if self._store_is_empty:
            return list(map(self._table.get, keys))
        known: list[Any] = list(map(self._table.get, keys, repeat(_UNKNOWN)))
        missing = [index for index, value in enumerate(known) if value is _UNKNOWN]
        if len(missing) == len(known):
            return self._read_spilled(keys)
        if missing:
            for index, value in zip(
                missing, self._read_spilled([keys[index] for index in missing]), strict=True
            ):
                known[index] = value
        return known

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key; setting the value that it already has is no change."""
        if self._table.get(key) != value:
            self._single_changes[key] = self._table[key] = value

    def put_many(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Set the values of several keys."""
        self._table.update(zip(keys, values, strict=True))
        self._pending_changes().append(Put(keys, values))

    def delete(self, key: bytes) -> None:
        """Remove a key; it need not exist."""
        self._remove([key])
        self._single_changes[key] = None

    def pop_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Remove several keys and return their values, None where there was none."""
        self._pending_changes().append(Pop(keys))
        if self._store_is_empty:
            return list(map(self._table.pop, keys, repeat(None)))
        values = dict(zip(keys, self.get_many(keys), strict=True))
        self._remove(keys)
        return list(map(values.pop, keys, repeat(None)))

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Remove every key from `start` (included) to `end` (excluded)."""
        for values in (self._table, self._cache):
            for key in [key for key in values if start <= key < end]:
                del values[key]
        if not self._store_is_empty:
            self._ranges.append((start, end))
        self._pending_changes().append(DeleteRange(start, end))

    @property
    def changed(self) -> bool:
        """True if there are changes since the last record."""
        return bool(self._changes or self._single_changes)

    @property
    def ranges(self) -> int:
        """Number of deleted ranges that every read from the store is compared with."""
        return len(self._ranges)

    def record(self) -> bytes:
        """Return the changes since the last record, as a record."""
        changes = self._pending_changes()
        record = _encode(changes)
        self.grown_bytes += len(record) + _keys_of(changes) * ENTRY_BYTES
        self._clear_changes()
        return record

    def snapshot(self) -> bytes:
        """Return one record that replaces all records since the last spill, including all present
        changes.
        """
        snapshot = _encode(
            [
                *(DeleteRange(start, end) for start, end in self._ranges),
                Put(list(self._table), list(self._table.values())),
            ]
        )
        self.grown_bytes = len(snapshot) + len(self._table) * ENTRY_BYTES
        self._clear_changes()
        return snapshot

    def apply(self, record: bytes) -> None:
        """Apply the changes of a record; they become part of the next record."""
        changes = _decode(record)
        for change in changes:
            if isinstance(change, DeleteRange):
                self.delete_range(change.start, change.end)
                continue
            self._pending_changes().append(change)
            if isinstance(change, Pop):
                self._remove(change.keys)
            else:
                self._table.update(zip(change.keys, change.values, strict=True))
                if self._store_is_empty:
                    self._remove(
                        [
                            key
                            for key, value in zip(change.keys, change.values, strict=True)
                            if value is None
                        ]
                    )
        self.grown_bytes += len(record) + _keys_of(changes) * ENTRY_BYTES

    def replay(self, record: bytes) -> None:
        """Apply the changes of a record that the store already has. The records since the last
        spill or snapshot, in order, rebuild the table.
        """
        self.apply(record)
        self._clear_changes()

    def repeat(self, keys: Iterable[bytes]) -> int:
        """Add the current values of existing keys to the next record; returns their bytes."""
        wanted = list(keys)
        values = self.get_many(wanted)
        current = {
            key: value for key, value in zip(wanted, values, strict=True) if value is not None
        }
        self._pending_changes().append(Put(list(current), list(current.values())))
        return _bytes(current)

    def repeat_spilled(self, items: Iterable[tuple[bytes, bytes]]) -> int:
        """Add entries of the store to the next record; returns their bytes. Entries that have
        changed since are skipped, because later records have them.
        """
        table, frozen = self._table, self._frozen or {}
        unchanged = {
            key: value
            for key, value in items
            if key not in table and key not in frozen and not self._in_deleted_range(key)
        }
        self._pending_changes().append(Put(list(unchanged), list(unchanged.values())))
        return _bytes(unchanged)

    def keys_in_memory(self) -> list[bytes]:
        """Keys of the entries that only the table has."""
        return [key for key, value in self._table.items() if value is not None]

    def table_bytes(self) -> int:
        """Bytes of the keys and values in the table, which is about the size of a snapshot."""
        return _bytes(self._table)

    def count_bytes(self) -> int:
        """Compute the memory of the table exactly, and return it."""
        self.grown_bytes = _size(self._table)
        return self.grown_bytes

    def freeze(self) -> tuple[Ranges, Table]:
        """Set the table aside for a spill, and return it: ranges to delete in the store, then keys
        to set or (None) to delete.

        The frozen table does not change until `finish_spill`. All changes must be in a record
        before.
        """
        assert self._frozen is None, "the previous spill has not been finished"
        assert not self.changed, "there are changes without a record"
        self._frozen, self._frozen_ranges = self._table, self._ranges
        self._table, self._ranges, self._cache = {}, [], {}
        self.grown_bytes = 0
        self._store_is_empty = False
        return self._frozen_ranges, self._frozen

    @property
    def freezing(self) -> bool:
        """True between `freeze` and `spilled`."""
        return self._frozen is not None

    def finish_spill(self) -> None:
        """Drop the frozen table once the store has it; cache its values until the next spill."""
        frozen = {key: value for key, value in (self._frozen or {}).items() if value is not None}
        if self._ranges:
            frozen = {key: value for key, value in frozen.items() if not _within(key, self._ranges)}
        self._cached_entry_bytes = _size(frozen) // len(frozen) if frozen else ENTRY_BYTES
        self._cache = frozen | self._cache
        self._frozen, self._frozen_ranges = None, []

    @property
    def cache_bytes(self) -> int:
        """Estimated memory of the cache."""
        return len(self._cache) * self._cached_entry_bytes

    def drop_cache(self) -> None:
        """Drop all cached values."""
        self._cache = {}

    def _remove(self, keys: Sequence[bytes]) -> None:
        """Remove keys from the table, or mark them as deleted if the store may have them."""
        if self._store_is_empty:
            for key in keys:
                self._table.pop(key, None)
        else:
            self._table.update(dict.fromkeys(keys))

    def _pending_changes(self) -> list[Put | Pop | DeleteRange]:
        """The changes since the last record, including those of single keys."""
        if self._single_changes:
            self._changes.append(
                Put(list(self._single_changes), list(self._single_changes.values()))
            )
            self._single_changes = {}
        return self._changes

    def _clear_changes(self) -> None:
        self._changes = []
        self._single_changes = {}

    def _read_spilled(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values of keys that the table does not know."""
        if self._store_is_empty:
            return [None] * len(keys)
        if self._frozen is None:
            return self._read_stored(keys)
        values: list[Any] = [
            None if _within(key, self._ranges) else value
            for key, value in zip(keys, map(self._frozen.get, keys, repeat(_UNKNOWN)), strict=True)
        ]
        missing = [index for index, value in enumerate(values) if value is _UNKNOWN]
        for index, value in zip(
            missing, self._read_stored([keys[index] for index in missing]), strict=True
        ):
            values[index] = value
        return values

    def _read_stored(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values from the cache and the store."""
        values: list[bytes | None] = list(map(self._cache.get, keys))
        wanted = [key for key, value in zip(keys, values, strict=True) if value is None]
        if not wanted:
            return values
        # Ascending keys make a multi-get three times as fast: neighbours share the path through
        # RocksDB's memtable.
        wanted.sort()
        stored = self._read(wanted)
        if self._ranges or self._frozen_ranges:
            stored = [
                None if self._in_deleted_range(key) else value
                for key, value in zip(wanted, stored, strict=True)
            ]
        if stored.count(None) < len(stored):
            by_key = dict(zip(wanted, stored, strict=True))
            values = [
                by_key[key] if value is None else value
                for key, value in zip(keys, values, strict=True)
            ]
            self._cache.update((key, value) for key, value in by_key.items() if value is not None)
        return values

    def _in_deleted_range(self, key: bytes) -> bool:
        """Whether the key is in a deleted range; the store may still have its entry."""
        return _within(key, self._ranges) or _within(key, self._frozen_ranges)


def _within(key: bytes, ranges: Ranges) -> bool:
    return any(start <= key < end for start, end in ranges)


def _keys_of(changes: Sequence[Put | Pop | DeleteRange]) -> int:
    return sum(len(change.keys) for change in changes if not isinstance(change, DeleteRange))


def _size(values: Mapping[bytes, bytes | None]) -> int:
    """Estimated memory of a mapping."""
    return _bytes(values) + len(values) * ENTRY_BYTES


def _bytes(values: Mapping[bytes, bytes | None]) -> int:
    present: Collection[bytes] = [value for value in values.values() if value is not None]
    return sum(map(len, values)) + sum(map(len, present))
