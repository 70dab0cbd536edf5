"""Positions of the notifier in all partitions of its inputs.

Records that were deleted before they were read are passed over by themselves: alerts are told or
not, but the worker goes on, and the next record of an alert says what holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

from msgspec.structs import replace

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.failures import MustStop
from driftline.agents.kafka.broker.input_logs import Resume, input_logs
from driftline.agents.kafka.broker.task_kinds import INPUTS, NOTIFY
from driftline.agents.kafka.notify.changelog import FORMAT, Positions
from driftline.agents.kafka.task.input_positions import Loss, check_positions
from driftline.schemas.kafka_settings import KafkaSettings

Place = tuple[str, int]


def places_of(settings: KafkaSettings) -> list[Place]:
    """All partitions of the inputs."""
    return [(topic, at) for topic in INPUTS[NOTIFY] for at in range(settings.partitions)]


class InputOffsets:
    """Positions in all partitions.

    Parameters
    ----------
    offsets
        Next offset of each partition.
    topic_ids
        Id of each topic.
    losses
        What is passed over.

    Attributes
    ----------
    next
        Next offset of each partition.
    ends
        Partitions that are read to their ends.
    """

    def __init__(
        self, offsets: Mapping[Place, int], topic_ids: Mapping[str, str], losses: list[Loss]
    ) -> None:
        self.next = dict(offsets)
        self.ends: dict[Place, None] = {}
        self.losses = losses
        self._topic_ids = dict(topic_ids)
        self._committed: dict[Place, int] = {}

    @classmethod
    def checked(
        cls,
        connection: Connection,
        known: Positions | None,
        resume: Resume,
        is_abandoned: Callable[[], bool],
    ) -> Self:
        """The committed positions after a look at the logs; the beginning of each log where there
        are none.

        Raises
        ------
        MustStop
            If a log ends before its position, and `resume` names no other one, or it is missing.
        Abandoned
            If the broker is away and `is_abandoned` returns True.
        KafkaException
            If the broker does not answer.
        """
        admin, places = connection.admin(), places_of(connection.settings)
        logs = input_logs(admin, connection, places)
        for topic, partition in places:
            if (topic, partition) not in logs:
                raise MustStop(
                    failures.CONFIGURATION,
                    f"topic {connection.name(topic)} has no partition {partition}; create it: "
                    "driftline topics create",
                )
        offsets = {place: log.start for place, log in logs.items()}
        topic_ids = {topic: log.topic_id for (topic, _), log in logs.items()}
        losses: list[Loss] = []
        for partition in range(connection.settings.partitions):
            if known is None:
                break
            found = check_positions(
                connection,
                admin,
                replace(resume, earliest=True),
                NOTIFY,
                partition,
                {
                    topic: of_topic[partition]
                    for topic, of_topic in known.offsets.items()
                    if partition in of_topic
                },
                known.topic_ids,
                is_abandoned,
            )
            losses += found.losses
            offsets |= {(topic, partition): at for topic, at in found.positions.items()}
        return cls(offsets, topic_ids, losses)

    @property
    def is_read(self) -> bool:
        """Whether all partitions have been read to their ends, at least once."""
        return len(self.ends) == len(self.next)

    def named(self, connection: Connection) -> dict[str, int]:
        """The positions by the names of the logs on the broker."""
        return {
            f"{connection.name(topic)}[{partition}]": offset
            for (topic, partition), offset in self.next.items()
        }

    def moved(self) -> Positions | None:
        """The positions, if they have moved since the last commit."""
        if self.next == self._committed:
            return None
        offsets: dict[str, dict[int, int]] = {}
        for (topic, partition), offset in sorted(self.next.items()):
            offsets.setdefault(topic, {})[partition] = offset
        return Positions(format=FORMAT, offsets=offsets, topic_ids=self._topic_ids)

    def note_committed(self) -> None:
        """Note that the positions are committed."""
        self._committed = dict(self.next)
