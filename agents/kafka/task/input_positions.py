"""Positions of a restored task checked against its input logs, and the way on that an operator
named for positions that cannot be used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.broker_retry import BrokerRetry
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.failures import MustStop
from driftline.agents.kafka.broker.input_logs import (
    InputLog,
    PositionFault,
    Resume,
    find_fault,
    input_logs,
)
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.task_kinds import INPUTS
from driftline.agents.kafka.broker.wire import DLQ_LOST_RECORDS, dead_letter
from driftline.agents.uncounted_rows import Uncounted
from driftline.schemas.rejects import Reject
from driftline.schemas.topics import read_as

_TOPIC_VISIBLE_S: Final = 5.0


class Loss(Struct, frozen=True):
    """Records that a task passes over, or reads again, because the operator said so.

    Attributes
    ----------
    topic
        The input, without prefix.
    fault
        Why its position cannot be used.
    resumed_at
        Offset from which it is read now.
    """

    topic: str
    fault: PositionFault
    resumed_at: int

    @property
    def records(self) -> int | None:
        """Number of offsets that were passed over; None if nobody knows, because the old topic, or
        the end of the log, is gone.
        """
        if self.fault.fault != "deleted":
            return None
        return self.resumed_at - self.fault.position

    @property
    def message(self) -> str:
        """A sentence for the log and for the dead letter."""
        return f"{self.fault.what}; reading goes on at offset {self.resumed_at} (--resume)"

    @property
    def uncounted(self) -> Uncounted:
        """The records that were passed over; one where their number is not known."""
        return Uncounted(
            topic=read_as(self.topic),
            reason="lost",
            rows=1 if self.records is None else self.records,
            example=self.message,
        )

    def dead_letter(self, app: str) -> Outgoing:
        """The record of the loss on the dead-letter topic of the input. It has no value."""
        reject = Reject(offset=self.fault.position, reason="lost", error=self.message)
        letter = dead_letter(
            read_as(self.topic),
            self.fault.partition,
            reject,
            None,
            None,
            app=app,
            now_ms=time.time_ns() // 1_000_000,
        )
        more = {
            "dlq_fault": self.fault.fault,
            "dlq_resumed_at": str(self.resumed_at),
            DLQ_LOST_RECORDS: "unknown" if self.records is None else str(self.records),
        }
        headers = [*letter.headers, *((name, text.encode()) for name, text in more.items())]
        return msgspec.structs.replace(letter, headers=headers)


class InputPositions(Struct, frozen=True):
    """Where a task reads its inputs.

    Attributes
    ----------
    positions
        Next offset by topic without prefix.
    topic_ids
        Id of each input topic on the broker.
    losses
        What was passed over.
    """

    positions: dict[str, int]
    topic_ids: dict[str, str]
    losses: list[Loss]


def check_positions(
    connection: Connection,
    admin: AdminClient,
    resume: Resume,
    kind: str,
    partition: int,
    positions: Mapping[str, int],
    topic_ids: Mapping[str, str],
    is_abandoned: Callable[[], bool],
) -> InputPositions:
    """Check the positions of a restored task; waits while the broker is away.

    Parameters
    ----------
    positions, topic_ids
        As of the last commit, by topic without prefix. A journal of a program that kept no ids has
        none; the ids of now are taken.

    Raises
    ------
    MustStop
        If an input cannot be read on and `resume` names no way.
    Abandoned
        If the broker is away and `is_abandoned` returns True.
    """
    retry = BrokerRetry(connection, f"{kind} {partition}", "read its inputs", is_abandoned)
    while True:
        try:
            logs = input_logs(admin, connection, [(topic, partition) for topic in INPUTS[kind]])
        except KafkaException as error:
            fault: KafkaError = error.args[0]
            retry.wait(fault)
            continue
        known = [topic for topic in INPUTS[kind] if topic in positions]
        # A topic that was just created is not visible on every broker at once.
        if all((topic, partition) in logs for topic in known) or retry.waited_s > _TOPIC_VISIBLE_S:
            break
        time.sleep(0.2)
    return _resumed(connection, resume, kind, partition, positions, topic_ids, logs)


def _resumed(
    connection: Connection,
    resume: Resume,
    kind: str,
    partition: int,
    positions: Mapping[str, int],
    topic_ids: Mapping[str, str],
    logs: Mapping[tuple[str, int], InputLog],
) -> InputPositions:
    now, losses, faults = dict(positions), [], []
    for topic, position in positions.items():
        if topic not in INPUTS[kind]:
            continue
        log = logs.get((topic, partition))
        known_id = topic_ids.get(topic)
        fault = find_fault(connection.name(topic), partition, position, known_id, log)
        if fault is None:
            continue
        try:
            offset = resume.offset(fault, log)
        except ValueError as error:
            raise MustStop(failures.CONFIGURATION, str(error)) from error
        if offset is None:
            faults.append(fault)
        else:
            now[topic] = offset
            losses.append(Loss(topic, fault, offset))
    if faults:
        raise MustStop(failures.CONFIGURATION, ". ".join(map(str, faults)))
    ids = {topic: log.topic_id for (topic, _), log in logs.items()}
    return InputPositions(now, {**topic_ids, **ids}, losses)
