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
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.streams.stage import State


class Processor(Protocol):
    """What one task computes.

    Attributes
    ----------
    inputs
        Topics without prefix; the task has the same partition number of each.
    """

    inputs: tuple[str, ...]

    def note_unread(self, unread: frozenset[str], /, *, now_ms: int) -> None:
        """Take note of the inputs that hold records which the driver has not fetched, or of which
        it does not know.

        The driver calls it before each delivery. `now_ms` is the clock, in ms since the epoch.
        """

    def note_caught_up(self, caught_up: bool, /, *, now_ms: int) -> None:
        """Take note whether all records of all inputs have been taken, as far as the driver's last
        fetches show.

        False until the first call. `now_ms` is the clock, in ms since the epoch.
        """

    def take(self, received: ReceivedRecords, /) -> int:
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
