"""Routes between Faust and the tasks of one kind: assignments and deliveries to the tasks, their
positions back.

Checks that the inputs of each task are assigned together, and drops deliveries that no task wants.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from faust.types import TP

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.task.tasks import Tasks
from driftline.schemas.errors import DriftlineError
from driftline.schemas.topics import SIDE_INPUTS

DeliveryObserver = Callable[[ReceivedRecords], None]


class UnevenAssignment(DriftlineError):
    """The inputs of a task were assigned to different workers."""


class TaskRouter:
    """Routes deliveries to the tasks of one kind.

    Parameters
    ----------
    inputs
        Input topics of a task, without prefix; a task has the same partition of each.
    connection
        Knows the topics' names on the broker.
    observe
        Called with every delivery before its task gets it.

    Attributes
    ----------
    tasks
        The tasks; must be set before the first assignment.
    assigned
        Partitions of the present assignment.
    """

    tasks: Tasks

    def __init__(
        self,
        inputs: Iterable[str],
        connection: Connection,
        observe: DeliveryObserver | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.assigned: frozenset[int] = frozenset()
        self._connection = connection
        self._observe = observe
        # Offset at which delivery resumes, by topic and partition of a reopened task. Deliveries
        # that were fetched before the seek are dropped until the one from that offset.
        self._resume_at: dict[tuple[str, int], int] = {}

    async def assign(self, assigned: Iterable[TP]) -> None:
        """Restore the tasks of an assignment and close all others. Returns when all are restored.

        Raises
        ------
        UnevenAssignment
            If the assignment has a partition of one input without that of another.
        """
        by_topic: dict[str, set[int]] = {topic: set() for topic in self.inputs}
        for tp in assigned:
            by_topic[self._connection.bare(tp.topic)].add(tp.partition)
        partitions = by_topic[self.inputs[0]]
        if any(other != partitions for other in by_topic.values()):
            uneven = ", ".join(f"{topic} {sorted(numbers)}" for topic, numbers in by_topic.items())
            raise UnevenAssignment(
                f"the inputs of a task were assigned to different workers; this worker has {uneven}"
            )
        self.assigned = frozenset(partitions)
        await self.tasks.assign(partitions)

    def narrow(self, assigned: Iterable[TP]) -> None:
        """Start no more work for partitions outside `assigned`, an assignment that `assign` will
        carry out later.
        """
        self.tasks.narrow({tp.partition for tp in assigned})

    async def run(self, stream: Any) -> None:
        """The agent: pass each delivery to its task, and wait while that task has no room."""
        async for received in stream:
            task = self.tasks.get(received.partition)
            if task is None or self._is_stale(received):
                # Fetched for a former owner of the task; the present one reads it from its own
                # position.
                continue
            if self._observe is not None:
                self._observe(received)
            task.take(received)
            await task.room()

    def start_positions(self, assigned: Iterable[TP]) -> dict[TP, int | None]:
        """See `TaskPositions.start_positions`."""
        self._resume_at.clear()
        positions: dict[TP, int | None] = {}
        for tp in assigned:
            task = self.tasks.get(tp.partition)
            if task is not None:
                positions[tp] = task.positions.get(self._connection.bare(tp.topic))
        return positions

    def held_back(self, unread: Collection[TP], now_ms: int) -> set[TP]:
        """See `TaskPositions.held_back`; also tells each processor which inputs are unread."""
        name, held = self._connection.name, set()
        for task in self.tasks.tasks():
            task.processor.note_unread(
                frozenset(
                    topic for topic in self.inputs if TP(name(topic), task.partition) in unread
                ),
                now_ms=now_ms,
            )
            if (pair := task.processor.waits()) is not None:
                waiting, behind = pair
                if TP(name(behind), task.partition) in unread:
                    held.add(TP(name(waiting), task.partition))
        return held

    def drop_until(self, offsets: Mapping[TP, int]) -> None:
        """Drop deliveries of a reopened task's inputs until those that start at these offsets."""
        bare = self._connection.bare
        self._resume_at.update(
            {(bare(tp.topic), tp.partition): offset for tp, offset in offsets.items()}
        )

    def committed_offsets(self) -> dict[TP, int]:
        """See `TaskPositions.committed_offsets`."""
        name = self._connection.name
        return {
            TP(name(topic), partition): offset
            for partition, offsets in self.tasks.offsets().items()
            for topic, offset in offsets.items()
        }

    def is_delivered_first(self, tp: TP) -> bool:
        """Commands and reports go first: they are few, and the other input may complete windows
        that commands must take effect in.
        """
        return self._connection.bare(tp.topic) in SIDE_INPUTS

    async def finish(self) -> None:
        """See `TaskPositions.finish`."""
        self.tasks.hold()
        await self.tasks.finish()

    def _is_stale(self, received: ReceivedRecords) -> bool:
        partition = received.topic, received.partition
        offset = self._resume_at.get(partition)
        if offset is None:
            return False
        if received.start != offset:
            return True
        del self._resume_at[partition]
        return False
