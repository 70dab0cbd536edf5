"""Checks of a broker: connection, topics, the producers' partitioners, and the workers' lag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec
from confluent_kafka import KafkaException

from driftline.agents.doctor.check_result import CheckResult
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.broker_clock import (
    BrokerClock,
    ClockProbe,
    clock_complaint,
    difference,
)
from driftline.agents.kafka.broker.connection import BrokerError, Connection
from driftline.agents.kafka.broker.ownership import Ownership
from driftline.agents.kafka.broker.ranges import offset_ranges, read_all
from driftline.agents.kafka.broker.task_kinds import INPUTS
from driftline.agents.kafka.task.uncounted import FEW_ROWS, LIMIT
from driftline.agents.kafka.tools.journal_positions import position_faults
from driftline.agents.kafka.tools.lag import lag
from driftline.agents.kafka.tools.partitioners import NAMES, KeySamples
from driftline.agents.kafka.tools.uncounted import UnreadableTopics, uncounted_on_topics
from driftline.agents.worker import rights
from driftline.schemas.times import format_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

KEYS = 100  # newest records per partition whose keys are sampled


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
        yield from check_rights(connection)
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
        yield from check_owner(connection)
        faults = position_faults(connection)
        for fault in faults:
            yield CheckResult(
                check="inputs", level="problem", message=fault.what, remedy=fault.remedy
            )
        if not faults:
            yield CheckResult(
                check="inputs", level="ok", message="the inputs hold what the workers read next"
            )
        yield from check_partitioners(connection)
        yield from check_lag(connection)
        yield from check_clock(connection)
        yield from check_uncounted(connection)
    except BrokerError as error:
        message, _, remedy = str(error).partition("; ")
        yield CheckResult(check="broker", level="problem", message=message, remedy=remedy)
    except KafkaException as error:
        yield CheckResult(
            check="broker",
            level="problem",
            message=str(connection.error(error)),
            remedy="read the broker's log",
        )


def check_rights(connection: Connection) -> Iterator[CheckResult]:
    """Whether the login has the rights that a worker with all stages needs."""
    lacking = rights.missing(connection)
    for right in lacking:
        yield CheckResult(
            check="rights",
            level="problem",
            message=f"the login {connection.user or '(none)'} lacks {right}",
            remedy=f"grant it: {rights.grant(connection, right)}",
        )
    if not lacking:
        yield CheckResult(
            check="rights", level="ok", message="the login has all rights that a worker needs"
        )


def check_owner(connection: Connection) -> Iterator[CheckResult]:
    """Whether this program writes the results, and has its consumer groups for itself."""
    ownership = Ownership(connection)
    owner, conflict = ownership.owner(), ownership.conflict()
    if conflict is not None:
        message, _, remedy = conflict.partition(". ")
        yield CheckResult(check="program", level="problem", message=message, remedy=remedy)
    elif owner is not None:
        former = f", before it {', '.join(sorted(owner.former))}" if owner.former else ""
        yield CheckResult(
            check="program",
            level="ok",
            message=f'program "{owner.claim.app}" writes the results since '
            f"{format_time(owner.since_ms)}{former}",
        )
    namesake = ownership.namesake()
    for sentence in [*filter(None, [namesake]), *ownership.foreign_members(INPUTS)]:
        message, _, remedy = sentence.partition(". ")
        yield CheckResult(check="program", level="problem", message=message, remedy=remedy)


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


def check_clock(connection: Connection) -> Iterator[CheckResult]:
    """Whether this machine's clock agrees with the broker's, by a record on the clock topic."""
    clock = BrokerClock()
    clock.note(ClockProbe(connection).measure())
    ahead_ms = clock.ahead_ms()
    found = clock_complaint(connection, ahead_ms)
    if found is None:
        message = f"the clock of this machine is {difference(ahead_ms)} the broker's"
        yield CheckResult(check="clock", level="ok", message=message)
        return
    message, _, remedy = found.partition("; ")
    level: Literal["note", "problem"] = "note" if connection.config.clock == "data" else "problem"
    yield CheckResult(check="clock", level=level, message=message, remedy=remedy)


def check_uncounted(connection: Connection) -> Iterator[CheckResult]:
    """What the workers have not counted, by topic and reason; a problem where it is much."""
    try:
        uncounted = uncounted_on_topics(connection)
    except UnreadableTopics as error:
        message, _, remedy = str(error).partition(". ")
        yield CheckResult(check="input", level="note", message=message, remedy=remedy)
        return
    records = {
        topic: sum(part.end - part.start for part in parts)
        for topic, parts in offset_ranges(connection, (PREDICTIONS, GROUND_TRUTH)).items()
    }
    for total in uncounted.totals:
        is_lost = total.topic in records and not total.is_usual
        is_much = total.rows >= FEW_ROWS and total.rows > LIMIT * records.get(total.topic, 0)
        rows = "1 row" if total.rows == 1 else f"{total.rows:,} rows"
        yield CheckResult(
            check="input",
            level="problem" if is_lost and is_much else "note",
            message=f"{rows} of {total.topic} not counted, or not everywhere: {total.reason}, for "
            f"example {total.example}",
            remedy=total.remedy,
        )
    if not uncounted.totals:
        yield CheckResult(
            check="input", level="ok", message="the topics have no row that was not counted"
        )
    for note in uncounted.notes:
        yield CheckResult(check="input", level="note", message=note, remedy="")


def _sample_newest_keys(connection: Connection, names: tuple[str, ...]) -> KeySamples:
    samples = KeySamples(connection.settings.input_partitions)
    tails = [
        msgspec.structs.replace(part, start=max(part.start, part.end - KEYS))
        for parts in offset_ranges(connection, names).values()
        for part in parts
    ]
    for topic, message in read_all(connection, tails):
        samples.take(topic, message.partition() or 0, [message.key()])
    return samples
