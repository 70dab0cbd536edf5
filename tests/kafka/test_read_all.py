"""Reading several ranges to the ends of their logs while records keep coming."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from driftline.agents.kafka.broker.ranges import Range, read_all


class ScriptedMessage:
    """A record, or the report of the end of a partition."""

    def __init__(self, partition: int, value: bytes | None) -> None:
        self._partition, self._value = partition, value

    def topic(self) -> str:
        return "metrics"

    def partition(self) -> int:
        return self._partition

    def value(self) -> bytes | None:
        return self._value

    def error(self) -> Any:
        return KafkaError(KafkaError._PARTITION_EOF) if self._value is None else None


class ScriptedConsumer:
    """Gives one list of messages a call."""

    def __init__(self, *calls: list[ScriptedMessage]) -> None:
        self._calls = list(calls)

    def assign(self, places: list[TopicPartition]) -> None:
        self.places = places

    def consume(self, count: int, timeout: float) -> list[ScriptedMessage]:
        return self._calls.pop(0)

    def close(self) -> None:
        pass


class ScriptedConnection:
    """A connection with one consumer and no prefix."""

    def __init__(self, consumer: ScriptedConsumer) -> None:
        self._consumer = consumer

    def consumer(self, **settings: Any) -> ScriptedConsumer:
        return self._consumer

    def name(self, topic: str) -> str:
        return topic

    def bare(self, name: str) -> str:
        return name


def test_the_end_of_a_partition_that_is_reported_twice_does_not_stand_for_another() -> None:
    end, record = (lambda partition: ScriptedMessage(partition, None)), ScriptedMessage
    consumer = ScriptedConsumer(
        [record(0, b"a"), end(0)],
        [record(0, b"b"), end(0)],  # written after the first end
        [record(1, b"c"), end(0), end(1)],
    )
    ranges = [Range("metrics", 0, 0, 1), Range("metrics", 1, 0, 1)]
    connection: Any = ScriptedConnection(consumer)
    assert [message.value() for _, message in read_all(connection, ranges)] == [b"a", b"b", b"c"]
