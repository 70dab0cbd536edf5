"""The seam between a task and what it computes.

A task (`task.py`) brings records, durable state and transactions; a processor turns records into
changes of the state and into outgoing records. It keeps between calls only what it has taken and
what it can rebuild from the state: after a failure the task and its processor are dropped and made
anew from what is committed. All calls come from one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.received import Received
from driftline.streams.stage import State


class Processor(Protocol):
    """What one task computes.

    Attributes
    ----------
    inputs
        Topics without prefix; the task has the same partition number of each.
    unread
        Set by the driver before each delivery: inputs of which there is something that has not been
        fetched, or of which that is not known.
    caught_up
        Set by the driver: everything that the broker last told of has been taken, from all inputs.
    """

    inputs: tuple[str, ...]
    unread: frozenset[str]
    caught_up: bool

    def take(self, received: Received, /) -> int:
        """Buffer records of one input, decoded where that is possible, so that the work spreads;
        gives how many are buffered now.

        The task has cut off what had been applied already.
        """

    def process(self, positions: Mapping[str, int], /) -> list[Outgoing]:
        """Apply everything that was taken to the state, and give the records that follow from it,
        in order.

        Called once per commit, also with nothing taken while `pending` says so. `positions` are the
        positions of all inputs after it, by topic: they are committed together with the state and
        the records.
        """

    def waits(self) -> tuple[str, str] | None:
        """The input that has run ahead in event time and should wait, and the one that it should
        wait for as long as that is unread.
        """

    def defers(self) -> bool:
        """Whether what was taken should wait for more before it is processed, unless there is no
        room: another input is behind.
        """

    def pending(self) -> bool:
        """Tell whether there is something to process though nothing was received: time has moved
        on.
        """


# Makes the processor of a partition: (partition, the state of a stage by its name, positions
# committed so far by topic without prefix). Called after the restore; the positions hold only
# topics of which something was applied.
ProcessorFactory = Callable[[int, Callable[[str], State], Mapping[str, int]], Processor]
