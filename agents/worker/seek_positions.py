"""Where the delivery of each partition starts, checked against the ends of its log."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from faust.types import TP

from driftline.agents.kafka.broker.input_logs import InputLog, find_fault
from driftline.schemas.errors import DriftlineError


class TaskPositions(Protocol):
    """What the transport asks of the tasks. Topics carry their names on the broker."""

    def start_positions(self, assigned: Iterable[TP]) -> Mapping[TP, int | None]:
        """Next offset to deliver of each assigned partition that has a task; None for the beginning
        of the log.
        """

    def held_back(self, unread: Collection[TP], now_ms: int) -> set[TP]:
        """Partitions that must wait because another input of their task is behind in event time and
        among `unread`; `now_ms` is the wall-clock time, in milliseconds since the epoch.
        """

    def committed_offsets(self) -> Mapping[TP, int]:
        """Next offset after the last commit of each task, for lag tools."""

    def is_delivered_first(self, tp: TP) -> bool:
        """Whether records of this partition are delivered before those of others."""

    def narrow(self, assigned: Iterable[TP]) -> None:
        """Announce an assignment before it is carried out, while the one before may still be at
        work on partitions that now belong to other workers.
        """

    async def finish(self) -> None:
        """Commit what the tasks have taken, and hold them until the next assignment."""


class LogEnd(NamedTuple):
    """What the last fetch reported about the end of a log.

    Attributes
    ----------
    offset
        Offset after the last committed record.
    at_ms
        Wall-clock time of that fetch, in milliseconds since the epoch.
    position
        Where the next fetch starts.
    delivered
        Where the next delivery starts: `position`, or less where only markers followed.
    """

    offset: int
    at_ms: int
    position: int
    delivered: int


class LostPosition(DriftlineError):
    """The log does not hold the next record of a task."""


def start_in_log(tp: TP, position: int | None, first: int, end: int) -> int:
    """Offset to read from: the position of the task, or the beginning of the log if it has none.

    Raises
    ------
    LostPosition
        If the log does not hold that offset: starting elsewhere would skip records or apply some
        twice.
    """
    if position is None:
        return first
    fault = find_fault(tp.topic, tp.partition, position, None, InputLog("", first, end))
    if fault is not None:
        raise LostPosition(str(fault))
    return position
