"""Reads topics from beginning to end with an ordinary consumer, committed records only."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

SECONDS_WITHOUT_RECORD = 60
# No row has so large a value; of such a record only size and hash are kept.
LARGEST_KEPT = 1 << 21
LARGEST_BATCH = 1_000_000_000  # bytes that the reader decompresses


class Stored(NamedTuple):
    """One record on a topic.

    Attributes
    ----------
    digest
        Size and SHA-256 of a value above LARGEST_KEPT, which is left out; otherwise None.
    """

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes]
    digest: tuple[int, str] | None = None


def read_topic(bootstrap: str, topic: str) -> Iterator[Stored]:
    """Every committed record of a topic, by offset within each partition.

    Raises
    ------
    KafkaException
        If the topic is missing or the broker does not answer.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "chaos-verifier",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "receive.message.max.bytes": LARGEST_BATCH,
            # The end of a partition is known after one empty fetch.
            "fetch.wait.max.ms": 20,
        }
    )
    try:
        partitions = partitions_of(consumer, topic)
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        unfinished, received_at = set(partitions), time.monotonic()
        while unfinished:
            # `consume` waits for all of the messages or all of the time.
            messages = consumer.consume(1_000, 0.05)
            if messages:
                received_at = time.monotonic()
            elif time.monotonic() - received_at > SECONDS_WITHOUT_RECORD:
                raise KafkaException(
                    KafkaError(
                        KafkaError._TIMED_OUT,
                        f"{topic}: no end of partitions {sorted(unfinished)} within a minute",
                    )
                )
            for message in messages:
                if message.error() is None:
                    yield _stored(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(message.partition())
                else:
                    raise KafkaException(message.error())
    finally:
        consumer.close()


def ends_of(bootstrap: str, topic: str) -> dict[int, int]:
    """The offset after the last record of each partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "chaos-verifier"})
    try:
        return {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)[1]
            for number in partitions_of(consumer, topic)
        }
    finally:
        consumer.close()


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """Numbers of a topic's partitions."""
    described = consumer.list_topics(topic, timeout=30).topics[topic]
    if described.error is not None:
        raise KafkaException(described.error)
    return sorted(described.partitions)


def _stored(message: Message) -> Stored:
    value = message.value() or b""
    digest = None
    if len(value) > LARGEST_KEPT:
        value, digest = b"", (len(value), hashlib.sha256(value).hexdigest())
    return Stored(
        message.partition(),
        message.offset(),
        message.key(),
        value,
        dict(message.headers() or ()),
        digest,
    )
