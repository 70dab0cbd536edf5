"""The durable state of a run: one RocksDB database for the tasks of all stages and for the run's own marks.

Every task has a key prefix of its own. A commit is one write batch with the changes of all tasks and with the marks
(input positions, lengths of the output files): after a kill at any moment either all of a step is there or nothing
of it. The write-ahead log goes to the operating system with every commit, so a commit survives kill -9 of the
process; it is not forced to the disk, so the last commits may be missing after a power failure.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch

from agents.inprocess.overlay import Overlay

_PREFIX: Final = struct.Struct(">BH")
_MARK: Final = b"\xff"
MAX_STAGE: Final = 0xFE
DEFAULT_CACHE_BYTES: Final = 256 << 20


class StateError(Exception):
    """The state database cannot be opened or read; the message says what to do."""


class RocksState:
    """All state of one run in one RocksDB database.

    Parameters
    ----------
    path
        Folder of the database; made when it does not exist.
    cache_bytes
        Memory for cached committed values, shared evenly by the tasks of the run.
    tasks
        How many tasks will share the cache.

    Raises
    ------
    StateError
        If the database is damaged or in use by another process.
    """

    def __init__(self, path: Path, *, tasks: int, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.path = path
        self._task_cache_bytes = cache_bytes // max(tasks, 1)
        self._overlays: dict[bytes, Overlay] = {}
        self._new = not (path / "CURRENT").exists()
        try:
            self._db = Rdict(str(path), options=_options())
        except Exception as error:  # rocksdict raises bare Exception for every failure to open
            raise StateError(f"{path}: cannot open the state of this run ({error}); delete the output folder to start anew") from error

    def task(self, stage: int, partition: int) -> Overlay:
        """Return the state of one stage (0 to 254, by its place in the pipeline) on one partition."""
        if not 0 <= stage <= MAX_STAGE:
            raise ValueError(f"stage {stage} is outside 0..{MAX_STAGE}")
        prefix = _PREFIX.pack(stage, partition)
        if prefix not in self._overlays:
            self._overlays[prefix] = Overlay(_reader(self._db, prefix), cache_bytes=self._task_cache_bytes, empty=self._new)
        return self._overlays[prefix]

    def mark(self, name: str) -> bytes | None:
        """Return a mark of the run as last committed, None if there is none."""
        value: bytes | None = self._db.get(_MARK + name.encode())
        return value

    def commit(self, marks: Mapping[str, bytes]) -> None:
        """Write the changes of all tasks and the given marks as one atomic batch."""
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        # Prefixes ascend and keys ascend within each: sorted batches insert into the memtable at half the cost.
        for prefix in sorted(self._overlays):
            overlay = self._overlays[prefix]
            for start, end in overlay.ranges():
                batch.delete_range(prefix + start, prefix + end)
            changes = overlay.changes()
            for key in sorted(changes):
                value = changes[key]
                if value is None:
                    delete(prefix + key)
                else:
                    put(prefix + key, value)
        for name in sorted(marks):
            put(_MARK + name.encode(), marks[name])
        self._db.write(batch)
        for overlay in self._overlays.values():
            overlay.settle()

    def close(self) -> None:
        """Close the database; what was not committed is gone."""
        self._db.close()


def _reader(db: Any, prefix: bytes) -> Callable[[Sequence[bytes]], Sequence[bytes | None]]:
    """Return a function that reads committed values of one task."""

    def read(keys: Sequence[bytes]) -> Sequence[bytes | None]:
        if len(keys) == 1:
            return [db.get(prefix + keys[0])]
        values: Sequence[bytes | None] = db.get([prefix + key for key in keys])
        return values

    return read


def _options() -> Options:
    """Return options for many short-lived small values that are mostly asked for before they exist."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(16 << 20)
    # Small memtables stay in the processor cache: 1.1 us a put instead of 1.6; more files before a compaction make up for it.
    options.set_level_zero_file_num_compaction_trigger(12)
    options.set_max_background_jobs(2)
    # Most entries are gone before they are merged a first time; merging late costs reads little, for a filter guards each file.
    options.set_level_zero_file_num_compaction_trigger(8)
    options.set_max_open_files(256)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 << 20)
    # Nearly every first look-up of a prediction id misses: a bloom filter on the memtable took a miss from 2.4 to 0.4 us.
    options.set_memtable_prefix_bloom_ratio(0.1)
    options.set_memtable_whole_key_filtering(True)
    options.set_compression_type(DBCompressionType.none())
    options.set_bottommost_compression_type(DBCompressionType.lz4())
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, False)
    blocks.set_block_cache(Cache(32 << 20))
    options.set_block_based_table_factory(blocks)
    return options
