"""Watch over the topics of a running worker: inputs that are deleted or made anew end it, topics
with another number of partitions make it unready.
"""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaException
from msgspec import Struct

from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.input_logs import find_fault, input_logs, topic_ids
from driftline.agents.kafka.broker.task_kinds import INPUTS, NOTIFY, kinds_of
from driftline.agents.kafka.task.task import Task

# A broker that starts may not know all topics in its first moments.
LOOKS_BEFORE_MISSING = 3


class TopicReport(Struct, frozen=True):
    """Result of one look at the topics.

    Attributes
    ----------
    ended
        Why the worker must end; None if it need not.
    problem
        Why it is not ready; None if there is no reason.
    """

    ended: str | None
    problem: str | None


class InputWatch:
    """Looks at the topics of one program.

    Parameters
    ----------
    connection
        The broker.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._names = [
            connection.name(topic.name)
            for topic in topics.plan(connection.config)
            if topic.setting is not None
        ]
        self._inputs = [
            connection.name(topic)
            for kind in kinds_of(connection.config)
            if kind != NOTIFY  # it goes on by itself
            for topic in INPUTS[kind]
        ]
        self._admin = connection.admin()
        self._ids: dict[str, str] = {}
        self._missing_looks = 0

    def look(self) -> TopicReport:
        """Compare the topics with those of the first look. Blocks.

        Raises
        ------
        BrokerError
            If the broker does not answer.
        """
        try:
            found = topic_ids(self._admin, self._names)
        except KafkaException as error:
            raise self._connection.error(error) from error
        missing = [name for name in self._names if name not in found]
        self._missing_looks = self._missing_looks + 1 if missing else 0
        for name in self._inputs:
            if name not in found:
                continue
            topic_id = found[name][0]
            known = self._ids.setdefault(name, topic_id)
            if known != topic_id:
                return TopicReport(_made_anew(name, known, topic_id), None)
        problems = [
            str(mismatch)
            for mismatch in topics.check_counts(
                self._connection,
                {self._connection.bare(name): count for name, (_, count) in found.items()},
            )
        ]
        if self._missing_looks >= LOOKS_BEFORE_MISSING:
            if gone := [name for name in missing if name in self._ids]:
                return TopicReport(_deleted(gone), None)
            problems += [
                f"topic {name}: is missing on the broker; create it: driftline topics create"
                for name in missing
            ]
        return TopicReport(None, "; ".join(problems) or None)

    def diagnose(self, tasks: Iterable[Task]) -> str | None:
        """Why tasks cannot read on, from their positions and the topics of now; None if the topics
        do not show it. Blocks.
        """
        try:
            report = self.look()
            if report.ended is not None:
                return report.ended
            read = [task for task in tasks if task.positions]
            logs = input_logs(
                self._admin,
                self._connection,
                [(topic, task.partition) for task in read for topic in task.positions],
            )
        except Exception:
            return None
        faults = [
            str(fault)
            for task in read
            for topic, position in task.positions.items()
            if (
                fault := find_fault(
                    self._connection.name(topic),
                    task.partition,
                    position,
                    task.topic_ids.get(topic),
                    logs.get((topic, task.partition)),
                )
            )
        ]
        return ". ".join(faults) or report.problem


def _made_anew(name: str, known: str, topic_id: str) -> str:
    return (
        f"topic {name} was deleted and created anew while the worker ran: its id was {known} "
        f"and is {topic_id} now; records of the old topic that were not read are lost; to go on "
        "with the new topic, start the workers with --resume earliest (docs/operations.md)"
    )


def _deleted(names: list[str]) -> str:
    return (
        f"topic {', '.join(names)} was deleted while the worker ran; create it again (driftline "
        "topics create), then start the workers with --resume earliest (docs/operations.md)"
    )
