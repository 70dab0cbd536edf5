"""The state of one stage on one partition in memory: what changed lately, over what the store
holds.

All values that were put since the last spill are here; what was spilled is read from the store, in
one multi-get for all keys of a batch, behind a bounded cache. A commit writes down the changes
since the last commit as one record, from which the table is rebuilt after a kill: most entries are
gone again before they would have been spilled, and the changes cost 0.7 us a joined pair as a
record, 3.4 us as keys of their own (measured). The same bytes are a driver's journal. When to
spill, and where records and spilled values lie, is `rocks.py`.

Reads ask in turn: the table, the frozen table (a spill that is being written while the next batch
changes the table), the cache, the store.
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

# What CPython 3.11 takes for two bytes objects and their dictionary slot, beside the bytes
# themselves.
ENTRY_BYTES: Final = 33 + 33 + 100


class Put(Struct, array_like=True, tag=0, gc=False):
    """Values that were set; None for a key that was removed."""

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
    """The type of the mark for "not known here, ask the next layer" (None stands for "known to be
    absent").
    """


_UNKNOWN: Final = _Unknown()
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Put | Pop | DeleteRange]).decode


class Overlay:
    """`State` of one stage on one partition.

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
        # Current values, None for what is deleted here and may be in the store, and ranges deleted
        # since the last spill.
        self._table: Table = {}
        self._ranges: Ranges = []
        # What changed since the last record, in order; changes of single keys after the last of
        # many.
        self._changes: list[Put | Pop | DeleteRange] = []
        self._singles: Table = {}
        self._frozen: Table | None = None
        self._frozen_ranges: Ranges = []
        self._cache: dict[bytes, bytes] = {}
        self._cached_entry_bytes = ENTRY_BYTES
        # About what the table takes; what was deleted and overwritten has been counted too, until
        # `counted`.
        self.grown_bytes = 0

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
            for index, value in zip(
                missing, self._spilled([keys[index] for index in missing]), strict=True
            ):
                known[index] = value
        return known

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key; one that it has already is no change."""
        if self._table.get(key) != value:
            self._singles[key] = self._table[key] = value

    def put_many(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Set the values of several keys."""
        self._table.update(zip(keys, values, strict=True))
        self._noted().append(Put(keys, values))

    def delete(self, key: bytes) -> None:
        """Remove a key; it need not exist."""
        self._removed([key])
        self._singles[key] = None

    def pop_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Remove several keys and return their values, None where there was none."""
        self._noted().append(Pop(keys))
        if self._bare:
            return list(map(self._table.pop, keys, repeat(None)))
        values = dict(zip(keys, self.get_many(keys), strict=True))
        self._removed(keys)
        return list(map(values.pop, keys, repeat(None)))

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Remove every key from `start` (included) to `end` (excluded)."""
        for values in (self._table, self._cache):
            for key in [key for key in values if start <= key < end]:
                del values[key]
        if not self._bare:
            self._ranges.append((start, end))
        self._noted().append(DeleteRange(start, end))

    @property
    def changed(self) -> bool:
        """True if there is something that no record has."""
        return bool(self._changes or self._singles)

    @property
    def ranges(self) -> int:
        """How many deleted ranges every read from the store has to be compared with."""
        return len(self._ranges)

    def record(self) -> bytes:
        """Return the changes since the last record, as a record."""
        changes = self._noted()
        record = _encode(changes)
        self.grown_bytes += len(record) + _keys_of(changes) * ENTRY_BYTES
        self._recorded()
        return record

    def snapshot(self) -> bytes:
        """Return one record that stands for all records since the last spill, and for what changed
        since.
        """
        snapshot = _encode(
            [
                *(DeleteRange(*both) for both in self._ranges),
                Put(list(self._table), list(self._table.values())),
            ]
        )
        self.grown_bytes = len(snapshot) + len(self._table) * ENTRY_BYTES
        self._recorded()
        return snapshot

    def apply(self, record: bytes) -> None:
        """Make the changes of a record; they are part of the next record."""
        changes = _decode(record)
        for change in changes:
            if isinstance(change, DeleteRange):
                self.delete_range(change.start, change.end)
                continue
            self._noted().append(change)
            if isinstance(change, Pop):
                self._removed(change.keys)
            else:
                self._table.update(zip(change.keys, change.values, strict=True))
                if self._bare:
                    self._removed(
                        [
                            key
                            for key, value in zip(change.keys, change.values, strict=True)
                            if value is None
                        ]
                    )
        self.grown_bytes += len(record) + _keys_of(changes) * ENTRY_BYTES

    def replay(self, record: bytes) -> None:
        """Make the changes of a record that the store has; those since the last spill or snapshot,
        in order, make the table.
        """
        self.apply(record)
        self._recorded()

    def repeat(self, keys: Iterable[bytes]) -> int:
        """Put the current values of keys into the next record, where they exist; gives their bytes."""
        wanted = list(keys)
        values = self.get_many(wanted)
        there = {key: value for key, value in zip(wanted, values, strict=True) if value is not None}
        self._noted().append(Put(list(there), list(there.values())))
        return sum(map(len, there)) + sum(map(len, there.values()))

    def repeat_spilled(self, items: Iterable[tuple[bytes, bytes]]) -> int:
        """The same for entries as the store has them; leaves out what is no longer so, which later
        records have. Gives the bytes.
        """
        table, frozen = self._table, self._frozen or {}
        there = {
            key: value
            for key, value in items
            if key not in table and key not in frozen and not self._in_deleted_range(key)
        }
        self._noted().append(Put(list(there), list(there.values())))
        return sum(map(len, there)) + sum(map(len, there.values()))

    def keys_in_memory(self) -> list[bytes]:
        """Keys of the entries that the store does not have."""
        return [key for key, value in self._table.items() if value is not None]

    def table_bytes(self) -> int:
        """Bytes of the keys and values in the table, about those of a snapshot."""
        return _bytes(self._table)

    def counted(self) -> int:
        """Count what the table takes, and return it."""
        self.grown_bytes = _size(self._table)
        return self.grown_bytes

    def freeze(self) -> tuple[Ranges, Table]:
        """Set the table aside for a spill, and return it: ranges that the store has to delete, then
        keys to set or (None) to delete.

        Nothing changes it until `spilled`. No changes may be left that no record has.
        """
        assert self._frozen is None, "the spill before has not been settled"
        assert not self.changed, "there are changes that no record has"
        self._frozen, self._frozen_ranges = self._table, self._ranges
        self._table, self._ranges, self._cache = {}, [], {}
        self.grown_bytes = 0
        self._bare = False
        return self._frozen_ranges, self._frozen

    @property
    def freezing(self) -> bool:
        """True between `freeze` and `spilled`."""
        return self._frozen is not None

    def spilled(self) -> None:
        """Let go of the frozen table, once the store has it; its values stay at hand until the next
        spill.
        """
        frozen = {key: value for key, value in (self._frozen or {}).items() if value is not None}
        if self._ranges:
            frozen = {key: value for key, value in frozen.items() if not _within(key, self._ranges)}
        self._cached_entry_bytes = _size(frozen) // len(frozen) if frozen else ENTRY_BYTES
        self._cache = frozen | self._cache
        self._frozen, self._frozen_ranges = None, []

    @property
    def cache_bytes(self) -> int:
        """About what the cache takes."""
        return len(self._cache) * self._cached_entry_bytes

    def drop_cache(self) -> None:
        """Forget the cached values."""
        self._cache = {}

    def _removed(self, keys: Sequence[bytes]) -> None:
        """Take keys out of the table, or mark them where the store may have them."""
        if self._bare:
            for key in keys:
                self._table.pop(key, None)
        else:
            self._table.update(dict.fromkeys(keys))

    def _noted(self) -> list[Put | Pop | DeleteRange]:
        """Return the changes since the last record, the single ones among them."""
        if self._singles:
            self._changes.append(Put(list(self._singles), list(self._singles.values())))
            self._singles = {}
        return self._changes

    def _recorded(self) -> None:
        self._changes = []
        self._singles = {}

    def _spilled(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return values that the table does not have."""
        if self._bare:
            return [None] * len(keys)
        if self._frozen is None:
            return self._stored(keys)
        found: list[Any] = [
            None if _within(key, self._ranges) else value
            for key, value in zip(keys, map(self._frozen.get, keys, repeat(_UNKNOWN)), strict=True)
        ]
        missing = [index for index, value in enumerate(found) if value is _UNKNOWN]
        for index, value in zip(
            missing, self._stored([keys[index] for index in missing]), strict=True
        ):
            found[index] = value
        return found

    def _stored(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return values of the cache and of the store."""
        values: list[bytes | None] = list(map(self._cache.get, keys))
        wanted = [key for key, value in zip(keys, values, strict=True) if value is None]
        if not wanted:
            return values
        # Ascending keys make a multi-get three times as fast: neighbours share the path through
        # RocksDB's memtable.
        wanted.sort()
        found = self._read(wanted)
        if self._ranges or self._frozen_ranges:
            found = [
                None if self._in_deleted_range(key) else value
                for key, value in zip(wanted, found, strict=True)
            ]
        if found.count(None) < len(found):
            by_key = dict(zip(wanted, found, strict=True))
            values = [
                by_key[key] if value is None else value
                for key, value in zip(keys, values, strict=True)
            ]
            self._cache.update((key, value) for key, value in by_key.items() if value is not None)
        return values

    def _in_deleted_range(self, key: bytes) -> bool:
        """Whether the store may still have an entry that has been deleted."""
        return _within(key, self._ranges) or _within(key, self._frozen_ranges)


def _within(key: bytes, ranges: Ranges) -> bool:
    return any(start <= key < end for start, end in ranges)


def rewritten(record: bytes, change: Callable[[bytes, bytes], bytes]) -> bytes:
    """Return a record with the value of every key that it sets as `change` makes it from key and
    value.
    """
    changes = _decode(record)
    for made in changes:
        if isinstance(made, Put):
            made.values = [
                None if value is None else change(key, value)
                for key, value in zip(made.keys, made.values, strict=True)
            ]
    return _encode(changes)


def _keys_of(changes: Sequence[Put | Pop | DeleteRange]) -> int:
    return sum(len(change.keys) for change in changes if not isinstance(change, DeleteRange))


def _size(values: Mapping[bytes, bytes | None]) -> int:
    """Memory of a mapping, about."""
    return _bytes(values) + len(values) * ENTRY_BYTES


def _bytes(values: Mapping[bytes, bytes | None]) -> int:
    there: Collection[bytes] = [value for value in values.values() if value is not None]
    return sum(map(len, values)) + sum(map(len, there))
