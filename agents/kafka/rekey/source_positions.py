"""Positions of the re-keying step in the partitions of the sources, kept in journals.

A journal has a partition for each partition of the sources, with records as those of a task that
has no state: so whatever looks at the positions of tasks, and `--resume`, knows these too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Self

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.failures import MustStop
from driftline.agents.kafka.broker.input_logs import Resume, input_logs
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.task_kinds import INPUTS, REKEY
from driftline.agents.kafka.broker.topics import changelog
from driftline.agents.kafka.changelog.journal import FORMAT, Closing, records_of
from driftline.agents.kafka.rekey.event_order import Place
from driftline.agents.kafka.task.input_positions import InputPositions, Loss, check_positions
from driftline.agents.kafka.tools.journal_positions import last_commits
from driftline.schemas.kafka_settings import KafkaSettings

STATE_FORMAT: Final = "rekey"
# One key, so that compaction keeps the last record.
_KEY: Final = b"0/commit"


def places_of(settings: KafkaSettings) -> list[Place]:
    """All partitions of the sources, predictions first."""
    partitions = range(settings.input_partitions)
    return [(topic, partition) for topic in INPUTS[REKEY] for partition in partitions]


class SourcePositions:
    """Positions in all partitions.

    Parameters
    ----------
    connection
        The broker.
    commits
        The last record of each journal, by partition.
    checked
        The positions of each partition, after a look at the logs.
    starts
        First offset of each log.

    Attributes
    ----------
    next
        Next offset of each partition.
    losses
        What is passed over.
    """

    def __init__(
        self,
        connection: Connection,
        commits: Mapping[int, Closing],
        checked: Mapping[int, InputPositions],
        starts: Mapping[Place, int],
    ) -> None:
        self._connection = connection
        self._topic_ids = {partition: known.topic_ids for partition, known in checked.items()}
        self._numbers = {partition: commit.number for partition, commit in commits.items()}
        self._committed: dict[Place, int] = {
            (topic, partition): position
            for partition, commit in commits.items()
            for topic, position in commit.positions.items()
        }
        self.losses: list[Loss] = [loss for known in checked.values() for loss in known.losses]
        self.next: dict[Place, int] = {
            place: checked[place[1]].positions.get(place[0], starts[place]) for place in starts
        }

    @classmethod
    def restored(
        cls, connection: Connection, resume: Resume, is_abandoned: Callable[[], bool]
    ) -> Self:
        """The positions according to the journals.

        Raises
        ------
        MustStop
            If a partition cannot be read on, and `resume` names no way.
        Abandoned
            If the broker is away and `is_abandoned` returns True.
        BrokerError, KafkaException
            If the broker does not answer.
        """
        admin, commits = connection.admin(), last_commits(connection, REKEY)
        places = places_of(connection.settings)
        checked = {
            partition: check_positions(
                connection,
                admin,
                resume,
                REKEY,
                partition,
                commits[partition].positions if partition in commits else {},
                commits[partition].topic_ids if partition in commits else {},
                is_abandoned,
            )
            for partition in range(connection.settings.input_partitions)
        }
        logs = input_logs(admin, connection, places)
        missing = [place for place in places if place not in logs]
        if missing:
            topic, partition = missing[0]
            raise MustStop(
                failures.CONFIGURATION,
                f"topic {connection.name(topic)} has no partition {partition}; create it: "
                "driftline topics create",
            )
        return cls(connection, commits, checked, {place: logs[place].start for place in places})

    def named(self) -> dict[str, int]:
        """The positions by the names of the logs on the broker."""
        name = self._connection.name
        return {f"{name(topic)}[{at}]": offset for (topic, at), offset in self.next.items()}

    def journal_records(self) -> list[Outgoing]:
        """A record for each partition whose positions have moved since the last commit."""
        moved = sorted(
            {
                place[1]
                for place, offset in self.next.items()
                if self._committed.get(place) != offset
            }
        )
        journal = changelog(self._connection.settings, REKEY)
        return [Outgoing(journal, partition, _KEY, self._record(partition)) for partition in moved]

    def note_committed(self) -> None:
        """Note that the records of `journal_records` are committed."""
        self._committed = dict(self.next)

    def _record(self, partition: int) -> bytes:
        self._numbers[partition] = self._numbers.get(partition, 0) + 1
        end = Closing(
            format=FORMAT,
            state_format=STATE_FORMAT,
            number=self._numbers[partition],
            pieces=0,
            positions={topic: self.next[topic, partition] for topic in INPUTS[REKEY]},
            restorable_from=0,
            log_bytes=0,
            live_bytes=0,
            changes=b"",
            topic_ids=self._topic_ids[partition],
        )
        ((_, value),) = records_of(end, {})
        return value
