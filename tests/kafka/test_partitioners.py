"""Identification of the partitioner, from generated keys and from real producers."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition, consistent, murmur2
from confluent_kafka.admin import NewTopic

from driftline.agents.kafka.tools.partitioners import MIN_KEYS, KeySamples, identify_partitioner
from tests.kafka.brokers import Names

TOPICS = ("predictions", "ground-truth")
BY: dict[str, Callable[[bytes, int], int]] = {
    "murmur2": murmur2,  # librdkafka's implementation, not the program's
    "crc32": consistent,
    "other": lambda key, count: zlib.adler32(key) % count,
}


def keys(n: int, seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    return [f"{chance.getrandbits(64):016x}".encode() for _ in range(n)]


def sampled(partitions: int, **spread: str | None) -> KeySamples:
    """Keys of two topics, each spread by a partitioner; None for records without a key."""
    samples = KeySamples(partitions)
    for topic, kind in zip(TOPICS, (spread["predictions"], spread["truths"]), strict=True):
        for i, key in enumerate(keys(400, seed=len(topic))):
            samples.take(
                topic,
                i % partitions if kind is None else BY[kind](key, partitions),
                [None if kind is None else key],
            )
    return samples


@pytest.mark.parametrize("partitions", [2, 3, 8, 32])
@pytest.mark.parametrize("kind", BY)
def test_a_few_keys_identify_the_partitioner(kind: str, partitions: int) -> None:
    few = keys(MIN_KEYS, seed=partitions)
    assert identify_partitioner(few, [BY[kind](key, partitions) for key in few], partitions) == kind


def test_two_partitioners_in_one_topic_are_reported_as_mixed() -> None:
    both = keys(400)
    spread = [BY["murmur2" if i % 2 else "crc32"](key, 8) for i, key in enumerate(both)]
    assert identify_partitioner(both, spread, 8) == "mixed"


def test_too_few_keys_or_one_partition_give_no_answer() -> None:
    samples = KeySamples(8)
    for key in keys(MIN_KEYS - 1):
        samples.take("predictions", 0, [key, key])
    assert samples.sample_of("predictions").partitioner is None
    assert sampled(1, predictions="crc32", truths="murmur2").warnings(TOPICS) == []


@pytest.mark.parametrize("kind", BY)
def test_the_same_partitioner_on_both_sides_gives_no_warning(kind: str) -> None:
    assert sampled(8, predictions=kind, truths=kind).warnings(TOPICS) == []


def test_different_partitioners_are_named_with_a_remedy_for_one_side() -> None:
    (warning,) = sampled(8, predictions="crc32", truths="murmur2").warnings(TOPICS)
    assert "predictions by CRC32" in warning
    assert "ground-truth by murmur2" in warning
    assert "of topic predictions: give its producers partitioner=murmur2_random" in warning


def test_records_without_a_key_are_named() -> None:
    (warning,) = sampled(8, predictions="murmur2", truths=None).warnings(TOPICS)
    assert warning.startswith(
        "topic ground-truth: its keys are spread by nothing: they have no key"
    )
    assert warning.endswith("send prediction_id as the key of each record")


def test_a_corrected_producer_gives_no_warning_after_enough_new_keys() -> None:
    samples = sampled(8, predictions="murmur2", truths="crc32")
    assert samples.warnings(TOPICS)
    for key in keys(2_000, seed=7):
        samples.take("ground-truth", BY["murmur2"](key, 8), [key])
    assert samples.warnings(TOPICS) == []


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("settings", "kind"), [({}, "crc32"), ({"partitioner": "murmur2_random"}, "murmur2")]
)
def test_the_partitioner_of_a_real_producer_is_identified(
    names: Names, settings: dict[str, str], kind: str
) -> None:
    topic, count = names.prefix + "predictions", 4
    admin = names.connection().admin()
    (made,) = admin.create_topics([NewTopic(topic, count, 1)]).values()
    made.result()
    producer = Producer({"bootstrap.servers": names.servers, **settings})
    for key in keys(200):
        producer.produce(topic, key=key, value=b"{}")
    assert producer.flush(30.0) == 0
    consumer = Consumer({"bootstrap.servers": names.servers, "group.id": names.app})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(count)])
    samples = KeySamples(count)
    left = 200
    while left:
        for message in consumer.consume(200, timeout=30.0):
            samples.take("predictions", message.partition(), [message.key()])
            left -= 1
    consumer.close()
    assert samples.sample_of("predictions").partitioner == kind
