"""Writes the records of both inputs anew, with their prediction ids as keys.

One worker reads all partitions of the sources (`schemas.topics.SOURCES`) and passes their records
on in the order of event time (`event_order.py`), bytes unchanged. Stage 1 reads what it writes.
A record that cannot be decoded has no prediction id; it becomes a dead letter here.

A transaction holds records, dead letters and one journal record for each partition of the sources
whose positions it moves, so each record is passed on once. The transactional id is one for all
workers: a newer owner shuts the older one out before it reads the positions.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from msgspec import Struct

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.input_logs import Resume
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.ranges import MAX_BATCH_BYTES, PartitionReader, is_unreadable
from driftline.agents.kafka.broker.task_kinds import INPUTS, REKEY
from driftline.agents.kafka.broker.wire import DLQ_LAST_OFFSET, DLQ_LOST_RECORDS, dead_letter
from driftline.agents.kafka.rekey.event_order import HELD_S, EventOrder, Place
from driftline.agents.kafka.rekey.source_positions import SourcePositions, places_of
from driftline.agents.kafka.task.input_positions import Loss
from driftline.agents.kafka.task.metering import Meters
from driftline.agents.kafka.task.sole_owner import SoleOwner
from driftline.agents.kafka.task.transaction import Transactions
from driftline.agents.recorded.log_files import decoders
from driftline.agents.uncounted_rows import BatchTally
from driftline.schemas.rejects import Reject
from driftline.schemas.topics import read_as
from driftline.streams.hashing import partitions_of

log = logging.getLogger(__name__)

MOST_RECORDS: Final = 10_000
"""Records of one transaction, and of one read."""
MOST_WAITING: Final = 5_000
MOST_WAITING_BYTES: Final = 8 << 20
"""Records of a partition that may wait for those of others, before it is read no further."""


class _Passed(Struct, frozen=True, gc=False):
    """A record that waits for its turn: what is written for it, and the position behind it."""

    next: int
    outgoing: Outgoing
    reject: Reject | None = None


class Rekeyer:
    """The re-keying step of one program.

    Parameters
    ----------
    connection
        The broker.
    clock
        The time in ms since the epoch: the broker's.
    ahead
        By how many ms the machine's clock is ahead of it; negative if behind.
    report
        Called with a source partition and the rows of it that do not count, after the commit.
    resume
        Where to go on in partitions whose positions cannot be used.
    missing_rights
        Asks the broker for the rights that the login lacks; returns a sentence that names them,
        None if it lacks none.

    Attributes
    ----------
    is_ready
        Whether positions are known and records are being read.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        clock: Callable[[], int],
        ahead: Callable[[], int],
        report: Callable[[int, BatchTally], None],
        resume: Resume,
        missing_rights: Callable[[], str | None],
    ) -> None:
        self.is_ready = False
        self._connection = connection
        self._clock = clock
        self._ahead = ahead
        self._report = report
        self._resume = resume
        self._owner = SoleOwner(connection, REKEY, "re-keying", missing_rights)
        self._partitions = connection.settings.input_partitions
        self._places = places_of(connection.settings)
        self._of_name = {connection.name(topic): topic for topic in INPUTS[REKEY]}
        self._meters = {
            partition: Meters(REKEY, partition) for partition in range(self._partitions)
        }

    def run(self, is_abandoned: Callable[[], bool]) -> None:
        """Re-key until `is_abandoned`, or until another worker has taken over. Blocks.

        Raises
        ------
        MustStop
            If the process must end.
        """

        def work(transactions: Transactions) -> None:
            try:
                self._run_as_owner(transactions, is_abandoned)
            finally:
                self.is_ready = False

        self._owner.run(work, is_abandoned)

    def _run_as_owner(self, transactions: Transactions, is_abandoned: Callable[[], bool]) -> None:
        self._positions = SourcePositions.restored(self._connection, self._resume, is_abandoned)
        with closing(self._reader()) as reader:
            self._order: EventOrder[_Passed] = EventOrder(
                self._places, held_s=HELD_S if self._connection.config.clock == "data" else 0.0
            )
            self._ends: dict[Place, int] = {}
            self._waiting_bytes: dict[Place, int] = {}
            log.info("re-keying: resumes at %s", self._positions.named())
            self.is_ready = True
            self._commit(transactions, [], self._positions.losses)
            while not is_abandoned():
                self._read(reader)
                due = self._order.pop(MOST_RECORDS, time.monotonic())
                self._commit(transactions, due, [])

    def _reader(self) -> PartitionReader:
        return PartitionReader(
            self._connection,
            [
                TopicPartition(self._connection.name(topic), partition, start)
                for (topic, partition), start in self._positions.next.items()
            ],
            enable_partition_eof=True,
            auto_offset_reset="error",
            queued_max_messages_kbytes=4096,
            # The largest result of a decompression too.
            receive_message_max_bytes=MAX_BATCH_BYTES,
            enable_metrics_push=False,
        )

    # Reading

    def _read(self, reader: PartitionReader) -> None:
        """Read for the time between two commits at most."""
        reader.pause(
            (self._connection.name(topic), partition)
            for topic, partition in self._places
            if self._order.waiting((topic, partition)) >= MOST_WAITING
            or self._waiting_bytes.get((topic, partition), 0) >= MOST_WAITING_BYTES
        )
        seconds = self._connection.settings.commit_interval_ms / 1000
        batches: dict[Place, list[Message]] = {}
        for message in reader.consume(MOST_RECORDS, seconds):
            error = message.error()
            is_end = error is not None and error.code() == KafkaError._PARTITION_EOF
            if error is not None and not is_end and not is_unreadable(message):
                raise KafkaException(error)
            place = self._of_name[message.topic() or ""], message.partition() or 0
            if error is None:
                batches.setdefault(place, []).append(message)
                continue
            self._decode(place, batches.pop(place, []))
            if is_end:
                self._ends[place] = message.offset() or 0
                self._order.note_end(place)
            else:
                self._put_aside(place, message, reader.end_of(message))
        for place, messages in batches.items():
            self._decode(place, messages)

    def _decode(self, place: Place, messages: list[Message]) -> None:
        if not messages:
            return
        (source, partition), now_s, now_ms = place, time.monotonic(), self._clock()
        topic, config = read_as(source), self._connection.config
        # By the later clock, as stage 1 does.
        latest_ms = now_ms + max(0, self._ahead()) + config.max_ahead_ms
        decode, _ = decoders(latest_ms, config.missing_labels)[topic]
        offsets = [message.offset() or 0 for message in messages]
        values = [message.value() for message in messages]
        rows, good, rejects = decode(values, offsets, notes=None)
        ids = [row.prediction_id.encode() for row in rows]
        targets = partitions_of(ids, self._partitions).tolist() if ids else []
        passed = {
            at: (row.timestamp_ms, Outgoing(topic, target, id_, values[at]))
            for at, row, target, id_ in zip(good, rows, targets, ids, strict=True)
        }
        rejected = iter(rejects)
        for at, offset in enumerate(offsets):
            if at in passed:
                time_ms, outgoing = passed[at]
                item = _Passed(offset + 1, outgoing)
            else:
                reject, time_ms = next(rejected), 0
                letter = dead_letter(
                    topic,
                    partition,
                    reject,
                    messages[at].key(),
                    values[at],
                    app=config.kafka.app,
                    now_ms=now_ms,
                )
                item = _Passed(offset + 1, letter, reject)
            self._order.push(place, time_ms, now_s, item)
        size = sum(len(value or b"") for value in values)
        self._waiting_bytes[place] = self._waiting_bytes.get(place, 0) + size
        self._meters[partition].received(source, len(messages))

    def _put_aside(self, place: Place, message: Message, end: int) -> None:
        """Make a dead letter of a batch that cannot be read."""
        (source, partition), first = place, message.offset() or 0
        topic, error = read_as(source), message.error()
        is_damaged = error is not None and error.code() == KafkaError._BAD_MSG
        reject = Reject(
            first,
            "checksum" if is_damaged else "encoding",
            f"{topic}@{first}: the batch up to offset {end - 1} cannot be read "
            f"({'' if error is None else error.str()}); it stays in its topic",
            records=end - first,
        )
        letter = dead_letter(
            topic,
            partition,
            reject,
            None,
            b"",
            app=self._connection.settings.app,
            now_ms=self._clock(),
        )
        places = {DLQ_LAST_OFFSET: end - 1, DLQ_LOST_RECORDS: end - first}
        headers = [(name, str(number).encode()) for name, number in places.items()]
        letter = msgspec.structs.replace(letter, headers=[*letter.headers, *headers])
        self._order.push(place, 0, time.monotonic(), _Passed(end, letter, reject))
        self._waiting_bytes.setdefault(place, 0)

    # Writing

    def _commit(
        self,
        transactions: Transactions,
        due: Iterable[tuple[Place, _Passed]],
        losses: Iterable[Loss],
    ) -> None:
        outgoing = [loss.dead_letter(self._connection.settings.app) for loss in losses]
        rejects: dict[Place, list[Reject]] = {}
        for place, passed in due:
            outgoing.append(passed.outgoing)
            self._positions.next[place] = passed.next
            self._waiting_bytes[place] -= len(passed.outgoing.value or b"")
            if passed.reject is not None:
                rejects.setdefault(place, []).append(passed.reject)
        for place, end in self._ends.items():
            # Transaction markers lie behind the last record.
            if not self._order.waiting(place):
                self._positions.next[place] = max(self._positions.next[place], end)
        outgoing += self._positions.journal_records()
        if not outgoing:
            return
        transactions.run(outgoing, "", 0, [])
        self._positions.note_committed()
        self._meters[0].written(len(outgoing))
        for loss in losses:
            log.warning("re-keying: %s", loss.message)
            self._report(loss.fault.partition, BatchTally({}, [loss.uncounted]))
        for (source, partition), rejected in rejects.items():
            tally = BatchTally({}, [])
            tally.add_received(read_as(source), sum(reject.records for reject in rejected))
            tally.add_rejects(read_as(source), partition, rejected)
            self._report(partition, tally)
