"""The lag of the workers on a broker, as an answer has it."""

from __future__ import annotations

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.task_kinds import INPUTS
from driftline.agents.kafka.tools.lag import lags
from driftline.agents.serve.answers.pipeline import PartitionLag


def partition_lags(connection: Connection) -> list[PartitionLag]:
    """The partitions of all inputs; none of a kind of task that has committed nothing.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    return [
        PartitionLag(kind=kind, topic=topic, partition=partition, lag=records)
        for kind in INPUTS
        for (topic, partition), records in sorted((lags(connection, kind) or {}).items())
    ]
