"""Checks of a broker: connection, topics, the producers' partitioners, and the workers' lag."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftline.agents.doctor.check_result import CheckResult
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import BrokerError, Connection
from driftline.agents.kafka.broker.ranges import offset_ranges
from driftline.agents.kafka.tools.lag import INPUTS, lag
from driftline.agents.kafka.tools.partitioners import NAMES, KeySamples
from driftline.agents.kafka.tools.uncounted import uncounted_on_topics
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

KEYS = 100  # newest records per partition whose keys are sampled
WAIT_S = 5.0
MANY_UNCOUNTED = 0.05  # share of the records of a topic


def check_broker(connection: Connection) -> Iterator[CheckResult]:
    """Run all checks of a broker; checks that depend on a failed one are skipped."""
    try:
        metadata = connection.reach()
    except BrokerError as error:
        message, _, remedy = str(error).partition("; ")
        yield CheckResult(check="broker", level="problem", message=message, remedy=remedy)
        return
    count = f"{len(metadata.brokers)} broker{'' if len(metadata.brokers) == 1 else 's'}"
    yield CheckResult(
        check="broker",
        level="ok",
        message=f"Kafka answers at {connection.servers} ({count})",
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
        yield CheckResult(
            check="topics", level="ok", message="all topics have the required settings"
        )
        yield from check_partitioners(connection)
        yield from check_lag(connection)
        yield from check_uncounted(connection)
    except KafkaException as error:
        yield CheckResult(
            check="broker",
            level="problem",
            message=str(connection.error(error)),
            remedy="read the broker's log",
        )


def check_partitioners(connection: Connection) -> Iterator[CheckResult]:
    """Whether producers send a prediction and its truth to one partition, by the newest keys."""
    pair = (PREDICTIONS, GROUND_TRUTH)
    samples = _sample_newest_keys(connection, pair)
    complaints = samples.warnings(pair)
    for complaint in complaints:
        message, _, remedy = complaint.partition("; ")
        yield CheckResult(check="partitioners", level="problem", message=message, remedy=remedy)
    if complaints:
        return
    for topic in pair:
        sample = samples.sample_of(topic)
        if sample.partitioner is not None:
            message = (
                f"keys of {connection.name(topic)} are partitioned by {NAMES[sample.partitioner]}"
            )
            yield CheckResult(check="partitioners", level="ok", message=message)


def check_lag(connection: Connection) -> Iterator[CheckResult]:
    """How many records the workers have not read yet, per consumer group."""
    for kind in INPUTS:
        group, records = connection.group(kind), lag(connection, kind)
        if records is None:
            message, remedy = (
                f"group {group} has read nothing yet",
                "start a worker: driftline worker",
            )
            yield CheckResult(check="workers", level="note", message=message, remedy=remedy)
        else:
            yield CheckResult(
                check="workers", level="ok", message=f"group {group} is {records:,} records behind"
            )


def check_uncounted(connection: Connection) -> Iterator[CheckResult]:
    """What the workers have not counted, by topic and reason; a problem where it is much."""
    totals = uncounted_on_topics(connection).totals
    records = {
        topic: sum(part.end - part.start for part in parts)
        for topic, parts in offset_ranges(connection, (PREDICTIONS, GROUND_TRUTH)).items()
    }
    for total in totals:
        share = total.rows / max(1, records.get(total.topic, 0))
        is_many = total.topic in records and not total.is_usual and share > MANY_UNCOUNTED
        yield CheckResult(
            check="input",
            level="problem" if is_many else "note",
            message=f"{total.rows:,} rows of {total.topic} do not count, or not everywhere: "
            f"{total.reason}, for example {total.example}",
            remedy=total.remedy,
        )
    if not totals:
        yield CheckResult(check="input", level="ok", message="every row was counted")


def _sample_newest_keys(connection: Connection, names: tuple[str, ...]) -> KeySamples:
    samples = KeySamples(connection.settings.input_partitions)
    with closing(connection.consumer(enable_partition_eof=True)) as consumer:
        tails = [
            TopicPartition(connection.name(topic), part.partition, max(part.start, part.end - KEYS))
            for topic, parts in offset_ranges(connection, names).items()
            for part in parts
            if part.end > part.start
        ]
        consumer.assign(tails)
        unfinished = len(tails)
        while unfinished:
            messages = consumer.consume(1_000, timeout=WAIT_S)
            if not messages:
                break
            for message in messages:
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if error is not None:
                    unfinished -= 1
                else:
                    samples.take(
                        connection.bare(message.topic() or ""),
                        message.partition() or 0,
                        [message.key()],
                    )
    return samples
