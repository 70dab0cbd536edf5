"""The durable state of a process: one RocksDB database for all its tasks and for named marks.

A commit is one write batch with the changes of all tasks and with the marks: after a kill at any
moment the database has all of a commit or nothing of it. The write-ahead log goes to the operating
system with every commit, so a commit survives kill -9 of the process. It is not synced to the disk,
so the last commits may be missing after a power failure.

Keys: stage (1 byte), partition (2 bytes) and the task's own key for spilled values; 0xFD, stage,
partition and a number (8 bytes) for slices of spills; 0xFE and the same for the records since the
task's last spill; 0xFF and a name for marks. What a task writes is `task_state.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rocksdict import (
    BlockBasedOptions,
    Cache,
    ChecksumType,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

from driftline.agents.state.errors import StateError
from driftline.agents.state.memory_budget import MemoryBudget
from driftline.agents.state.overlay import Overlay
from driftline.agents.state.task_state import EMPTY_EXTENT, MAX_STAGE, Cut, StateExtent, TaskState

__all__ = ["DEFAULT_MEMORY_BYTES", "RocksState", "StateError"]

DEFAULT_MEMORY_BYTES: Final = 256 << 20
_MARK: Final = b"\xff"
_EXTENTS: Final = "extents"
_encode = msgspec.msgpack.Encoder().encode
_decode_extents = msgspec.msgpack.Decoder(dict[str, StateExtent]).decode


class RocksState:
    """All state of one process in one RocksDB database.

    Parameters
    ----------
    path
        Folder of the database; created if it does not exist.
    tasks
        Least number of tasks that share the memory.
    memory_bytes
        Memory for the state of all tasks: half for values that have not been spilled, half for
        cached values that have.
    owner, reset_hint, failure_hint
        For messages: whose state it is, what to do if it cannot be opened, and what happens after
        a failed write.

    Raises
    ------
    StateError
        If the database is damaged or in use by another process.
    """

    def __init__(
        self,
        path: Path,
        *,
        tasks: int = 1,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        owner: str = "this run",
        reset_hint: str = "delete the output folder to start anew",
        failure_hint: str = "the same call continues from the last commit",
    ) -> None:
        self.path = path
        self._owner = owner
        self._reset_hint = reset_hint
        self._failure_hint = failure_hint
        self._budget = MemoryBudget(memory_bytes, tasks)
        self._tasks: dict[tuple[int, int], TaskState] = {}
        self._broken = False
        try:
            self._db: Any = Rdict(str(path), options=_options())
        except Exception as error:  # rocksdict raises bare Exception for every failure to open
            raise StateError(
                f"{path}: cannot open the state of {owner} ({error}); {reset_hint}"
            ) from error
        extents = self.mark(_EXTENTS)
        self._extents = None if extents is None else _decode_extents(extents)

    def task(self, stage: int, partition: int) -> Overlay:
        """State of one stage (0 to 252, its place in the pipeline) on one partition."""
        return self.task_state(stage, partition).overlay

    def task_state(self, stage: int, partition: int) -> TaskState:
        """State of one stage on one partition, with access to its writes.

        Raises
        ------
        StateError
            If the database has less than the last `commit` wrote.
        """
        if not 0 <= stage <= MAX_STAGE:
            raise ValueError(f"stage {stage} is outside 0..{MAX_STAGE}")
        if (stage, partition) not in self._tasks:
            task = TaskState(self._db, stage, partition, self._budget)
            if self._extents is not None:
                committed = self._extents.get(_task_name(stage, partition), EMPTY_EXTENT)
                if not committed.is_covered_by(task.stored_extent):
                    raise StateError(
                        f"{self.path}: the state of {self._owner} is damaged: parts of stage "
                        f"{stage}, partition {partition} are missing; {self._reset_hint}"
                    )
            self._tasks[stage, partition] = task
            self._budget.add(task.overlay)
        return self._tasks[stage, partition]

    def release(self, stage: int, partition: int) -> None:
        """Remove a task from memory; the database keeps its entries."""
        if (released := self._tasks.pop((stage, partition), None)) is not None:
            self._budget.remove(released.overlay)

    def erase(self, stage: int, partition: int, marks: Sequence[str] = ()) -> None:
        """Delete all entries of a task that is not in use, and some marks."""
        batch = WriteBatch(raw_mode=True)
        TaskState.erase(batch, stage, partition)
        for name in marks:
            batch.delete(_MARK + name.encode())
        self._write(batch)

    def mark(self, name: str) -> bytes | None:
        """Value of a mark as last committed, None if there is none."""
        try:
            value: bytes | None = self._db.get(_MARK + name.encode())
        except Exception as error:  # rocksdict raises bare Exception, of damaged files too
            raise StateError(
                f"{self.path}: cannot read the state of {self._owner} ({error})"
            ) from error
        return value

    def commit(self, marks: Mapping[str, bytes]) -> None:
        """Write the changes of all tasks, the marks, and the resulting extents of all tasks as one
        atomic batch.

        Raises
        ------
        StateError
            If the write fails, for example because the disk is full.
        """
        cuts = [task.cut() for _, task in sorted(self._tasks.items()) if task.overlay.changed]
        self._extents = (self._extents or {}) | {
            _task_name(*numbers): task.extent for numbers, task in self._tasks.items()
        }
        self.write(cuts, {**marks, _EXTENTS: _encode(self._extents)})
        for cut in cuts:
            cut.task.settle(cut)

    def finish(self, marks: Mapping[str, bytes]) -> None:
        """Write marks as the last commit, and delete the state of all tasks, which is not needed
        any more.

        Raises
        ------
        StateError
            If the write fails, for example because the disk is full.
        """
        batch = WriteBatch(raw_mode=True)
        for stage, partition in sorted(self._tasks):
            TaskState.erase(batch, stage, partition)
        self._tasks, self._extents = {}, {}
        _put_marks(batch, {**marks, _EXTENTS: _encode(self._extents)})
        self._write(batch)

    def write(self, cuts: Sequence[Cut], marks: Mapping[str, bytes]) -> None:
        """Write cuts and marks as one atomic batch, then the spills. May run on any thread, while
        the tasks continue.

        Raises
        ------
        StateError
            If the write fails, for example because the disk is full.
        """
        batch = WriteBatch(raw_mode=True)
        for cut in cuts:
            cut.task.write(batch, cut)
        _put_marks(batch, marks)
        self._write(batch)
        for cut in cuts:
            for part in cut.task.slices(cut):
                self._write(part)

    def close(self) -> None:
        """Close the database; uncommitted changes are lost."""
        try:
            self._db.close()
        except Exception as error:  # as below; after a failed write, closing fails too
            if not self._broken:
                raise StateError(
                    f"{self.path}: cannot close the state of {self._owner} ({error})"
                ) from error

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._db.write(batch)
        except Exception as error:  # rocksdict raises bare Exception, of a full disk too
            self._broken = True
            raise StateError(
                f"{self.path}: cannot write the state of {self._owner} ({error}); "
                f"{self._failure_hint}"
            ) from error


def _task_name(stage: int, partition: int) -> str:
    return f"{stage}-{partition}"


def _put_marks(batch: WriteBatch, marks: Mapping[str, bytes]) -> None:
    for name in sorted(marks):
        batch.put(_MARK + name.encode(), marks[name])


def _options() -> Options:
    """Options for many short-lived values that are mostly looked up before they exist."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(32 << 20)
    options.set_max_background_jobs(2)
    options.set_max_open_files(256)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 << 20)
    # Once a task has been spilled, nearly every first lookup of a prediction id is a miss. A bloom
    # filter on the memtable reduced a miss from 2.4 to 0.4 us.
    options.set_memtable_prefix_bloom_ratio(0.1)
    options.set_memtable_whole_key_filtering(True)
    options.set_compression_type(DBCompressionType.none())
    options.set_bottommost_compression_type(DBCompressionType.lz4())
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, False)
    blocks.set_block_cache(Cache(32 << 20))
    # The library is built without the CRC32C instruction of the processor: with XXH3, writing and
    # reading 50 MB take two fifths of the time.
    blocks.set_checksum_type(ChecksumType.xxh3())
    options.set_block_based_table_factory(blocks)
    return options
