"""Committed records of a range of a topic, one partition after the other.

A range is what lies between two moments of Kafka's own clock (the time at which the broker took a record), so that it is a range of
offsets; event time is inside the values and has no part in it. Records of aborted transactions are never seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin._listoffsets import OffsetSpec
from msgspec import Struct

from agents.inprocess.exported import Range
from agents.kafka.connection import Connection

REQUEST_S: Final = 30.0
CHUNK: Final = 2_000


class Fetched(Struct, frozen=True, gc=False):
    """A committed record; `value` is empty where it has none."""

    partition: int
    offset: int
    value: bytes
    headers: dict[str, bytes]


def ranges(connection: Connection, topic: str, *, since_ms: int | None = None, until_ms: int | None = None) -> list[Range]:
    """Ranges of every partition of a topic, by partition; none where the broker has no such topic.

    Parameters
    ----------
    since_ms, until_ms
        Records that the broker took at or after the first and before the second moment, in ms since the epoch; None is the start of the
        log, and what is committed by now.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    with closing(connection.consumer()) as consumer:
        name = connection.name(topic)
        partitions = consumer.list_topics(name, timeout=REQUEST_S).topics[name].partitions
        starts = _offsets(connection, name, partitions, OffsetSpec.earliest())
        ends = _offsets(connection, name, partitions, OffsetSpec.latest())
        if since_ms is not None:
            starts = _at_time(consumer, name, since_ms, starts, ends)
        if until_ms is not None:
            ends = _at_time(consumer, name, until_ms, starts, ends)
    return [Range(topic, partition, starts[partition], max(starts[partition], ends[partition])) for partition in sorted(partitions)]


def records(connection: Connection, wanted: Range) -> Iterator[list[Fetched]]:
    """The records of a range in offset order, some at a time.

    Raises
    ------
    KafkaException
        If the broker does not answer, or the log no longer has the range.
    """
    if wanted.start >= wanted.end:
        return
    settings = {"enable_partition_eof": True, "auto_offset_reset": "error", "queued_max_messages_kbytes": 4096}
    with closing(connection.consumer(**settings)) as consumer:
        consumer.assign([TopicPartition(connection.name(wanted.topic), wanted.partition, wanted.start)])
        while True:
            taken: list[Fetched] = []
            # A marker of a transaction takes an offset too, so the range may end behind its last record: then the partition's end tells.
            at_end = False
            for message in consumer.consume(CHUNK, 1.0):
                error, offset = message.error(), message.offset() or 0
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                at_end = at_end or offset >= wanted.end or error is not None
                if error is None and offset < wanted.end:
                    headers: Any = dict(message.headers() or ())
                    taken.append(Fetched(wanted.partition, offset, message.value() or b"", headers))
            if taken:
                yield taken
            if at_end:
                return


def _offsets(connection: Connection, name: str, partitions: Iterable[int], spec: OffsetSpec) -> dict[int, int]:
    asked = {TopicPartition(name, partition): spec for partition in partitions}
    if not asked:
        return {}
    found = connection.admin().list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=REQUEST_S)
    return {place.partition: future.result().offset for place, future in found.items()}


def _at_time(consumer: Any, name: str, time_ms: int, starts: dict[int, int], ends: dict[int, int]) -> dict[int, int]:
    """The first offset at or after a time, the end where there is none."""
    asked = [TopicPartition(name, partition, time_ms) for partition in starts]
    found = consumer.offsets_for_times(asked, timeout=REQUEST_S)
    at = dict(ends)
    for place in found:
        if place.offset >= 0:
            at[place.partition] = min(max(place.offset, starts[place.partition]), ends[place.partition])
    return at
