"""Does the broker answer, has it the topics, do producers agree on the partitioner, and how far
behind are the workers?
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftline.agents.doctor.check_result import CheckResult
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import BrokerError, Connection
from driftline.agents.kafka.broker.ranges import ranges
from driftline.agents.kafka.tools.lag import INPUTS, lag
from driftline.agents.kafka.tools.partitioners import NAMES, KeySamples
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

KEYS = 100  # newest of each partition that are looked at
WAIT_S = 5.0


def examine(connection: Connection) -> Iterator[CheckResult]:
    """All checks of a broker; what builds on a failed one is left out."""
    try:
        metadata = connection.reach()
    except BrokerError as error:
        message, _, remedy = str(error).partition("; ")
        yield CheckResult(check="broker", level="problem", message=message, remedy=remedy)
        return
    count = len(metadata.brokers)
    yield CheckResult(
        check="broker",
        level="ok",
        message=f"Kafka answers at {connection.servers} ({count} broker{'' if count == 1 else 's'})",
    )
    try:
        mismatches = topics.check(connection)
        for mismatch in mismatches:
            yield CheckResult(
                check="topics",
                level="problem",
                message=f"topic {mismatch.topic} {mismatch.message}",
                remedy=mismatch.remedy,
            )
        if mismatches:
            return
        yield CheckResult(check="topics", level="ok", message="all topics are as they have to be")
        yield from partitioners(connection)
        yield from behind(connection)
    except KafkaException as error:
        yield CheckResult(
            check="broker",
            level="problem",
            message=str(connection.error(error)),
            remedy="look at the broker's log",
        )


def partitioners(connection: Connection) -> Iterator[CheckResult]:
    """Whether predictions and truths of one id can meet, by the newest keys."""
    pair = (PREDICTIONS, GROUND_TRUTH)
    samples = _newest(connection, pair)
    complaints = samples.complaints(pair)
    for complaint in complaints:
        message, _, remedy = complaint.partition("; ")
        yield CheckResult(check="partitioners", level="problem", message=message, remedy=remedy)
    if complaints:
        return
    for topic in pair:
        sample = samples.of(topic)
        if sample.partitioner is not None:
            said = f"keys of {connection.name(topic)} are spread by {NAMES[sample.partitioner]}"
            yield CheckResult(check="partitioners", level="ok", message=said)


def behind(connection: Connection) -> Iterator[CheckResult]:
    """How many records the workers have not taken yet."""
    for kind in INPUTS:
        group, records = connection.group(kind), lag(connection, kind)
        if records is None:
            message, remedy = (
                f"group {group} has taken nothing yet",
                "start a worker: driftline worker",
            )
            yield CheckResult(check="workers", level="note", message=message, remedy=remedy)
        else:
            yield CheckResult(
                check="workers", level="ok", message=f"group {group} is {records:,} records behind"
            )


def _newest(connection: Connection, names: tuple[str, ...]) -> KeySamples:
    found = ranges(connection, names)
    samples = KeySamples(connection.settings.input_partitions)
    with closing(connection.consumer(enable_partition_eof=True)) as consumer:
        wanted = [
            TopicPartition(connection.name(topic), part.partition, max(part.start, part.end - KEYS))
            for topic, parts in found.items()
            for part in parts
            if part.end > part.start
        ]
        consumer.assign(wanted)
        left = len(wanted)
        while left:
            messages = consumer.consume(1_000, timeout=WAIT_S)
            if not messages:
                break
            for message in messages:
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if error is not None:
                    left -= 1
                else:
                    samples.take(
                        connection.bare(message.topic() or ""),
                        message.partition() or 0,
                        [message.key()],
                    )
    return samples
