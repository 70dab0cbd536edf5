"""The durable state of a run: one RocksDB database for the tasks of all stages and for the run's own marks.

A commit is one write batch with one record of changes for every task that changed, and with the marks (input positions,
lengths of the output files): after a kill at any moment either all of a step is there or nothing of it. The write-ahead log
goes to the operating system with every commit, so a commit survives kill -9 of the process; it is not forced to the disk,
so the last commits may be missing after a power failure.

Keys: stage (1 byte), partition (2 bytes) and the task's own key for spilled values; 0xFE, stage, partition and a number
(8 bytes) for the records since the task's last spill, read back when the database is opened; 0xFF and a name for marks.
Records that have grown to several times what is left of them are replaced by one snapshot; a task that outgrows its
memory is spilled, key by key.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch

from agents.state.overlay import Overlay

MAX_STAGE: Final = 0xFD
DEFAULT_MEMORY_BYTES: Final = 256 << 20
_PREFIX: Final = struct.Struct(">BH")
_RECORD: Final = struct.Struct(">BBHQ")
_RECORDS: Final = 0xFE
_MARK: Final = b"\xff"
_MIN_RECORD_BYTES: Final = 1 << 20
_RECORDS_PER_SNAPSHOT: Final = 3
_MAX_RANGES: Final = 64


class StateError(Exception):
    """The state database cannot be opened or read; the message says what to do."""


class RocksState:
    """All state of one run in one RocksDB database.

    Parameters
    ----------
    path
        Folder of the database; made when it does not exist.
    tasks
        How many tasks will share the memory.
    memory_bytes
        Memory for the state of all tasks, shared evenly; half of a share is for what has not been spilled, half for what has.

    Raises
    ------
    StateError
        If the database is damaged or in use by another process.
    """

    def __init__(self, path: Path, *, tasks: int, memory_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
        self.path = path
        self._half_share_bytes = memory_bytes // max(tasks, 1) // 2
        self._tasks: dict[tuple[int, int], _Task] = {}
        self._broken = False
        try:
            self._db: Any = Rdict(str(path), options=_options())
        except Exception as error:  # rocksdict raises bare Exception for every failure to open
            raise StateError(f"{path}: cannot open the state of this run ({error}); delete the output folder to start anew") from error

    def task(self, stage: int, partition: int) -> Overlay:
        """Return the state of one stage (0 to 253, by its place in the pipeline) on one partition."""
        if not 0 <= stage <= MAX_STAGE:
            raise ValueError(f"stage {stage} is outside 0..{MAX_STAGE}")
        if (stage, partition) not in self._tasks:
            self._tasks[stage, partition] = _Task(self._db, stage, partition)
        return self._tasks[stage, partition].overlay

    def mark(self, name: str) -> bytes | None:
        """Return a mark of the run as last committed, None if there is none."""
        value: bytes | None = self._db.get(_MARK + name.encode())
        return value

    def commit(self, marks: Mapping[str, bytes]) -> None:
        """Write the changes of all tasks and the given marks as one atomic batch.

        Raises
        ------
        StateError
            If the operating system does not take it, for example because the disk is full.
        """
        batch = WriteBatch(raw_mode=True)
        changed = [task for _, task in sorted(self._tasks.items()) if task.overlay.changed]
        for task in changed:
            task.write(batch, self._half_share_bytes)
        for name in sorted(marks):
            batch.put(_MARK + name.encode(), marks[name])
        try:
            self._db.write(batch)
        except Exception as error:  # rocksdict raises bare Exception, of a full disk too
            self._broken = True
            way = "the same call goes on from the last commit"
            raise StateError(f"{self.path}: cannot write the state of this run ({error}); {way}") from error
        for task in changed:
            task.settle(self._half_share_bytes)

    def close(self) -> None:
        """Close the database; what was not committed is gone."""
        try:
            self._db.close()
        except Exception as error:  # as above; what broke a commit breaks closing as well, and was said then
            if not self._broken:
                raise StateError(f"{self.path}: cannot close the state of this run ({error})") from error


class _Task:
    """One task: its overlay, and its records in the database."""

    def __init__(self, db: Any, stage: int, partition: int) -> None:
        self._db = db
        self._stage = stage
        self._partition = partition
        self._prefix = _PREFIX.pack(stage, partition)
        self._record_bytes = 0
        self._snapshot_bytes = 0
        self._next_record = 0
        self._spilling = False
        self.overlay = Overlay(self._read, bare=self._is_bare())
        for key, value in self._records():
            self.overlay.replay(value)
            self._record_bytes += len(value)
            self._next_record = _RECORD.unpack(key)[-1] + 1

    def write(self, batch: WriteBatch, limit_bytes: int) -> None:
        """Add what changed to a batch: a record, a snapshot in place of all records, or a spill of the table."""
        overlay = self.overlay
        ranges, table = overlay.pending()
        self._spilling = overlay.exceeds(limit_bytes) or len(ranges) > _MAX_RANGES
        if self._spilling:
            self._drop_records(batch)
            for start, end in ranges:
                batch.delete_range(self._prefix + start, self._prefix + end)
            # Sorted batches insert into RocksDB's memtable at half the cost.
            for key in sorted(table):
                value = table[key]
                if value is None:
                    batch.delete(self._prefix + key)
                else:
                    batch.put(self._prefix + key, value)
            return
        if self._record_bytes > max(_MIN_RECORD_BYTES, _RECORDS_PER_SNAPSHOT * self._snapshot_bytes):
            self._drop_records(batch)
            record = overlay.snapshot()
            self._snapshot_bytes = len(record)
        else:
            record = overlay.record()
            self._record_bytes += len(record)
        batch.put(self._record_key(self._next_record), record)
        self._next_record += 1

    def settle(self, limit_bytes: int) -> None:
        """Take over as committed what `write` added."""
        self.overlay.settle()
        if self._spilling:
            self.overlay.spilled()
        self.overlay.trim(limit_bytes)

    def _drop_records(self, batch: WriteBatch) -> None:
        batch.delete_range(self._record_key(0), self._record_key(self._next_record))
        self._record_bytes = self._snapshot_bytes = 0

    def _record_key(self, number: int) -> bytes:
        return _RECORD.pack(_RECORDS, self._stage, self._partition, number)

    def _records(self) -> list[tuple[bytes, bytes]]:
        found = []
        for key, value in self._db.items(from_key=self._record_key(0)):
            if not key.startswith(self._record_key(0)[:4]):
                break
            found.append((key, value))
        return found

    def _is_bare(self) -> bool:
        first: bytes | None = next(iter(self._db.keys(from_key=self._prefix)), None)
        return first is None or not first.startswith(self._prefix)

    def _read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        values: list[bytes | None] = self._db.get([self._prefix + key for key in keys])
        return values


def _options() -> Options:
    """Return options for many short-lived values that are mostly asked for before they exist."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(32 << 20)
    options.set_max_background_jobs(2)
    options.set_max_open_files(256)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 << 20)
    # Once a task has been spilled, nearly every first look-up of a prediction id misses: a bloom filter on the memtable took
    # a miss from 2.4 to 0.4 us.
    options.set_memtable_prefix_bloom_ratio(0.1)
    options.set_memtable_whole_key_filtering(True)
    options.set_compression_type(DBCompressionType.none())
    options.set_bottommost_compression_type(DBCompressionType.lz4())
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, False)
    blocks.set_block_cache(Cache(32 << 20))
    options.set_block_based_table_factory(blocks)
    return options
