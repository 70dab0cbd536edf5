"""The input logs on the broker compared with what a journal has read of them, and how an operator
lets a task go on where records are lost.

A position counts in one topic only: a topic that was deleted and created again under the same name
has other records at the same offsets. So a journal keeps the id of the topic with each position.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from confluent_kafka import (
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from msgspec import Struct

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.log_offsets import log_offsets
from driftline.agents.kafka.broker.task_kinds import INPUTS, kinds_of
from driftline.agents.kafka.broker.topics import topic_id_text

ANSWER_S: Final = 5.0

Fault = Literal["deleted", "made_anew", "truncated", "missing", "unserved"]


class InputLog(Struct, frozen=True):
    """A partition of an input topic on the broker.

    Attributes
    ----------
    topic_id
        Identity of the topic.
    start, end
        First offset, and the offset after the last committed record.
    """

    topic_id: str
    start: int
    end: int


class PositionFault(Struct, frozen=True):
    """Reason why a task cannot go on at its position in an input.

    Attributes
    ----------
    topic, partition
        The input; the name is the one on the broker.
    position
        Next offset of the task.
    fault
        "deleted" if the log begins after the position, "made_anew" if the topic has another id,
        "truncated" if the log ends before the position, "missing" if there is no such topic,
        "unserved" if the broker gives no record from the position on.
    what
        What was needed and what is there.
    remedy
        What to do.
    """

    topic: str
    partition: int
    position: int
    fault: Fault
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


class Resume(Struct, frozen=True):
    """Where tasks go on whose position cannot be used; a position that can be used stays.

    Attributes
    ----------
    earliest
        Go on at the beginning of logs whose next records were deleted, and of topics that were
        made anew.
    offsets
        Go on at this offset, by topic, as named on the broker, and partition.
    """

    earliest: bool = False
    offsets: Mapping[tuple[str, int], int] = {}

    def offset(self, fault: PositionFault, log: InputLog | None) -> int | None:
        """Where to go on after a fault; None if the operator has not said.

        Raises
        ------
        ValueError
            If the log does not hold the offset that the operator named.
        """
        if log is None:
            return None
        named = self.offsets.get((fault.topic, fault.partition))
        if named is not None:
            if not log.start <= named <= log.end:
                raise ValueError(
                    f"--resume {fault.topic}:{fault.partition}:{named}: the log holds the offsets "
                    f"{log.start} to {log.end}; name one of them"
                )
            return named
        return log.start if self.earliest and fault.fault != "truncated" else None


NO_RESUME: Final = Resume()


class InvalidResume(Exception):
    """A value of --resume cannot be used; the message says what is expected."""


def parse_resume(values: Iterable[str], connection: Connection) -> Resume:
    """The values of --resume: `earliest`, or `TOPIC:PARTITION:OFFSET` for one partition.

    Raises
    ------
    InvalidResume
        If a value is neither, or names a topic that no task reads.
    """
    inputs = [
        connection.name(topic) for kind in kinds_of(connection.config) for topic in INPUTS[kind]
    ]
    earliest, offsets = False, {}
    for value in values:
        if value == "earliest":
            earliest = True
            continue
        topic, partition, offset = [*value.rsplit(":", 2), "", ""][:3]
        if not (partition.isdecimal() and offset.isdecimal()):
            raise InvalidResume(
                f"--resume {value!r}: expected earliest or TOPIC:PARTITION:OFFSET, for example "
                f"{inputs[0]}:0:1500"
            )
        if topic not in inputs:
            raise InvalidResume(
                f"--resume {value!r}: no task reads the topic {topic!r}; the topics are "
                f"{', '.join(inputs)}"
            )
        offsets[topic, int(partition)] = int(offset)
    return Resume(earliest, offsets)


def find_fault(
    topic: str, partition: int, position: int, topic_id: str | None, log: InputLog | None
) -> PositionFault | None:
    """Reason why reading cannot go on at a position; None if it can.

    Parameters
    ----------
    topic
        Name on the broker.
    topic_id
        Id of the topic in which the position counts; None if it is not known.
    log
        The log as it is now; None if there is none.

    Examples
    --------
    >>> find_fault("rows", 3, 100, "A", InputLog("A", 100, 200)) is None
    True
    >>> print(find_fault("rows", 3, 99, "A", InputLog("A", 101, 200)).what)
    rows[3]: records 99 to 100 were deleted before they were read: the log begins at 101
    """

    def fault(kind: Fault, what: str, remedy: str) -> PositionFault:
        return PositionFault(topic, partition, position, kind, what, remedy)

    where = f"{topic}[{partition}]"
    if log is None:
        return fault(
            "missing",
            f"{where}: read up to offset {position}, but the topic does not exist any more",
            "if it was deleted on purpose, create it again (driftline topics create) and start the "
            "workers with --resume earliest (docs/operations.md)",
        )
    if topic_id is not None and topic_id != log.topic_id:
        return fault(
            "made_anew",
            f"{where}: the topic was deleted and created anew: offset {position} is next in topic "
            f"id {topic_id}, but the topic has id {log.topic_id} now and the offsets {log.start} "
            f"to {log.end}",
            f"records of the old topic that were not read are lost; {_GO_ON}",
        )
    if position < log.start:
        return fault(
            "deleted",
            f"{where}: records {position} to {log.start - 1} were deleted before they were read: "
            f"the log begins at {log.start}",
            f"{_GO_ON}, and give the topic a retention that is longer than the longest stop of "
            "the workers",
        )
    if position > log.end:
        return fault(
            "truncated",
            f"{where}: records up to {position} have been applied, but the log ends at {log.end}: "
            "the topic was created anew or has lost records",
            "restore the topic, or start the workers once with --resume "
            f"{topic}:{partition}:OFFSET: records from OFFSET on are read, also those that were "
            "read before",
        )
    return None


_GO_ON: Final = (
    "to go on without them, start the workers with --resume earliest or "
    "--resume TOPIC:PARTITION:OFFSET (docs/operations.md)"
)


def topic_ids(
    admin: AdminClient, names: Sequence[str], timeout_s: float = ANSWER_S
) -> dict[str, tuple[str, int]]:
    """Id and number of partitions of each existing topic, by its name on the broker.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    found = {}
    for name, answer in admin.describe_topics(
        TopicCollection(list(names)), request_timeout=timeout_s
    ).items():
        try:
            described = answer.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise
        found[name] = topic_id_text(described.topic_id), len(described.partitions)
    return found


def input_logs(
    admin: AdminClient, connection: Connection, places: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], InputLog]:
    """The logs of topics, without prefix, and partitions; those that do not exist are left out.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    wanted = sorted(set(places))
    if not wanted:
        return {}
    ids = topic_ids(admin, sorted({connection.name(topic) for topic, _ in wanted}))
    there = [
        TopicPartition(name, partition)
        for topic, partition in wanted
        if (name := connection.name(topic)) in ids and partition < ids[name][1]
    ]
    if not there:
        return {}
    starts, ends = (
        log_offsets(admin, there, spec, timeout_s=ANSWER_S)
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
    )
    return {
        (connection.bare(name), partition): InputLog(ids[name][0], start, ends[name, partition])
        for (name, partition), start in starts.items()
    }
