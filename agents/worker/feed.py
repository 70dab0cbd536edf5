"""Between Faust and the tasks of one kind: assignments to them, records to them, their positions back.

Takes care that what Faust assigns belongs together, and that a failure in a task ends the process instead of a stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from faust.types import TP

from agents.kafka.connection import Connection
from agents.kafka.received import Received

log = logging.getLogger(__name__)


class Task(Protocol):
    """What is asked of a task."""

    room: asyncio.Event
    positions: Mapping[str, int]

    def take(self, received: Received, /) -> None: ...


class Tasks(Protocol):
    """What is asked of the tasks of one kind on this worker."""

    async def assign(self, partitions: set[int], /) -> None: ...

    def get(self, partition: int, /) -> Task | None: ...

    async def finish(self) -> None: ...

    def offsets(self) -> Mapping[int, Mapping[str, int]]: ...


class Uneven(RuntimeError):
    """The topics of a task were assigned to different workers."""


class Feed:
    """Feeds the tasks of one kind.

    Parameters
    ----------
    tasks
        The tasks.
    inputs
        Their input topics, without prefix; a task has the same partition of each.
    connection
        Knows what topics are called on the broker.

    Attributes
    ----------
    restored
        Whether all tasks of the current assignment are restored.
    """

    def __init__(self, tasks: Tasks, inputs: Iterable[str], connection: Connection) -> None:
        self.tasks = tasks
        self.inputs = tuple(inputs)
        self.assigned: frozenset[int] = frozenset()
        self.restored = False
        self._connection = connection

    async def assign(self, assigned: Iterable[TP]) -> None:
        """Restore the tasks of an assignment, and let the others go. Returns when all are restored.

        Raises
        ------
        Uneven
            If the assignment has a partition of one input without that of another.
        """
        self.restored = False
        by_topic: dict[str, set[int]] = {topic: set() for topic in self.inputs}
        for tp in assigned:
            by_topic[self._connection.bare(tp.topic)].add(tp.partition)
        partitions = by_topic[self.inputs[0]]
        if any(other != partitions for other in by_topic.values()):
            raise Uneven(f"the assignment is not co-partitioned: { ({topic: sorted(found) for topic, found in by_topic.items()}) }")
        self.assigned = frozenset(partitions)
        await self.tasks.assign(partitions)
        self.restored = True

    async def run(self, stream: Any) -> None:
        """The agent: hand over what comes, and wait where a task has no room."""
        async for received in stream:
            task = self.tasks.get(received.partition)
            if task is None:
                # Taken away in the meantime; its next owner reads on from what was committed.
                continue
            task.take(received)
            if not task.room.is_set():
                await task.room.wait()

    def wanted(self, assigned: Iterable[TP]) -> dict[TP, int | None]:
        """Where the tasks read on."""
        found: dict[TP, int | None] = {}
        for tp in assigned:
            task = self.tasks.get(tp.partition)
            if task is not None:
                found[tp] = task.positions.get(self._connection.bare(tp.topic))
        return found

    def published(self) -> dict[TP, int]:
        """What the tasks have committed."""
        name = self._connection.name
        return {TP(name(topic), partition): next for partition, offsets in self.tasks.offsets().items() for topic, next in offsets.items()}

    async def finish(self) -> None:
        """Commit what has been taken."""
        await self.tasks.finish()
