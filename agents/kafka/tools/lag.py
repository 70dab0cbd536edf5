"""How far the workers are behind what lies on the topics, by the positions that their groups
publish.
"""

from __future__ import annotations

from typing import Final

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import ranges
from driftline.schemas.topics import JOINED, REGISTRY_COMMANDS, WINDOW_PARTIALS

INPUTS: Final = {"join": JOINED, "downstream": (WINDOW_PARTIALS, REGISTRY_COMMANDS)}
"""What each kind of task reads."""


def lag(connection: Connection, kind: str) -> int | None:
    """Offsets between what the tasks of a kind have committed and the ends of their input topics;
    None where they have committed nothing.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    found = lags(connection, kind)
    return None if found is None else sum(found.values())


def lags(connection: Connection, kind: str) -> dict[tuple[str, int], int] | None:
    """As `lag`, of each input by topic, without prefix, and partition.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    logs = {
        (topic, part.partition): part
        for topic, parts in ranges(connection, INPUTS[kind]).items()
        for part in parts
    }
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
