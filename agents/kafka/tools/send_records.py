"""Sends records to a topic of a broker; they are there when the call returns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges
from driftline.agents.kafka.broker.topics import UnusableTopics

FLUSH_S: Final = 30.0


def send_records(
    connection: Connection, topic: str, records: Iterable[tuple[bytes, bytes]]
) -> None:
    """Send records, each with its key and value.

    Parameters
    ----------
    topic
        Name without prefix.

    Raises
    ------
    UnusableTopics
        If the broker lacks the topic.
    KafkaException
        If the broker does not accept a record.
    """
    if not offset_ranges(connection, [topic])[topic]:
        raise UnusableTopics(
            f"{connection.servers} has no topic {connection.name(topic)}; create it: "
            "driftline topics create"
        )
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = connection.producer(enable_idempotence=True, on_delivery=delivered)
    for key, value in records:
        producer.produce(connection.name(topic), value, key=key)
    left = producer.flush(FLUSH_S)
    if failed or left:
        raise KafkaException(
            failed[0]
            if failed
            else KafkaError(KafkaError._TIMED_OUT, f"{left} records were not acknowledged")
        )
