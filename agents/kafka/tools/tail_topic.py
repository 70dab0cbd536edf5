"""The newest records of a topic on a broker, and those that are still to come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

from confluent_kafka import KafkaException, TopicPartition

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import (
    CHUNK,
    MAX_BATCH_BYTES,
    FetchedRecord,
    PartitionReader,
    is_unreadable,
    may_be_of,
    offset_ranges,
    read_records,
    record_of,
)
from driftline.agents.kafka.broker.topics import UnusableTopics
from driftline.agents.recorded.export_manifest import Range
from driftline.schemas.topics import TOPICS

WAIT_S: Final = 0.2
_FIRST_LOOK: Final = 200


class TopicTail:
    """The end of a topic: what is there when it is made, and what comes later.

    Parameters
    ----------
    topic
        Name without the prefix.
    accepts
        Which values are wanted.

    Raises
    ------
    UnusableTopics
        If the broker lacks the topic.
    """

    def __init__(
        self, connection: Connection, topic: str, accepts: Callable[[bytes], bool]
    ) -> None:
        self._connection, self._accepts = connection, accepts
        # Inputs come from any program; a result of another program is none of this one.
        self._is_input = TOPICS[topic].stage == "input"
        self._parts = offset_ranges(connection, [topic])[topic]
        if not self._parts:
            raise UnusableTopics(
                f"{connection.servers} has no topic {connection.name(topic)}; create it: "
                "driftline topics create"
            )

    def newest(self, most: int) -> list[FetchedRecord]:
        """The newest wanted records that were there, by the broker's time, at most so many."""
        look = max(_FIRST_LOOK, 2 * most)
        while True:
            parts = [
                Range(part.topic, part.partition, max(part.start, part.end - look), part.end)
                for part in self._parts
            ]
            found = [
                record
                for part in parts
                for records in read_records(self._connection, part)
                for record in records
                if self._is_wanted(record)
            ]
            is_all = all(
                part.start == whole.start for part, whole in zip(parts, self._parts, strict=True)
            )
            # The newest of each partition are there once each has as many, or is read as a whole.
            if is_all or all(
                sum(record.partition == part.partition for record in found) >= most
                for part, whole in zip(parts, self._parts, strict=True)
                if part.start > whole.start
            ):
                found.sort(key=lambda each: (each.timestamp_ms, each.partition, each.offset))
                return found[len(found) - most :] if most < len(found) else found
            look *= 8

    def following(self) -> Iterator[FetchedRecord]:
        """Each wanted record that comes after those, without end.

        Raises
        ------
        KafkaException
            If the topic cannot be read any more. A broker that is away is waited for.
        """
        places = [
            TopicPartition(self._connection.name(part.topic), part.partition, part.end)
            for part in self._parts
        ]
        # Records that retention has deleted meanwhile are passed over.
        reader = PartitionReader(
            self._connection,
            places,
            auto_offset_reset="earliest",
            receive_message_max_bytes=MAX_BATCH_BYTES,
        )
        with closing(reader):
            while True:
                for message in reader.consume(CHUNK, WAIT_S):
                    if is_unreadable(message):
                        continue
                    if (error := message.error()) is not None:
                        raise KafkaException(error)
                    record = record_of(message)
                    if self._is_wanted(record):
                        yield record

    def _is_wanted(self, record: FetchedRecord) -> bool:
        return (
            record.has_value
            and (self._is_input or may_be_of(self._connection.settings.app, record.headers))
            and self._accepts(record.value)
        )
