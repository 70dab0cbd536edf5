"""Advancing time over a broker until all windows are final: sends the requests of
`finish_protocol.py` and reads the answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.input_logs import topic_ids
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.ownership import Ownership
from driftline.agents.kafka.broker.ranges import PartitionReader, is_unreadable, offset_ranges
from driftline.agents.kafka.broker.task_kinds import DOWNSTREAM, JOIN
from driftline.agents.kafka.broker.topics import check_counts, plan
from driftline.agents.kafka.tools.finish_protocol import Finish
from driftline.agents.kafka.tools.journal_positions import position_faults, unread_sources
from driftline.agents.kafka.tools.lag import lags
from driftline.agents.kafka.tools.settings_in_force import changed_settings
from driftline.schemas.decode import decode_ticks
from driftline.schemas.settings import Config
from driftline.schemas.topics import REGISTRY_EFFECTS, TICKS

SEND_S = 30.0
POLL_S = 0.2
AT_ONCE = 1_000
SLOW_S = 10.0


class FinishError(Exception):
    """Time cannot be advanced; the message says why and what to do."""


def finish(
    connection: Connection,
    config: Config,
    *,
    timeout_s: float,
    on_progress: Callable[[int, int], None] = lambda left, total: None,
    on_delay: Callable[[str], None] = lambda why: None,
) -> Finish:
    """Ask the workers to advance time, and wait until they have.

    The result has the end of the history and the end of time.

    Parameters
    ----------
    timeout_s
        Longest time without any answer, in seconds.
    on_progress
        Called with the number of tasks that have not answered yet, and the number of all tasks.
    on_delay
        Called every 10 s without an answer, with a sentence that names the tasks and their unread
        records.

    Raises
    ------
    FinishError
        If the configuration has the wall clock, or other settings than the workers run with,
        another program writes the results, topics are missing or cannot be read on, or tasks do not
        answer.
    KafkaException
        If the broker does not answer.
    """
    if config.clock != "data":
        raise FinishError(
            'the configuration has clock = "wall"; only recorded history can be finished: set '
            'clock = "data" under [run]'
        )
    conflict = Ownership(connection).conflict()
    if conflict is not None:
        raise FinishError(conflict)
    logs = offset_ranges(connection, [TICKS])[TICKS]
    if len(logs) != config.kafka.input_partitions:
        raise FinishError(
            f"topic {connection.name(TICKS)} has {len(logs)} partitions, but "
            "kafka.input_partitions = "
            f"{config.kafka.input_partitions}; see driftline topics check"
        )
    _check_inputs(connection)
    _check_settings(connection, on_delay)
    asking, before = Finish(config), {log.partition: log.end for log in logs}
    places = [TopicPartition(connection.name(TICKS), log.partition, log.start) for log in logs]
    with closing(PartitionReader(connection, places)) as reader:
        inputs, results = config.kafka.input_partitions, config.kafka.partitions
        if config.kafka.rekey:
            _wait_for_rekeying(connection, timeout_s=timeout_s, on_delay=on_delay)
        _send(connection, asking.progress_requests())
        waiting = partial(
            _wait, connection, reader, asking, before, timeout_s=timeout_s, on_delay=on_delay
        )
        waiting(lambda: asking.unanswered, lambda left: on_progress(left, inputs))
        _send(connection, asking.end_requests())
        waiting(
            lambda: [*asking.unanswered, *asking.unsettled],
            lambda left: on_progress(left, inputs + results),
        )
    # Topics may have changed while the tasks were at work.
    _check_inputs(connection)
    return asking


def _wait_for_rekeying(
    connection: Connection, *, timeout_s: float, on_delay: Callable[[str], None]
) -> None:
    """Wait until all records of the sources have been re-keyed."""
    left, heard_at = None, time.monotonic()
    slow_at = heard_at + SLOW_S
    while unread := sum(unread_sources(connection).values()):
        now = time.monotonic()
        if unread != left:
            left, heard_at, slow_at = unread, now, now + SLOW_S
        what = f"{unread:,} records are not re-keyed yet, for {now - heard_at:.0f} s"
        if now - heard_at > timeout_s:
            raise FinishError(
                f"{what}. Start workers (driftline worker), or see why they stall (their logs, "
                "driftline doctor), and try again"
            )
        if now >= slow_at:
            on_delay(what)
            slow_at = now + SLOW_S
        time.sleep(POLL_S)


def _check_inputs(connection: Connection) -> None:
    """Refuse if rows cannot all be read: figures would be called final without them."""
    found = topic_ids(
        connection.admin(),
        [connection.name(topic.name) for topic in plan(connection.config) if topic.setting],
    )
    counts = {connection.bare(name): count for name, (_, count) in found.items()}
    reasons = [str(mismatch) for mismatch in check_counts(connection, counts)]
    reasons += map(str, position_faults(connection))
    if reasons:
        raise FinishError(
            "not all rows can be read, so no window would be final: " + "; ".join(reasons)
        )


def _check_settings(connection: Connection, on_unknown: Callable[[str], None]) -> None:
    """Refuse a configuration by whose horizons windows could be called final too early."""
    try:
        changes = changed_settings(connection)
    except KafkaException as error:
        on_unknown(
            "whether the workers run with the settings of this configuration is not known: "
            f"{connection.name(REGISTRY_EFFECTS)} cannot be read: {connection.error(error)}"
        )
        return
    refused = [change for change in changes if change.effect == "refused"]
    if refused:
        raise FinishError(
            "the workers run with other settings than this configuration has: "
            f"{'; '.join(map(str, refused))}; call it with the configuration of the workers"
        )


def missing_answers_message(
    asking: Finish, waited_s: float, unread: Mapping[tuple[str, int], int] | None
) -> str:
    """A sentence that names the tasks without an answer and their unread records.

    Parameters
    ----------
    unread
        Unread records of the awaited kind of task, by topic and partition; None if not known.

    Examples
    --------
    >>> unread = {("predictions", 1): 1200, ("ticks", 1): 0}
    >>> missing_answers_message(Finish(Config()), 20.0, unread)  # doctest: +ELLIPSIS
    'no answer for 20 s from stage 1, partitions 0, ..., 7; not read yet: 1,200 of predictions[1]'
    """
    stage, partitions = (
        ("stage 1", asking.unanswered) if asking.unanswered else ("stages 2 to 4", asking.unsettled)
    )
    behind = {
        place: count for place, count in (unread or {}).items() if count and place[1] in partitions
    }
    if behind:
        what = "not read yet: " + ", ".join(
            f"{count:,} of {topic}[{number}]" for (topic, number), count in sorted(behind.items())
        )
    elif unread is None:
        what = (
            "their positions are not known: they have committed nothing, or the broker does not "
            "answer"
        )
    else:
        what = (
            "all records are read: the tasks are processing them or being opened (see "
            "/health/ready of the workers)"
        )
    return (
        f"no answer for {waited_s:.0f} s from {stage}, partitions "
        f"{', '.join(map(str, partitions))}; {what}"
    )


def _unread(connection: Connection, asking: Finish) -> dict[tuple[str, int], int] | None:
    try:
        return lags(connection, JOIN if asking.unanswered else DOWNSTREAM)
    except KafkaException:
        return None


def _send(connection: Connection, requests: Sequence[Outgoing]) -> None:
    refused: list[KafkaError] = []
    producer = connection.producer(
        on_delivery=lambda error, _: refused.append(error) if error else None
    )
    for request in requests:
        producer.produce(
            connection.name(request.topic),
            request.value,
            key=request.key,
            partition=request.partition or 0,
        )
    left = producer.flush(SEND_S)
    if refused or left:
        raise KafkaException(
            refused[0]
            if refused
            else KafkaError(KafkaError._TIMED_OUT, f"{left} requests were not acknowledged")
        )


def _wait(
    connection: Connection,
    reader: PartitionReader,
    asking: Finish,
    before: dict[int, int],
    left: Callable[[], Sequence[int]],
    on_progress: Callable[[int], None],
    *,
    timeout_s: float,
    on_delay: Callable[[str], None],
) -> None:
    """Read answers until no partition is left."""
    open_, heard_at = len(left()), time.monotonic()
    slow_at = heard_at + SLOW_S
    while open_:
        for message in reader.consume(AT_ONCE, POLL_S):
            if is_unreadable(message):
                continue
            if message.error() is not None:
                raise KafkaException(message.error())
            partition, offset = message.partition() or 0, message.offset() or 0
            for row in decode_ticks([message.value()], [offset])[0]:
                asking.note(partition, row, before=offset < before[partition])
        if len(left()) < open_:
            open_, heard_at = len(left()), time.monotonic()
            slow_at = heard_at + SLOW_S
        on_progress(open_)
        now = time.monotonic()
        if now - heard_at > timeout_s:
            why = missing_answers_message(asking, now - heard_at, _unread(connection, asking))
            raise FinishError(
                f"{why}. Start workers (driftline worker), or see why they stall (their logs, "
                "driftline doctor), and try again"
            )
        if open_ and now >= slow_at:
            on_delay(missing_answers_message(asking, now - heard_at, _unread(connection, asking)))
            slow_at = time.monotonic() + SLOW_S
