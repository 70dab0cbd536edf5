"""What one stage on one partition writes to the database: records of changes, snapshots, spills.

Writing takes three steps, so that a driver can continue with the next batch during a commit. `cut`
takes the changes, on the thread that changes the state; `write` and `slices` bring them to the
database, on any thread; `settle` marks them as written. Cuts are written in order. Records that
have grown to several times the size of the state are replaced by one snapshot. A state that
outgrows its memory, or a snapshot, is spilled key by key.

A spill is written in slices after its commit, so that it is never in memory a second and a third
time, as one batch and in RocksDB's memtable. The records stay until a later commit: a database that
was left between two slices applies the records to what it has. The result is exact, because each
slice holds values as of the last record.

If one of its files was truncated, RocksDB opens the database in an older state with newer commits
on top, and whatever came between is lost. So each commit includes the `StateExtent` that the
database must have of each state: records are numbered, and so are the slices of spills.
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
SLICE_BYTES: Final = 4 << 20
# The presence of this many slices is checked. Older ones have long moved from RocksDB's log to
# tables, which have checksums.
NUMBERED_SLICES: Final = 1_000
_RECORD_PREFIX_BYTES: Final = 4
MIN_RECORD_BYTES: Final = 1 << 20
# A restore reads up to this many times the size of the state. With 3, commits of the plain job of
# the benchmark cost a tenth of a microsecond a pair more.
RECORDS_PER_SNAPSHOT: Final = 8
# A snapshot is one value, which is in memory three times while it is written. A larger state is
# spilled in slices.
MAX_SNAPSHOT_BYTES: Final = 16 << 20
MAX_RANGES: Final = 64


class StateExtent(NamedTuple):
    """The records and slices of a state in the database.

    Attributes
    ----------
    first, records
        Number of the first record (0 without records), and count of records.
    slices
        Count of all slices of spills ever written.
    """

    first: int
    records: int
    slices: int

    def is_covered_by(self, stored: StateExtent | None) -> bool:
        """Whether a database that holds `stored` has all of this; None stands for one with gaps.

        The database may have more slices than its last commit knew of.
        """
        return stored is not None and stored[:2] == self[:2] and stored.slices >= self.slices


EMPTY_EXTENT: Final = StateExtent(0, 0, 0)


class Cut(Struct):
    """Changes taken from a state, to be written.

    Attributes
    ----------
    task
        Owner of the changes.
    changes
        Record of the changes, for a journal; None if none was requested.
    record
        Record for the database: the changes, or a snapshot.
    number
        Number of the record.
    replaces
        Records with smaller numbers are deleted; 0 for none.
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
        Decides when to spill.

    Attributes
    ----------
    stored_extent
        What the database held at the start; None if records or slices are missing in between.
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
        # Slices as of the last settled cut, and the next number for the writing thread.
        self._slices = self._next_slice = 0
        # Records with smaller numbers are in slices and may be deleted; 0 for none.
        self._spilled_before = 0
        self.overlay = Overlay(
            self._read, store_is_empty=next(self.iterate_spilled(b""), None) is None
        )
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
        self.stored_extent = (
            self.extent if _is_without_gaps(numbers) and _is_without_gaps(slices) else None
        )

    @property
    def extent(self) -> StateExtent:
        """What the database holds once all cuts so far are written."""
        records = self._next_record - self._first_record
        return StateExtent(self._first_record if records else 0, records, self._slices)

    def cut(self, *, journal: bool = False) -> Cut:
        """Take the changes since the last cut; `journal` requests the record of the changes even if
        the database gets a snapshot.
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
                MIN_RECORD_BYTES, RECORDS_PER_SNAPSHOT * self._snapshot_bytes
            )
            too_large = must_shorten and overlay.table_bytes() > MAX_SNAPSHOT_BYTES
            if too_large or overlay.ranges > MAX_RANGES or self._budget.must_spill(overlay):
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
        """The spill of a cut, as write batches to be written one by one after the cut."""
        if cut.table is None:
            return
        batch, size = WriteBatch(raw_mode=True), 0
        batch.delete_range(
            self._key(_SLICES, 0), self._key(_SLICES, max(0, self._next_slice - NUMBERED_SLICES))
        )
        for start, end in cut.ranges:
            batch.delete_range(self._prefix + start, self._prefix + end)
        # Sorted batches insert into RocksDB's memtable at half the cost.
        for key in sorted(cut.table):
            if size > SLICE_BYTES:
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
        """Mark a cut as written; on the thread that changes the state."""
        if cut.table is not None:
            self.overlay.finish_spill()
            self._spilled_before, self._slices = cut.number + 1, self._next_slice
        if self._budget.must_drop_cache(self.overlay):
            self.overlay.drop_cache()

    def iterate_spilled(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Entries in the database from the key `start` (included) on, in key order."""
        length = len(self._prefix)
        for key, value in self._items(self._prefix + start, self._prefix):
            yield key[length:], value

    def spilled_slice(self, start: bytes, enough_bytes: int) -> list[tuple[bytes, bytes]]:
        """The first of those entries, until they add up to `enough_bytes`."""
        entries, size = [], 0
        for key, value in self.iterate_spilled(start):
            entries.append((key, value))
            size += len(key) + len(value)
            if size >= enough_bytes:
                break
        return entries

    @staticmethod
    def erase(batch: WriteBatch, stage: int, partition: int) -> None:
        """Add the deletion of all entries of a task to a write batch."""
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
        """Entries of the database from `start` on, while their keys begin with `prefix`."""
        last = start
        try:
            for key, value in self._db.items(from_key=start):
                if not key.startswith(prefix):
                    return
                last = key
                yield key, value
            # `items` stops at damage as it does at the end of the database; reading beyond the
            # last key raises only for damage.
            rest = self._db.iter()
            rest.seek(last)
            if rest.valid():
                rest.next()
            rest.status()
        except Exception as error:  # as above
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> StateError:
        return StateError(
            f"{self._db.path()}: cannot read the state of stage {self._stage}, "
            f"partition {self._partition} ({error})"
        )


def _is_without_gaps(numbers: Sequence[int]) -> bool:
    return not numbers or len(numbers) == numbers[-1] + 1 - numbers[0]
