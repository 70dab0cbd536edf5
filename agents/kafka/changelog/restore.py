"""Restore of a task's state to the last commit of its journal: from the local copy if it fits, else
from the journal alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from msgspec import Struct

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.broker_retry import BrokerRetry
from driftline.agents.kafka.broker.connection import FORBIDDEN, TO_THE_END, Connection
from driftline.agents.kafka.broker.failures import Abandoned, Forbidden, MustStop
from driftline.agents.kafka.changelog.cache import FOLDER, Cache, Checkpoint
from driftline.agents.kafka.changelog.journal import Assembly, Commit, JournalError
from driftline.agents.kafka.changelog.state_format import (
    check_copy_format,
    check_journal_format,
    state_format,
)
from driftline.agents.state.task_state import TaskState

log = logging.getLogger(__name__)

# Changes of this size are applied in memory before they are written to the local copy.
CHUNK_BYTES: Final = 4 << 20
_BATCH: Final = 200
# `consume` returns after _BATCH records or _WAIT_S, also at the end of the journal.
_WAIT_S: Final = 0.02
_LOG_EVERY_S: Final = 10.0
_CHECK_EVERY_S: Final = 0.2
_MISSING: Final = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
)


class Journal(Struct, frozen=True):
    """The changelog of one task.

    Attributes
    ----------
    topic
        Name on the broker.
    partition
        Number of the partition, of the task and of the topic.
    cluster_id, topic_id
        Identity of the topic.
    """

    topic: str
    partition: int
    cluster_id: str
    topic_id: str

    @property
    def name(self) -> str:
        """The topic partition, for messages."""
        return f"{self.topic}[{self.partition}]"


class RestoreResult(Struct, frozen=True):
    """Result of a restore.

    Attributes
    ----------
    checkpoint
        Checkpoint of the restored state.
    low
        First offset of the journal.
    copied
        Whether the restore began with the local copy.
    commits, bytes
        Commits and bytes that were read from the journal.
    seconds
        Duration.
    """

    checkpoint: Checkpoint
    low: int
    copied: bool
    commits: int
    bytes: int
    seconds: float


class Restore:
    """One restore.

    Parameters
    ----------
    connection
        The broker.
    cache
        The local copies.
    kind
        Kind of the task.
    journal
        Its changelog. This process must own the task, so that no other process writes there.
    is_abandoned
        Checked regularly; True ends the restore.
    """

    def __init__(
        self,
        connection: Connection,
        cache: Cache,
        kind: str,
        journal: Journal,
        is_abandoned: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._cache = cache
        self._kind = kind
        self._journal = journal
        self._unwanted = is_abandoned
        self._commits = 0
        self._bytes = 0

    def run(self) -> RestoreResult:
        """Restore the state.

        Raises
        ------
        MustStop
            If the journal cannot be read.
        StateFormatError
            If the state has formats that this program cannot read.
        Abandoned
            If `is_abandoned` returned True.
        StateError
            If the local disk is full or damaged.
        """
        started = time.monotonic()
        consumer = self._connection.consumer(
            # Its short queue serves here too: four tasks are restored at a time, and commits of a
            # large state are a megabyte and more.
            **TO_THE_END,
            auto_offset_reset="error",
        )
        try:
            low, high = self._span(consumer)
            checkpoint = self._copied_checkpoint(low, high)
            copied = checkpoint is not None
            if checkpoint is not None:
                try:
                    checkpoint = self._read(consumer, checkpoint, high)
                except JournalError as error:
                    # Copy and journal have different histories, as after a broker lost its disk.
                    self._erase(str(error))
                    copied, checkpoint = False, None
            if checkpoint is None:
                empty = Checkpoint(
                    cluster_id=self._journal.cluster_id,
                    topic_id=self._journal.topic_id,
                    state_format=state_format(self._kind),
                    next=low,
                    number=-1,
                    positions={},
                    restorable_from=0,
                    log_bytes=0,
                    live_bytes=0,
                    whole=False,
                )
                checkpoint = self._read(consumer, empty, high)
            self._check_whole(checkpoint, low)
        except JournalError as error:
            raise MustStop(
                failures.CONFIGURATION,
                f"{error}; the state cannot be restored; to start anew from the input topics, "
                "use another kafka.app",
            ) from error
        finally:
            consumer.close()
        return RestoreResult(
            msgspec.structs.replace(checkpoint, whole=True),
            low,
            copied,
            self._commits,
            self._bytes,
            time.monotonic() - started,
        )

    def _span(self, consumer: Consumer) -> tuple[int, int]:
        """First offset of the journal, and the one after its last."""
        retry = BrokerRetry(self._connection, self._journal.name, "be restored", self._unwanted)
        where = TopicPartition(self._journal.topic, self._journal.partition)
        while True:
            try:
                return consumer.get_watermark_offsets(where, timeout=_LOG_EVERY_S, cached=False)
            except KafkaException as error:
                fault: KafkaError = error.args[0]
                if fault.code() in _MISSING and retry.waited_s > _LOG_EVERY_S:
                    why = (
                        f"{self._journal.name}: this changelog does not exist; create the topics: "
                        "driftline topics create"
                    )
                    raise MustStop(failures.CONFIGURATION, why) from error
                if fault.fatal():
                    raise MustStop(
                        failures.CONFIGURATION, str(self._connection.error(fault))
                    ) from error
                retry.wait(fault)

    def _copied_checkpoint(self, low: int, high: int) -> Checkpoint | None:
        """The checkpoint of the local copy; None if it does not fit the journal and was erased."""
        checkpoint = self._cache.checkpoint(self._kind, self._journal.partition)
        if checkpoint is None:
            self._cache.erase(self._kind, self._journal.partition)
            return None
        if (checkpoint.cluster_id, checkpoint.topic_id) != (
            self._journal.cluster_id,
            self._journal.topic_id,
        ):
            why = "it is a copy of another topic, or of one that was deleted"
        elif checkpoint.next < low:
            why = f"it ends at {checkpoint.next}, the journal begins at {low}"
        elif checkpoint.next > high:
            why = f"it ends at {checkpoint.next}, the journal ends at {high}"
        elif not self._is_whole(checkpoint):
            why = "it is damaged: parts of it are missing"
        else:
            folder = str(self._cache.folder / FOLDER)
            check_copy_format(checkpoint.state_format, self._kind, self._journal.name, folder)
            return checkpoint
        self._erase(why)
        return None

    def _is_whole(self, checkpoint: Checkpoint) -> bool:
        states = self._cache.states(self._kind, self._journal.partition)
        return checkpoint.extents.keys() == states.keys() and all(
            checkpoint.extents[stage].is_covered_by(state.stored_extent)
            for stage, state in states.items()
        )

    def _erase(self, why: str) -> None:
        log.warning(
            "%s: the local copy is not used (%s); it is restored from the journal",
            self._journal.name,
            why,
        )
        self._cache.erase(self._kind, self._journal.partition)

    def _check_whole(self, checkpoint: Checkpoint, low: int) -> None:
        """Refuse a state from a journal whose beginning is missing, unless a whole local copy has
        it.
        """
        if checkpoint.restorable_from >= low:
            return
        missing = (
            f"{self._journal.name}: begins at {low}, but records from "
            f"{checkpoint.restorable_from} on are needed; they were deleted "
            "from outside (is its retention.ms -1?)"
        )
        if not checkpoint.whole:
            raise JournalError(missing)
        log.error(
            "%s; the local copy has them, and the task writes its whole state to the journal again",
            missing,
        )

    def _read(self, consumer: Consumer, checkpoint: Checkpoint, high: int) -> Checkpoint:
        """Apply the journal from a checkpoint to its end; returns the checkpoint there."""
        with ExitStack() as held:
            return self._applied(consumer, checkpoint, high, held)

    def _applied(
        self, consumer: Consumer, checkpoint: Checkpoint, high: int, held: ExitStack
    ) -> Checkpoint:
        journal = self._journal
        states = self._cache.states(self._kind, journal.partition)
        assembly = Assembly(journal.name, checkpoint.number if checkpoint.number >= 0 else None)
        consumer.assign([TopicPartition(journal.topic, journal.partition, checkpoint.next)])
        pending_bytes, logged_at, at_end, is_large = (
            0,
            time.monotonic(),
            checkpoint.next >= high,
            False,
        )
        while not at_end:
            self._check_abandoned()
            messages = consumer.consume(_BATCH, _WAIT_S)
            for message in messages:
                if (error := message.error()) is not None:
                    if error.code() in FORBIDDEN:
                        raise Forbidden(f"{journal.name}: cannot be read: {error.str()}")
                    if error.code() != KafkaError._PARTITION_EOF:
                        raise JournalError(f"{journal.name}: cannot be read ({error.str()})")
                    at_end = at_end or (message.offset() or 0) >= high
                    continue
                value = message.value()  # a copy each time
                commit = assembly.add(message.offset() or 0, message.key(), value)
                self._bytes += len(value or b"")
                pending_bytes += len(value or b"")
                if commit is not None:
                    self._apply(commit, states)
                    checkpoint = self._checkpoint(commit, whole=checkpoint.whole)
                    if pending_bytes >= CHUNK_BYTES:
                        if not is_large:
                            self._wait_for_others(held)
                            is_large = True
                        self._write(states, checkpoint)
                        pending_bytes = 0
            if messages:
                logged_at = time.monotonic()
                failures.fault_point("restoring")
            elif time.monotonic() - logged_at > _LOG_EVERY_S:
                logged_at = time.monotonic()
                log.warning(
                    "%s: no more records at offset %d of %d, waiting for the broker",
                    journal.name,
                    checkpoint.next,
                    high,
                )
        if pending_bytes:
            self._write(states, checkpoint)
        return checkpoint

    def _apply(self, commit: Commit, states: Mapping[str, TaskState]) -> None:
        check_journal_format(commit.closing.state_format, self._kind, self._journal.name)
        for stage, record in commit.changes.items():
            states[stage].overlay.apply(record)
        self._commits += 1

    def _checkpoint(self, commit: Commit, whole: bool) -> Checkpoint:
        closing = commit.closing
        return Checkpoint(
            cluster_id=self._journal.cluster_id,
            topic_id=self._journal.topic_id,
            state_format=state_format(self._kind),
            next=commit.next,
            number=closing.number,
            positions=closing.positions,
            restorable_from=closing.restorable_from,
            log_bytes=closing.log_bytes,
            live_bytes=closing.live_bytes,
            whole=whole,
            topic_ids=closing.topic_ids,
        )

    def _write(self, states: Mapping[str, TaskState], checkpoint: Checkpoint) -> None:
        cuts = [state.cut() for state in states.values() if state.overlay.changed]
        checkpoint = msgspec.structs.replace(
            checkpoint, extents={stage: state.extent for stage, state in states.items()}
        )
        self._cache.write(self._kind, self._journal.partition, cuts, checkpoint)
        for cut in cuts:
            cut.task.settle(cut)

    def _wait_for_others(self, held: ExitStack) -> None:
        """Wait until few other large restores run: each holds the changes of a commit and a part of
        the state in memory two or three times.
        """
        turn = self._cache.large_restores
        while not turn.acquire(timeout=_CHECK_EVERY_S):
            self._check_abandoned()
        held.callback(turn.release)

    def _check_abandoned(self) -> None:
        if self._unwanted():
            raise Abandoned(self._journal.name)
