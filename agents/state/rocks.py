"""The durable state of a process: one RocksDB database for all its tasks and for marks of its own.

A commit is one write batch with the changes of every task that changed, and with the marks: after a
kill at any moment either all of a step is there or nothing of it. The write-ahead log goes to the
operating system with every commit, so a commit survives kill -9 of the process; it is not forced to
the disk, so the last commits may be missing after a power failure.

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
from driftline.agents.state.task_state import MAX_STAGE, NOTHING, Cut, Extent, TaskState

__all__ = ["DEFAULT_MEMORY_BYTES", "RocksState", "StateError"]

DEFAULT_MEMORY_BYTES: Final = 256 << 20
_MARK: Final = b"\xff"
_EXTENTS: Final = "extents"
_encode = msgspec.msgpack.Encoder().encode
_decode_extents = msgspec.msgpack.Decoder(dict[str, Extent]).decode


class RocksState:
    """All state of one process in one RocksDB database.

    Parameters
    ----------
    path
        Folder of the database; made when it does not exist.
    tasks
        How many tasks will share the memory, at least.
    memory_bytes
        Memory for the state of all tasks; half of it is for what has not been spilled, half for
        what has.
    of, to_start_anew, after_failure
        For messages: whose state it is, what to do when it cannot be opened, and what happens when
        it cannot be written.

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
        of: str = "this run",
        to_start_anew: str = "delete the output folder to start anew",
        after_failure: str = "the same call goes on from the last commit",
    ) -> None:
        self.path = path
        self._of = of
        self._after_failure = after_failure
        self._budget = MemoryBudget(memory_bytes, tasks)
        self._tasks: dict[tuple[int, int], TaskState] = {}
        self._broken = False
        try:
            self._db: Any = Rdict(str(path), options=_options())
        except Exception as error:  # rocksdict raises bare Exception for every failure to open
            raise StateError(
                f"{path}: cannot open the state of {of} ({error}); {to_start_anew}"
            ) from error
        self._to_start_anew = to_start_anew
        written = self.mark(_EXTENTS)
        self._extents = None if written is None else _decode_extents(written)

    def task(self, stage: int, partition: int) -> Overlay:
        """Return the state of one stage (0 to 252, by its place in the pipeline) on one partition."""
        return self.task_state(stage, partition).overlay

    def task_state(self, stage: int, partition: int) -> TaskState:
        """The same with what writes it.

        Raises
        ------
        StateError
            If `commit` wrote more than there is.
        """
        if not 0 <= stage <= MAX_STAGE:
            raise ValueError(f"stage {stage} is outside 0..{MAX_STAGE}")
        if (stage, partition) not in self._tasks:
            made = TaskState(self._db, stage, partition, self._budget)
            if self._extents is not None and not self._extents.get(
                _task(stage, partition), NOTHING
            ).is_in(made.found):
                raise StateError(
                    f"{self.path}: the state of {self._of} is damaged: parts of stage {stage}, partition {partition} are missing; "
                    f"{self._to_start_anew}"
                )
            self._tasks[stage, partition] = made
            self._budget.add(made.overlay)
        return self._tasks[stage, partition]

    def release(self, stage: int, partition: int) -> None:
        """Forget a task in memory; what was written stays."""
        if (released := self._tasks.pop((stage, partition), None)) is not None:
            self._budget.remove(released.overlay)

    def erase(self, stage: int, partition: int, marks: Sequence[str] = ()) -> None:
        """Delete everything of a task that is not in use, and marks."""
        batch = WriteBatch(raw_mode=True)
        TaskState.erase(batch, stage, partition)
        for name in marks:
            batch.delete(_MARK + name.encode())
        self._write(batch)

    def mark(self, name: str) -> bytes | None:
        """Return a mark as last committed, None if there is none."""
        try:
            value: bytes | None = self._db.get(_MARK + name.encode())
        except Exception as error:  # rocksdict raises bare Exception, of damaged files too
            raise StateError(
                f"{self.path}: cannot read the state of {self._of} ({error})"
            ) from error
        return value

    def commit(self, marks: Mapping[str, bytes]) -> None:
        """Write the changes of all tasks and the given marks as one atomic batch, and what there
        has to be the next time.

        Raises
        ------
        StateError
            If the operating system does not take it, for example because the disk is full.
        """
        cuts = [task.cut() for _, task in sorted(self._tasks.items()) if task.overlay.changed]
        self._extents = (self._extents or {}) | {
            _task(*which): task.extent for which, task in self._tasks.items()
        }
        self.write(cuts, {**marks, _EXTENTS: _encode(self._extents)})
        for cut in cuts:
            cut.task.settle(cut)

    def finish(self, marks: Mapping[str, bytes]) -> None:
        """Write marks as the last commit, and delete the state of all tasks, which nothing will ask
        for.

        Raises
        ------
        StateError
            If the operating system does not take it, for example because the disk is full.
        """
        batch = WriteBatch(raw_mode=True)
        for stage, partition in sorted(self._tasks):
            TaskState.erase(batch, stage, partition)
        self._tasks, self._extents = {}, {}
        _put_marks(batch, {**marks, _EXTENTS: _encode(self._extents)})
        self._write(batch)

    def write(self, cuts: Sequence[Cut], marks: Mapping[str, bytes]) -> None:
        """Write what was cut off and marks as one atomic batch, then spills. Any thread may do it,
        and the tasks may go on meanwhile.

        Raises
        ------
        StateError
            If the operating system does not take it, for example because the disk is full.
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
        """Close the database; what was not committed is gone."""
        try:
            self._db.close()
        except (
            Exception
        ) as error:  # as below; what broke a commit breaks closing as well, and was said then
            if not self._broken:
                raise StateError(
                    f"{self.path}: cannot close the state of {self._of} ({error})"
                ) from error

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._db.write(batch)
        except Exception as error:  # rocksdict raises bare Exception, of a full disk too
            self._broken = True
            raise StateError(
                f"{self.path}: cannot write the state of {self._of} ({error}); {self._after_failure}"
            ) from error


def _task(stage: int, partition: int) -> str:
    return f"{stage}-{partition}"


def _put_marks(batch: WriteBatch, marks: Mapping[str, bytes]) -> None:
    for name in sorted(marks):
        batch.put(_MARK + name.encode(), marks[name])


def _options() -> Options:
    """Return options for many short-lived values that are mostly asked for before they exist."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(32 << 20)
    options.set_max_background_jobs(2)
    options.set_max_open_files(256)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 << 20)
    # Once a task has been spilled, nearly every first look-up of a prediction id misses: a bloom
    # filter on the memtable took a miss from 2.4 to 0.4 us.
    options.set_memtable_prefix_bloom_ratio(0.1)
    options.set_memtable_whole_key_filtering(True)
    options.set_compression_type(DBCompressionType.none())
    options.set_bottommost_compression_type(DBCompressionType.lz4())
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, False)
    blocks.set_block_cache(Cache(32 << 20))
    # The library is built without the processor's instruction for CRC32C: with XXH3, writing 50 MB
    # down and reading them take two fifths.
    blocks.set_checksum_type(ChecksumType.xxh3())
    options.set_block_based_table_factory(blocks)
    return options
