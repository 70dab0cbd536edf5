"""Local copies of the committed state, so that a restart need not read whole journals.

One RocksDB database holds the tasks of a worker. Beside the state of each task is its `Checkpoint`:
the journal that the copy belongs to, and the offset that it corresponds to, written in the same
batch. A copy that does not fit its journal is erased and restored from the journal. So a damaged,
full or lost disk costs time and no data.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from driftline.agents.kafka.broker.task_kinds import STAGES
from driftline.agents.state.rocks import RocksState, StateError
from driftline.agents.state.task_state import Cut, StateExtent, TaskState
from driftline.streams.pipeline import PLACES

log = logging.getLogger(__name__)

FOLDER: Final = "cache"
_DAMAGED: Final = "cache-is-damaged"
_SAFE: Final = (
    "nothing is lost: the committed state is in the changelog, from which the copy is restored"
)
_MAX_LARGE_RESTORES: Final = 2
_FULL: Final = ("no space", "quota", "file too large")


class Checkpoint(Struct, array_like=True, frozen=True):
    """The journal position of a local copy.

    Attributes
    ----------
    cluster_id, topic_id
        Identity of the journal's topic; a topic created again under the same name has another id.
    state_format
        Formats of the state, see `state_format.py`.
    next
        Journal offset from which a restore reads on.
    number
        Number of the last commit.
    positions, restorable_from, log_bytes, live_bytes
        As in that commit.
    whole
        False until a restore that began without a copy has reached the end of the journal.
    extents
        What the copy must hold, by stage; used to detect damage.
    topic_ids
        As in that commit.
    """

    cluster_id: str
    topic_id: str
    state_format: str
    next: int
    number: int
    positions: dict[str, int]
    restorable_from: int
    log_bytes: int
    live_bytes: int
    whole: bool = True
    extents: dict[str, StateExtent] = {}
    topic_ids: dict[str, str] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Checkpoint).decode


class Cache:
    """The local copies of all tasks of a worker.

    Parameters
    ----------
    folder
        Folder of the worker's state, created if missing. Two workers need two.
    memory_bytes
        Memory for the state of all tasks.

    Attributes
    ----------
    large_restores
        Held by a task while it restores more than `restore.CHUNK_BYTES`, so that few tasks do so at
        a time.

    Raises
    ------
    StateError
        If another process uses the folder, or the disk is full.
    """

    def __init__(self, folder: Path, memory_bytes: int) -> None:
        self.folder = folder
        self._memory_bytes = memory_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / _DAMAGED).exists():
                self._start_anew("it was damaged in the last run")
                (folder / _DAMAGED).unlink()
        except OSError as error:
            raise StateError(
                f"{folder}: cannot be used for the state of this worker ({error}); give another "
                "--state"
            ) from error
        self.large_restores = threading.BoundedSemaphore(_MAX_LARGE_RESTORES)
        try:
            self.store = self._opened()
        except StateError as error:
            text = str(error).lower()
            if is_full(error) or "lock" in text or "permission" in text:
                raise
            self._start_anew(str(error.__cause__))
            self.store = self._opened()

    def states(self, kind: str, partition: int) -> dict[str, TaskState]:
        """The state of each stage of a task, by name."""
        return {stage: self.store.task_state(PLACES[stage], partition) for stage in STAGES[kind]}

    def checkpoint(self, kind: str, partition: int) -> Checkpoint | None:
        """The checkpoint of a task; None without a copy or a readable checkpoint."""
        held = self.store.mark(_mark(kind, partition))
        try:
            return None if held is None else _decode(held)
        except msgspec.DecodeError:
            return None

    def write(self, kind: str, partition: int, cuts: Sequence[Cut], checkpoint: Checkpoint) -> None:
        """Write changes and the checkpoint after them; any thread may call it.

        Raises
        ------
        StateError
            If the disk is full or damaged.
        """
        self.store.write(cuts, {_mark(kind, partition): _encode(checkpoint)})

    def release(self, kind: str, partition: int) -> None:
        """Free the memory of a task; its copy stays on disk."""
        for stage in STAGES[kind]:
            self.store.release(PLACES[stage], partition)

    def erase(self, kind: str, partition: int) -> None:
        """Delete the copy of a task that is not running."""
        self.release(kind, partition)
        for stage in STAGES[kind]:
            self.store.erase(PLACES[stage], partition, [_mark(kind, partition)])

    def close(self) -> None:
        """Close the database."""
        self.store.close()

    def failure_message(self, error: Exception) -> str:
        """Message for a failure of the database in use.

        Marks a damaged copy, so that the next start erases it.
        """
        if is_full(error):
            return (
                f"{self.folder}: the disk is full ({error}); {_SAFE}: free space and restart the "
                "worker"
            )
        (self.folder / _DAMAGED).touch()
        return (
            f"{self.folder}: the local copy of the state is damaged ({error}); {_SAFE} at the "
            "next start"
        )

    def _opened(self) -> RocksState:
        return RocksState(
            self.folder / FOLDER,
            memory_bytes=self._memory_bytes,
            owner="this worker",
            reset_hint=(
                "end the other worker that uses this folder or give another --state, and see "
                "that the disk has room"
            ),
            failure_hint=_SAFE,
        )

    def _start_anew(self, why: str) -> None:
        log.warning(
            "%s: the local copy of the state cannot be used (%s) and is erased; it is restored "
            "from the changelogs",
            self.folder,
            why,
        )
        shutil.rmtree(self.folder / FOLDER, ignore_errors=True)


def is_full(error: BaseException) -> bool:
    """Whether an error of the database means that the disk is full."""
    return any(words in str(error).lower() for words in _FULL)


def _mark(kind: str, partition: int) -> str:
    return f"{kind}-{partition}"
