"""What one stage on one partition writes to the database: records of changes, a snapshot in their
place, or a spill.

Writing takes three steps, so that a driver can go on with the next batch while a commit is under
way: `cut` takes off what changed, on the thread that changes the state; `write` and `slices` bring
it to the database, on any thread; `settle` says that it is written. Cuts are written in their
order. Records that have grown to several times what is left of them are replaced by one snapshot; a
state that outgrows its memory, or a snapshot, is spilled, key by key.

A spill is written in slices after its commit, so that it never lies in memory a second and a third
time, as one batch and in RocksDB's table. The records stay until a commit after it: a database that
was left between two slices reads the records over what it has, and is exact, for each slice holds
values as of the last of them.

RocksDB opens a database of which a file was cut short as it was some time ago, with newer commits
on top: what lies between is gone. So the driver keeps with each commit what there has to be, the
`Extent` of each state: records are numbered, and so are the slices of spills.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct
from rocksdict import WriteBatch

from driftline.agents.state.errors import StateError
from driftline.agents.state.memory_budget import MemoryBudget
from driftline.agents.state.overlay import Overlay, Ranges, Table

MAX_STAGE: Final = 0xFC
_PREFIX: Final = struct.Struct(">BH")
_RECORD: Final = struct.Struct(">BBHQ")
_RECORDS: Final = 0xFE
_SLICES: Final = 0xFD
_SLICE_BYTES: Final = 4 << 20
# Of so many slices it is known that they are there. What came before them has long left RocksDB's
# log for tables, which have checksums.
_NUMBERED_SLICES: Final = 1_000
_RECORD_PREFIX_BYTES: Final = 4
_MIN_RECORD_BYTES: Final = 1 << 20
# Reading back takes as many times what is left; with 3, commits of the plain job of the bench cost
# a tenth of a microsecond a pair more.
_RECORDS_PER_SNAPSHOT: Final = 8
# A snapshot is one value, which is in memory three times while it is written; what is larger is
# spilled, in slices.
_MAX_SNAPSHOT_BYTES: Final = 16 << 20
_MAX_RANGES: Final = 64


class Extent(NamedTuple):
    """What the database holds of a state.

    Attributes
    ----------
    first, records
        Number of the first record, 0 without any, and how many there are.
    slices
        How many slices of spills were written, ever.
    """

    first: int
    records: int
    slices: int

    def is_in(self, found: Extent | None) -> bool:
        """Tell whether a database that holds `found` has all of this; None stands for one with
        gaps.

        It may have spilled more than its last commit knew of.
        """
        return found is not None and found[:2] == self[:2] and found.slices >= self.slices


NOTHING: Final = Extent(0, 0, 0)


class Cut(Struct):
    """Changes taken off a state.

    Attributes
    ----------
    task
        Whose they are.
    changes
        The record of the changes, for a journal; None where none was asked for.
    record
        What the database gets as a record: the changes, or a snapshot.
    number
        Number of the record.
    replaces
        Records with numbers below this are deleted; 0 for none.
    ranges, table
        A spill: ranges to delete, then keys to set or (None) to delete.
    """

    task: TaskState
    changes: bytes | None
    record: bytes
    number: int
    replaces: int = 0
    ranges: Ranges = []
    table: Table | None = None


class TaskState:
    """One stage on one partition: its overlay, and its keys in the database.

    Parameters
    ----------
    db
        The database.
    budget
        Says when to spill.

    Attributes
    ----------
    found
        What the database held at the start; None if records or slices of spills are missing in
        between.
    """

    def __init__(self, db: Any, stage: int, partition: int, budget: MemoryBudget) -> None:
        self._db = db
        self._stage = stage
        self._partition = partition
        self._budget = budget
        self._prefix = _PREFIX.pack(stage, partition)
        self._record_bytes = 0
        self._snapshot_bytes = 0
        self._first_record = self._next_record = 0
        # As of the last settled cut, and for the thread that writes.
        self._slices = self._next_slice = 0
        # Records below this are in slices, and may be deleted; 0 for none.
        self._spilled_before = 0
        self.overlay = Overlay(self._read, bare=next(self.spilled(b""), None) is None)
        numbers = []
        for number, value in self._numbered(_RECORDS):
            self.overlay.replay(value)
            self._record_bytes += len(value)
            numbers.append(number)
        slices = [number for number, _ in self._numbered(_SLICES)]
        if numbers:
            self._first_record, self._next_record = numbers[0], numbers[-1] + 1
        if slices:
            self._slices = self._next_slice = slices[-1] + 1
        self.found = self.extent if _without_gaps(numbers) and _without_gaps(slices) else None

    @property
    def extent(self) -> Extent:
        """What the database holds once the cuts so far are written."""
        records = self._next_record - self._first_record
        return Extent(self._first_record if records else 0, records, self._slices)

    def cut(self, *, journal: bool = False) -> Cut:
        """Take off what changed since the last cut;

        `journal` asks for the record of the changes in any case.
        """
        overlay = self.overlay
        number = self._next_record
        self._next_record += 1
        replaces = 0
        if self._spilled_before:
            replaces = self._first_record = self._spilled_before
            self._spilled_before = 0
        if not overlay.freezing:
            must_shorten = self._record_bytes > max(
                _MIN_RECORD_BYTES, _RECORDS_PER_SNAPSHOT * self._snapshot_bytes
            )
            too_large = must_shorten and overlay.table_bytes() > _MAX_SNAPSHOT_BYTES
            if too_large or overlay.ranges > _MAX_RANGES or self._budget.must_spill(overlay):
                changes = overlay.record()
                self._record_bytes = self._snapshot_bytes = 0
                return Cut(self, changes, changes, number, replaces, *overlay.freeze())
            if must_shorten:
                for_journal = overlay.record() if journal else None
                snapshot = overlay.snapshot()
                self._snapshot_bytes, self._record_bytes = len(snapshot), 0
                self._first_record = number
                return Cut(self, for_journal, snapshot, number, number)
        changes = overlay.record()
        self._record_bytes += len(changes)
        return Cut(self, changes, changes, number, replaces)

    def write(self, batch: WriteBatch, cut: Cut) -> None:
        """Add a cut without its spill to a write batch."""
        if cut.replaces:
            batch.delete_range(self._key(_RECORDS, 0), self._key(_RECORDS, cut.replaces))
        batch.put(self._key(_RECORDS, cut.number), cut.record)

    def slices(self, cut: Cut) -> Iterator[WriteBatch]:
        """The spill of a cut, as write batches to be written one by one after it."""
        if cut.table is None:
            return
        batch, size = WriteBatch(raw_mode=True), 0
        batch.delete_range(
            self._key(_SLICES, 0), self._key(_SLICES, max(0, self._next_slice - _NUMBERED_SLICES))
        )
        for start, end in cut.ranges:
            batch.delete_range(self._prefix + start, self._prefix + end)
        # Sorted batches insert into RocksDB's memtable at half the cost.
        for key in sorted(cut.table):
            if size > _SLICE_BYTES:
                yield self._numbered_slice(batch)
                batch, size = WriteBatch(raw_mode=True), 0
            value = cut.table[key]
            if value is None:
                batch.delete(self._prefix + key)
            else:
                batch.put(self._prefix + key, value)
            size += len(key) + len(value or b"")
        yield self._numbered_slice(batch)

    def settle(self, cut: Cut) -> None:
        """Take note that a cut is written; on the thread that changes the state."""
        if cut.table is not None:
            self.overlay.spilled()
            self._spilled_before, self._slices = cut.number + 1, self._next_slice
        if self._budget.must_drop_cache(self.overlay):
            self.overlay.drop_cache()

    def spilled(self, after: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Entries as the database has them, from the key `after` (included) on, in order of keys."""
        length = len(self._prefix)
        for key, value in self._items(self._prefix + after, self._prefix):
            yield key[length:], value

    def spilled_slice(self, after: bytes, enough_bytes: int) -> list[tuple[bytes, bytes]]:
        """The first of them, until they have `enough_bytes`."""
        found, size = [], 0
        for key, value in self.spilled(after):
            found.append((key, value))
            size += len(key) + len(value)
            if size >= enough_bytes:
                break
        return found

    @staticmethod
    def erase(batch: WriteBatch, stage: int, partition: int) -> None:
        """Add the deletion of everything that a task wrote to a write batch."""
        numbered = (
            _RECORD.pack(kind, stage, partition, 0)[:_RECORD_PREFIX_BYTES]
            for kind in (_SLICES, _RECORDS)
        )
        for prefix in (_PREFIX.pack(stage, partition), *numbered):
            batch.delete_range(
                prefix, (int.from_bytes(prefix, "big") + 1).to_bytes(len(prefix), "big")
            )

    def _numbered_slice(self, batch: WriteBatch) -> WriteBatch:
        batch.put(self._key(_SLICES, self._next_slice), b"")
        self._next_slice += 1
        return batch

    def _key(self, kind: int, number: int) -> bytes:
        return _RECORD.pack(kind, self._stage, self._partition, number)

    def _numbered(self, kind: int) -> list[tuple[int, bytes]]:
        start = self._key(kind, 0)
        return [
            (_RECORD.unpack(key)[-1], value)
            for key, value in self._items(start, start[:_RECORD_PREFIX_BYTES])
        ]

    def _read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        try:
            values: list[bytes | None] = self._db.get([self._prefix + key for key in keys])
        except Exception as error:  # rocksdict raises bare Exception, of damaged files too
            raise self._unreadable(error) from error
        return values

    def _items(self, start: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Entries of the database from `start` on, as long as they begin with `prefix`."""
        last = start
        try:
            for key, value in self._db.items(from_key=start):
                if not key.startswith(prefix):
                    return
                last = key
                yield key, value
            # Damage ends `items` as the end of the database does; what follows its last key tells
            # them apart.
            rest = self._db.iter()
            rest.seek(last)
            if rest.valid():
                rest.next()
            rest.status()
        except Exception as error:  # as above
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> StateError:
        return StateError(
            f"{self._db.path()}: cannot read the state of stage {self._stage}, partition {self._partition} ({error})"
        )


def _without_gaps(numbers: Sequence[int]) -> bool:
    return not numbers or len(numbers) == numbers[-1] + 1 - numbers[0]
