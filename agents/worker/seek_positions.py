"""Where deliveries go on, where logs end, and what to do if they do not fit each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from faust.types import TP


class Positions(Protocol):
    """What the transport asks of the tasks. Topics are named as they are on the broker."""

    def wanted(self, assigned: Iterable[TP]) -> Mapping[TP, int | None]:
        """Where to read on, for each assigned partition that has a task;

        None for the beginning of the log.
        """

    def held_back(self, unread: Collection[TP]) -> set[TP]:
        """Inputs that nothing is to be delivered of while others, of which there is something
        unread, are behind them.
        """

    def published(self) -> Mapping[TP, int]:
        """What is committed, for lag tools."""

    def comes_first(self, tp: TP) -> bool:
        """Whether what a fetch brought of a partition is delivered before all that it brought of
        others.
        """

    def narrow(self, assigned: Iterable[TP]) -> None:
        """Hear of an assignment before it is carried out: the one before may still be at work on
        what has been given to others.
        """

    async def finish(self) -> None:
        """Commit whatever has been taken, and nothing more until the next assignment."""


class End(NamedTuple):
    """What is known of the end of a log.

    Attributes
    ----------
    offset
        Behind the last committed record.
    at_ms
        When a fetch said so, by the clock.
    position
        Where the next fetch begins.
    delivered
        Where the next delivery begins: `position`, or less where only markers came.
    """

    offset: int
    at_ms: int
    position: int
    delivered: int


class LostPosition(RuntimeError):
    """The log does not hold what a task has to read next."""


def place_in_log(tp: TP, position: int | None, first: int, end: int) -> int:
    """Where to read on: at the position of the task, or at the beginning of the log if it has none.

    Raises
    ------
    LostPosition
        If the log does not have it: reading on elsewhere would leave records out, or apply others
        twice.
    """
    if position is None:
        return first
    if position < first:
        raise LostPosition(
            f"{tp.topic}-{tp.partition}: records {position} to {first - 1} were deleted before they were read: the log starts at {first}. "
            "Give the topic a longer retention than the longest stop of the workers."
        )
    if position > end:
        raise LostPosition(
            f"{tp.topic}-{tp.partition}: records up to {position} have been applied, but the log ends at {end}: the topic was made anew "
            "or has lost records. Bring it back, or start a new application (another kafka.app)."
        )
    return position
