"""What the journals of a program say about its inputs, compared with the topics on the broker."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.input_logs import PositionFault, find_fault, input_logs
from driftline.agents.kafka.broker.moving_partitions import patiently
from driftline.agents.kafka.broker.ranges import offset_ranges, read_all
from driftline.agents.kafka.broker.task_kinds import INPUTS, NOTIFY, REKEY, kinds_of
from driftline.agents.kafka.broker.topics import changelog
from driftline.agents.kafka.broker.unserved_logs import unserved
from driftline.agents.kafka.changelog.journal import Closing, closing_of
from driftline.agents.recorded.export_manifest import Range

_TAIL: Final = 20


def last_commits(connection: Connection, kind: str) -> dict[int, Closing]:
    """The last commit of each journal of a kind of task, by partition; those without one are left
    out.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    name = changelog(connection.settings, kind)
    left = {part.partition: part for part in offset_ranges(connection, [name])[name]}
    found: dict[int, Closing] = {}
    tail = _TAIL
    while left:
        found |= _read_tails(connection, list(left.values()), tail)
        left = {
            number: part
            for number, part in left.items()
            if number not in found and part.end - tail > part.start
        }
        tail *= 50
    return found


def position_faults(connection: Connection) -> list[PositionFault]:
    """Inputs that the tasks cannot read on from where their journals ended, also those that the
    broker does not serve.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    faults: list[PositionFault] = []
    behind: dict[tuple[str, int], tuple[int, int]] = {}
    for kind in kinds_of(connection.config):
        if kind == NOTIFY:
            continue  # it goes on by itself
        commits = last_commits(connection, kind)
        places = [
            (topic, number) for number, commit in commits.items() for topic in commit.positions
        ]
        logs = patiently(connection, partial(input_logs, connection=connection, places=places))
        for number, commit in sorted(commits.items()):
            for topic, position in commit.positions.items():
                fault = find_fault(
                    connection.name(topic),
                    number,
                    position,
                    commit.topic_ids.get(topic),
                    logs.get((topic, number)),
                )
                log = logs.get((topic, number))
                if fault is not None:
                    faults.append(fault)
                elif log is not None and position < log.end:
                    behind[connection.name(topic), number] = position, log.end
    return faults + unserved(connection, behind)


Place = tuple[str, int]


def source_logs(connection: Connection) -> dict[Place, Range]:
    """The committed records of each source and partition.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    return {
        (topic, part.partition): part
        for topic, parts in offset_ranges(connection, INPUTS[REKEY]).items()
        for part in parts
    }


def unread_sources(
    connection: Connection, logs: Mapping[Place, Range] | None = None
) -> dict[Place, int]:
    """Records that are not re-keyed yet, by source and partition.

    Parameters
    ----------
    logs
        The logs at an earlier time; by default those of now.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    if logs is None:
        logs = source_logs(connection)
    commits = last_commits(connection, REKEY)
    positions = {
        (topic, partition): position
        for partition, commit in commits.items()
        for topic, position in commit.positions.items()
    }
    return {at: max(0, log.end - positions.get(at, log.start)) for at, log in logs.items()}


def _read_tails(connection: Connection, parts: list[Range], tail: int) -> dict[int, Closing]:
    tails = [
        msgspec.structs.replace(part, start=max(part.start, part.end - tail)) for part in parts
    ]
    found: dict[int, Closing] = {}
    for _, message in read_all(connection, tails):
        if (commit := closing_of(message.key(), message.value())) is not None:
            found[message.partition() or 0] = commit
    return found
