"""Lag of the workers behind their input topics, from the offsets that their groups publish."""

from __future__ import annotations

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges
from driftline.agents.kafka.broker.task_kinds import INPUTS


def lag(connection: Connection, kind: str) -> int | None:
    """Offsets between the committed positions of a kind of task and the ends of its input topics;
    None if nothing is committed.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    found = lags(connection, kind)
    return None if found is None else sum(found.values())


def lags(connection: Connection, kind: str) -> dict[tuple[str, int], int] | None:
    """Lag by input topic, without prefix, and partition; None if nothing is committed.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    logs = {
        (topic, part.partition): part
        for topic, parts in offset_ranges(connection, INPUTS[kind]).items()
        for part in parts
    }
    if not logs:
        return None
    admin = connection.admin()
    places = [TopicPartition(connection.name(topic), number) for topic, number in logs]
    (answer,) = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(connection.group(kind), places)]
    ).values()
    committed = {
        (connection.bare(place.topic), place.partition): place.offset
        for place in answer.result().topic_partitions or []
        if place.offset >= 0
    }
    if not committed:
        return None
    return {at: max(0, log.end - committed.get(at, log.start)) for at, log in logs.items()}
