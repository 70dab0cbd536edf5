"""Between Faust and the tasks of one kind: assignments to them, records to them, their positions
back.

Takes care that what Faust assigns belongs together, and that a failure in a task ends the process
instead of a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from faust.types import TP

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.received import Received
from driftline.agents.kafka.task.tasks import Tasks
from driftline.schemas.topics import REGISTRY_COMMANDS

Watch = Callable[[Received], None]


class Uneven(RuntimeError):
    """The topics of a task were assigned to different workers."""


class Feed:
    """Feeds the tasks of one kind.

    Parameters
    ----------
    inputs
        Input topics of a task, without prefix; it has the same partition of each.
    connection
        Knows what topics are called on the broker.
    watch
        Sees every delivery before its task does.

    Attributes
    ----------
    tasks
        The tasks; to be set before anything is assigned.
    assigned
        Partitions of the present assignment.
    """

    tasks: Tasks

    def __init__(
        self, inputs: Iterable[str], connection: Connection, watch: Watch | None = None
    ) -> None:
        self.inputs = tuple(inputs)
        self.assigned: frozenset[int] = frozenset()
        self._connection = connection
        self._watch = watch
        # Inputs of a task that was opened anew: what was fetched before is dropped until the fetch
        # from its position comes.
        self._sought: dict[tuple[str, int], int] = {}

    async def assign(self, assigned: Iterable[TP]) -> None:
        """Restore the tasks of an assignment, and let the others go. Returns when all are restored.

        Raises
        ------
        Uneven
            If the assignment has a partition of one input without that of another.
        """
        by_topic: dict[str, set[int]] = {topic: set() for topic in self.inputs}
        for tp in assigned:
            by_topic[self._connection.bare(tp.topic)].add(tp.partition)
        partitions = by_topic[self.inputs[0]]
        if any(other != partitions for other in by_topic.values()):
            uneven = ", ".join(f"{topic} {sorted(found)}" for topic, found in by_topic.items())
            raise Uneven(f"the inputs of a task were assigned apart: {uneven}")
        self.assigned = frozenset(partitions)
        await self.tasks.assign(partitions)

    def narrow(self, assigned: Iterable[TP]) -> None:
        """Begin nothing any more that an assignment, for which `assign` will be called later, does
        not have.
        """
        self.tasks.narrow({tp.partition for tp in assigned})

    async def run(self, stream: Any) -> None:
        """The agent: hand over what comes, and wait where a task has no room."""
        async for received in stream:
            task = self.tasks.get(received.partition)
            if task is None or self._stale(received):
                # Fetched for an owner of the task that is no more; whoever has it reads on from
                # what was committed.
                continue
            if self._watch is not None:
                self._watch(received)
            task.take(received)
            await task.room()

    def wanted(self, assigned: Iterable[TP]) -> dict[TP, int | None]:
        """Where the tasks read on."""
        self._sought.clear()
        found: dict[TP, int | None] = {}
        for tp in assigned:
            task = self.tasks.get(tp.partition)
            if task is not None:
                found[tp] = task.positions.get(self._connection.bare(tp.topic))
        return found

    def held_back(self, unread: Collection[TP]) -> set[TP]:
        """Inputs that wait for another one of their task, which is among `unread` and behind; tells
        the tasks what is unread.
        """
        name, held = self._connection.name, set()
        for task in self.tasks.tasks():
            task.processor.unread = frozenset(
                topic for topic in self.inputs if TP(name(topic), task.partition) in unread
            )
            if (pair := task.processor.waits()) is not None and TP(
                name(pair[1]), task.partition
            ) in unread:
                held.add(TP(name(pair[0]), task.partition))
        return held

    def sought(self, positions: Mapping[TP, int]) -> None:
        """Drop what was fetched before the inputs of a task were sought anew."""
        self._sought.update(
            {
                (self._connection.bare(tp.topic), tp.partition): position
                for tp, position in positions.items()
            }
        )

    def published(self) -> dict[TP, int]:
        """What the tasks have committed."""
        name = self._connection.name
        return {
            TP(name(topic), partition): next
            for partition, offsets in self.tasks.offsets().items()
            for topic, next in offsets.items()
        }

    def comes_first(self, tp: TP) -> bool:
        """Registry commands are few, and may count before what the other input makes complete."""
        return self._connection.bare(tp.topic) == REGISTRY_COMMANDS

    async def finish(self) -> None:
        """Commit what has been taken, and nothing more until the next assignment."""
        self.tasks.hold()
        await self.tasks.finish()

    def _stale(self, received: Received) -> bool:
        if not self._sought:
            return False
        place = received.topic, received.partition
        stale = received.start != self._sought.get(place, received.start)
        if not stale:
            self._sought.pop(place, None)
        return stale
