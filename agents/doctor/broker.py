"""Checks of a broker: connection, topics, the producers' partitioners, and the workers' lag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec
from confluent_kafka import KafkaException

from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.broker_clock import (
    BrokerClock,
    ClockProbe,
    clock_complaint,
    difference,
)
from driftline.agents.kafka.broker.connection import BrokerError, Connection
from driftline.agents.kafka.broker.failures import MustStop
from driftline.agents.kafka.broker.ownership import Ownership
from driftline.agents.kafka.broker.ranges import offset_ranges, read_all
from driftline.agents.kafka.broker.task_kinds import INPUTS, STAGES
from driftline.agents.kafka.notify.changelog import unread_inputs
from driftline.agents.kafka.task.uncounted import is_much
from driftline.agents.kafka.tools.journal_positions import position_faults, unread_sources
from driftline.agents.kafka.tools.lag import lag
from driftline.agents.kafka.tools.newest_keys import MOST_RECORDS, newest_keys
from driftline.agents.kafka.tools.partitioners import NAMES, KeySamples
from driftline.agents.kafka.tools.settings_in_force import changed_settings
from driftline.agents.kafka.tools.uncounted import UnreadableTopics, uncounted_on_topics
from driftline.agents.worker import rights
from driftline.schemas.check_result import CheckResult
from driftline.schemas.times import format_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, REGISTRY_EFFECTS

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
    yield from _or_fault(check_rights, connection)
    yield from _or_fault(check_retry_rights, connection)
    topic_results = list(_or_fault(check_topics, connection))
    yield from topic_results
    wanted = {connection.name(topic.name) for topic in topics.plan(connection.config)}
    if wanted.isdisjoint(metadata.topics):
        return
    yield from _or_fault(check_owner, connection)
    yield from _or_fault(check_other_programs, connection)
    yield from _or_fault(check_inputs, connection)
    if all(result.level == "ok" for result in topic_results):
        # Where the numbers of partitions differ, no partitioner fits.
        yield from _or_fault(check_partitioners, connection)
        yield from _or_fault(check_keys, connection)
    for check in (check_settings, check_lag, check_clock, check_uncounted):
        yield from _or_fault(check, connection)


def _or_fault(
    check: Callable[[Connection], Iterable[CheckResult]], connection: Connection
) -> Iterator[CheckResult]:
    """The results of a check, and a problem if the broker refuses or ends it: the others go on."""
    try:
        yield from check(connection)
    except BrokerError as error:
        message, _, remedy = str(error).partition("; ")
        yield CheckResult(check="broker", level="problem", message=message, remedy=remedy)
    except MustStop as error:
        message, _, remedy = str(error).partition("; ")
        yield CheckResult(check="broker", level="problem", message=message, remedy=remedy)
    except KafkaException as error:
        yield CheckResult(
            check="broker",
            level="problem",
            message=str(connection.error(error)),
            remedy="read the broker's log",
        )


def _problems(
    check: str, problems: Iterable[tuple[str, str]], without: str
) -> Iterator[CheckResult]:
    """Problems, each a message and a remedy, or a message where there is none."""
    found = False
    for message, remedy in problems:
        found = True
        yield CheckResult(check=check, level="problem", message=message, remedy=remedy)
    if not found:
        yield CheckResult(check=check, level="ok", message=without)


def check_topics(connection: Connection) -> Iterator[CheckResult]:
    """Whether the topics exist and have the required settings."""
    yield from _problems(
        "topics",
        (
            (f"topic {mismatch.topic} {mismatch.message}", mismatch.remedy)
            for mismatch in topics.check(connection)
        ),
        "all topics have the required settings",
    )


def check_inputs(connection: Connection) -> Iterator[CheckResult]:
    """Whether the inputs hold what the workers read next."""
    yield from _problems(
        "inputs",
        ((fault.what, fault.remedy) for fault in position_faults(connection)),
        "the inputs hold what the workers read next",
    )


def check_rights(connection: Connection) -> Iterator[CheckResult]:
    """Whether the login has the rights that a worker with all stages needs."""
    yield from _problems(
        "rights",
        (
            (
                f"the login {connection.user or '(none)'} lacks {right}",
                f"grant it: {rights.grant(connection, right)}",
            )
            for right in rights.missing(connection)
        ),
        "the login has all rights that a worker needs",
    )


def check_retry_rights(connection: Connection) -> Iterator[CheckResult]:
    """Which rights the login lacks that only `driftline dlq retry` needs."""
    of_workers = set(rights.needed(connection))
    wanted = [right for right in rights.needed_for_retry(connection) if right not in of_workers]
    for right in rights.lacked(connection, wanted):
        yield CheckResult(
            check="dead letters",
            level="note",
            message=f"the login {connection.user or '(none)'} lacks {right}, which "
            "driftline dlq retry needs",
            remedy=f"call it with another login, or grant it: {rights.grant(connection, right)}",
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
    inputs = {kind: INPUTS[kind] for kind in STAGES}
    for sentence in [*filter(None, [namesake]), *ownership.foreign_members(inputs)]:
        message, _, remedy = sentence.partition(". ")
        yield CheckResult(check="program", level="problem", message=message, remedy=remedy)


def check_other_programs(connection: Connection) -> Iterator[CheckResult]:
    """Other programs on the same inputs: those that read them now, and what former ones left."""
    ownership = Ownership(connection)
    inputs = list(map(connection.source, (PREDICTIONS, GROUND_TRUTH)))
    for group, read in ownership.readers(inputs).items():
        yield CheckResult(
            check="program",
            level="problem",
            message=f"group {group} of another program reads {', '.join(read)}",
            remedy="stop one of the two, or give one of them topics of its own (run.topic_prefix)",
        )
    owner = ownership.owner()
    former = frozenset() if owner is None else owner.former
    for app, changelogs in ownership.other_programs().items():
        what = "wrote the results before" if app in former else "does not write the results"
        yield CheckResult(
            check="former programs",
            level="note",
            message=f'program "{app}" {what}; its changelogs are still here: '
            f"{', '.join(changelogs)}",
            remedy=f"if it is not to run again, delete its topics: {connection.prefix}{app}-*",
        )


def check_settings(connection: Connection) -> Iterator[CheckResult]:
    """Whether the workers run with the settings of this configuration."""
    try:
        changes = changed_settings(connection)
    except KafkaException as error:
        yield CheckResult(
            check="settings",
            level="note",
            message="the settings of the workers are not known, because "
            f"{connection.name(REGISTRY_EFFECTS)} cannot be read: {connection.error(error)}",
            remedy="grant the login Describe and Read on this topic",
        )
        return
    for change in changes:
        is_refused = change.effect == "refused"
        yield CheckResult(
            check="settings",
            level="problem" if is_refused else "note",
            message=str(change),
            remedy="no worker will start with this change once it has counted by the setting: "
            "restore it, or give the program another kafka.app"
            if is_refused
            else "restart the workers, if it is to be in force",
        )
    if not changes:
        yield CheckResult(
            check="settings",
            level="ok",
            message="no worker has recorded other settings than this configuration has",
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


def check_keys(connection: Connection, *, most: int = MOST_RECORDS) -> Iterator[CheckResult]:
    """Whether predictions and truths can meet, by the keys of the newest records of each topic, at
    most `most`.
    """
    keys = newest_keys(connection, most=most)
    findings = keys.findings()
    for finding in findings:
        yield CheckResult(
            check="keys",
            level="problem" if keys.is_problem else "note",
            message=finding,
            remedy=keys.remedy,
        )
    if findings:
        return
    records = sum(of_topic.records for of_topic in keys.topics.values())
    if records:
        what = (
            "have their prediction ids as keys"
            if connection.settings.input_partitions > 1
            else "lie on one partition, where all of them meet"
        )
        message = f"the newest {records:,} records of {PREDICTIONS} and {GROUND_TRUTH} {what}"
        yield CheckResult(check="keys", level="ok", message=message)


def check_lag(connection: Connection) -> Iterator[CheckResult]:
    """How many records the workers have not read yet, per consumer group."""
    if connection.settings.rekey:
        unread = sum(unread_sources(connection).values())
        message = f"re-keying is {unread:,} records behind"
        yield CheckResult(check="workers", level="ok", message=message)
    if connection.config.notifications.channels:
        message = f"the notifier is {sum(unread_inputs(connection).values()):,} records behind"
        yield CheckResult(check="workers", level="ok", message=message)
    for kind in STAGES:
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
        rows = "1 row" if total.rows == 1 else f"{total.rows:,} rows"
        yield CheckResult(
            check="input",
            level="problem" if is_lost and is_much(total.rows, records[total.topic]) else "note",
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
