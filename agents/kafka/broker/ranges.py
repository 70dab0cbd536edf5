"""Offset ranges of topics, and the committed records in them.

A range is bounded by broker timestamps (LogAppendTime), so that it is a range of offsets. Event
time is part of the values and plays no role here. Records of aborted transactions are never read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec
from msgspec import Struct

from driftline.agents.kafka.broker.connection import TO_THE_END, BrokerError, Connection
from driftline.agents.kafka.broker.log_offsets import Offsets, log_offsets
from driftline.agents.kafka.broker.moving_partitions import patiently
from driftline.agents.recorded.export_manifest import Range

REQUEST_S: Final = 30.0
CHUNK: Final = 2_000
MAX_BATCH_BYTES: Final = 256 << 20
"""Largest size of a decompressed batch; a worker and an export read no larger one."""
WAIT_S: Final = 0.05


class FetchedRecord(Struct, frozen=True, gc=False):
    """A committed record; `value` is empty where it has none.

    `timestamp_ms` is the broker's, in ms since the epoch.
    """

    partition: int
    offset: int
    value: bytes
    headers: dict[str, bytes]
    key: bytes | None = None
    timestamp_ms: int = 0
    has_value: bool = True


def record_of(message: Message) -> FetchedRecord:
    """The record of a message that is no error."""
    headers: Any = dict(message.headers() or ())
    value = message.value()
    return FetchedRecord(
        message.partition() or 0,
        message.offset() or 0,
        value or b"",
        headers,
        message.key(),
        message.timestamp()[1],
        value is not None,
    )


def may_be_of(app: str, headers: Mapping[str, bytes]) -> bool:
    """Whether a program wrote the result or dead letter with these headers; also True where they
    name none.
    """
    source, own = f"/{app}/".encode(), app.encode()
    return (
        headers.get("ce_source", source).startswith(source) and headers.get("dlq_app", own) == own
    )


def offset_ranges(
    connection: Connection,
    topics: Sequence[str],
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> dict[str, list[Range]]:
    """Range of each partition, by topic; an empty list for a topic that the broker lacks.

    Parameters
    ----------
    topics
        Names without the prefix.
    since_ms, until_ms
        Broker timestamps in ms since the epoch: the range starts at the first and ends before the
        second. None is the start of the log, or the end of its committed records.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    there = connection.reach().topics
    places = [
        TopicPartition(name, partition)
        for topic in topics
        if (name := connection.name(topic)) in there
        for partition in sorted(there[name].partitions)
    ]
    found: dict[str, list[Range]] = {topic: [] for topic in topics}
    if not places:
        return found
    starts = _offsets(connection, places, OffsetSpec.earliest())
    ends = _offsets(connection, places, OffsetSpec.latest())
    first = starts if since_ms is None else _at_time(connection, places, since_ms, starts, ends)
    last = ends if until_ms is None else _at_time(connection, places, until_ms, starts, ends)
    for place in places:
        at = (place.topic, place.partition)
        topic = connection.bare(place.topic)
        found[topic].append(Range(topic, place.partition, first[at], max(first[at], last[at])))
    return found


def read_records(connection: Connection, wanted: Range) -> Iterator[list[FetchedRecord]]:
    """Read the records of a range in offset order, in chunks.

    A batch that cannot be read, because its checksum is wrong or it cannot be decompressed, is one
    record without key and value, at its first offset, as for a worker.

    Raises
    ------
    BrokerError
        If the broker does not say where such a batch ends.
    KafkaException
        If the broker does not answer, or the log no longer has the range.
    """
    if wanted.start >= wanted.end:
        return
    settings = {
        **TO_THE_END,
        "auto_offset_reset": "error",
        # The largest result of a decompression too.
        "receive_message_max_bytes": MAX_BATCH_BYTES,
    }
    place = TopicPartition(connection.name(wanted.topic), wanted.partition, wanted.start)
    with closing(PartitionReader(connection, [place], **settings)) as reader:
        while True:
            taken: list[FetchedRecord] = []
            # Transaction markers take offsets too, so the range may end after its last record. Then
            # the end-of-partition event ends the loop.
            at_end = False
            for message in reader.consume(CHUNK, WAIT_S):
                error, offset = message.error(), message.offset() or 0
                if is_unreadable(message):
                    if offset < wanted.end:
                        taken.append(FetchedRecord(wanted.partition, offset, b"", {}))
                    continue
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                at_end = at_end or offset >= wanted.end or error is not None
                if error is None and offset < wanted.end:
                    taken.append(record_of(message))
            if taken:
                yield taken
            if at_end:
                return


def read_all(connection: Connection, ranges: Sequence[Range]) -> Iterator[tuple[str, Message]]:
    """Read the committed records from the start of several ranges to the ends of their logs, with
    one consumer, in any order. What is written meanwhile may be read too.

    Yields topics without prefix and messages.

    Raises
    ------
    KafkaException
        If the broker does not answer for REQUEST_S.
    """
    places = [
        TopicPartition(connection.name(part.topic), part.partition, part.start)
        for part in ranges
        if part.end > part.start
    ]
    settings = {
        **TO_THE_END,
        # Records that retention has deleted meanwhile are passed over.
        "auto_offset_reset": "earliest",
    }
    with closing(PartitionReader(connection, places, **settings)) as reader:
        # The end of a partition is reported again for records that come after it.
        unfinished = {(place.topic, place.partition) for place in places}
        heard_at = time.monotonic()
        while unfinished:
            # It waits for all of CHUNK, or for the whole timeout.
            messages = reader.consume(CHUNK, WAIT_S)
            if messages:
                heard_at = time.monotonic()
            elif time.monotonic() > heard_at + REQUEST_S:
                raise KafkaException(
                    KafkaError(
                        KafkaError._TIMED_OUT,
                        f"the ends of {len(unfinished)} partitions were not read",
                    )
                )
            for message in messages:
                error = message.error()
                if is_unreadable(message):
                    continue
                if error is None:
                    yield connection.bare(message.topic() or ""), message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unfinished.discard((message.topic() or "", message.partition() or 0))
                else:
                    raise KafkaException(error)


class PartitionReader:
    """Reads partitions with one consumer and passes over batches that cannot be read: their
    checksum is wrong, or they cannot be decompressed, or to too many bytes.

    After such a batch the client reads at wrong places, so it is replaced by a new one, which
    begins after the batch.

    Parameters
    ----------
    connection
        The broker.
    places
        Partitions with the offsets to begin at.
    settings
        As for `Connection.consumer`.
    """

    def __init__(
        self, connection: Connection, places: Sequence[TopicPartition], **settings: Any
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._positions = {(place.topic, place.partition): place.offset for place in places}
        self._ends: dict[tuple[str, int, int], int] = {}
        self._paused: set[tuple[str, int]] = set()
        self._consumer = self._consumer_there()

    def consume(self, most: int, timeout_s: float) -> list[Message]:
        """Messages as of `Consumer.consume`, with one report of each batch that cannot be read:
        `is_unreadable` tells it, and its offset is that of the first record.

        Raises
        ------
        BrokerError
            If the broker does not say where such a batch ends.
        """
        messages = self._consumer.consume(most, timeout_s)
        if not any(map(is_unreadable, messages)):
            return messages
        ends: dict[tuple[str, int], int] = {}
        kept: list[Message] = []
        for message in messages:
            place = message.topic() or "", message.partition() or 0
            if place in ends:
                continue
            kept.append(message)
            if is_unreadable(message):
                ends[place] = self._end_of(place, message.offset() or 0)
        reached = self._consumer.position([TopicPartition(*place) for place in self._positions])
        self._positions |= {
            (place.topic, place.partition): place.offset for place in reached if place.offset >= 0
        }
        self._positions |= ends
        self._ends = {
            (*place, message.offset() or 0): ends[place]
            for message in kept
            if is_unreadable(message)
            and (place := (message.topic() or "", message.partition() or 0)) in ends
        }
        self._paused.clear()
        self._consumer.close()
        self._consumer = self._consumer_there()
        return kept

    def end_of(self, message: Message) -> int:
        """Offset after a batch that cannot be read, from its report in the last messages."""
        return self._ends[message.topic() or "", message.partition() or 0, message.offset() or 0]

    def pause(self, places: Iterable[tuple[str, int]]) -> None:
        """Read these partitions no further for now, and all others."""
        wanted = set(places)
        if more := wanted - self._paused:
            self._consumer.pause([TopicPartition(*place) for place in sorted(more)])
        if less := self._paused - wanted:
            self._consumer.resume([TopicPartition(*place) for place in sorted(less)])
        self._paused = wanted

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _end_of(self, place: tuple[str, int], first: int) -> int:
        """Offset after the batch that cannot be read, by its first offset.

        The client reports the batch again for each position inside it, and nothing else about it.
        """
        inside, step = first, 1
        while self._is_inside(place, inside + step, first):
            inside, step = inside + step, 2 * step
        outside = inside + step
        while outside - inside > 1:
            middle = (inside + outside) // 2
            if self._is_inside(place, middle, first):
                inside = middle
            else:
                outside = middle
        return outside

    def _is_inside(self, place: tuple[str, int], position: int, first: int) -> bool:
        settings = {**self._settings, **TO_THE_END, "auto_offset_reset": "error"}
        with closing(self._connection.consumer(**settings)) as consumer:
            consumer.assign([TopicPartition(*place, position)])
            message = consumer.poll(REQUEST_S)
        if message is None:
            raise BrokerError(
                f"{place[0]}[{place[1]}]: the batch at offset {first} cannot be read, and the "
                f"broker does not say where it ends in {REQUEST_S:.0f} s; read the broker's log"
            )
        return is_unreadable(message) and message.offset() == first

    def _consumer_there(self) -> Consumer:
        consumer = self._connection.consumer(**self._settings)
        consumer.assign(
            [TopicPartition(*place, offset) for place, offset in self._positions.items()]
        )
        return consumer


def is_unreadable(message: Message) -> bool:
    """Whether a message is the report of a batch whose checksum is wrong, or that cannot be
    decompressed.
    """
    error = message.error()
    return error is not None and error.code() in (KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION)


def _offsets(connection: Connection, places: Sequence[TopicPartition], spec: OffsetSpec) -> Offsets:
    def asked(admin: AdminClient) -> Offsets:
        return log_offsets(admin, places, spec, timeout_s=REQUEST_S)

    # A topic that was just created is not known to every broker at once.
    return patiently(connection, asked, also=(KafkaError.UNKNOWN_TOPIC_OR_PART,))


def _at_time(
    connection: Connection,
    places: Sequence[TopicPartition],
    time_ms: int,
    starts: Offsets,
    ends: Offsets,
) -> Offsets:
    """The first offset at or after a time; the end of the log if there is none."""
    found = _offsets(connection, places, OffsetSpec.for_timestamp(time_ms))
    return {
        at: min(max(offset, starts[at]), ends[at]) if offset >= 0 else ends[at]
        for at, offset in found.items()
    }
