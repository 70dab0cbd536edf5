"""Interface between a task and its computation.

A task (`task.py`) provides records, durable state and transactions. A processor turns records into
state changes and outgoing records. Between calls it keeps only buffered records and what it can
rebuild from the state: after a failure, task and processor are dropped and built again from the
last commit. All calls come from one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.task.input_positions import Loss
from driftline.agents.uncounted_rows import BatchTally
from driftline.streams.stage import State
from driftline.streams.work_slices import WorkSlices


class Processor(Protocol):
    """Computation of one task.

    Attributes
    ----------
    inputs
        Topics without prefix; the task has the same partition number of each.
    """

    inputs: tuple[str, ...]

    def note_loss(self, loss: Loss, /) -> None:
        """Note records of an input that were lost before they were read, and that the task passes
        over.

        Called before any record is taken, at every creation until a commit succeeds; what must
        outlive that commit belongs into the state.
        """

    def note_unread(self, unread: frozenset[str], /, *, now_ms: int) -> None:
        """Note the inputs that may hold records which the driver has not fetched.

        The driver calls it before each delivery. `now_ms` is the clock, in ms since the epoch.
        """

    def note_caught_up(self, caught_up: bool, /, *, now_ms: int) -> None:
        """Note whether all records of all inputs have been taken, according to the driver's last
        fetches.

        False until the first call. `now_ms` is the clock, in ms since the epoch.
        """

    def take(self, received: ReceivedRecords, /) -> int:
        """Buffer records of one input; returns how many are buffered now.

        Decode them here where possible, so that the work is spread over time. The task has removed
        records that were applied already.
        """

    def process(self, positions: Mapping[str, int], /) -> list[Outgoing]:
        """Apply the buffered records to the state; returns the outgoing records in order.

        Called once per commit, also without buffered records while `pending` is true. `positions`
        are the positions of all inputs after this commit, by topic; they are committed together
        with the state and the records.
        """

    def tally(self) -> BatchTally:
        """Rows that were read and rows that do not count, since the last call.

        Called after `process`, or after the first slice of `work`; reported when the commit has
        succeeded.
        """

    def waits(self) -> tuple[str, str] | None:
        """The input that is ahead in event time and must wait, and the input that it waits for
        while that one is unread; None if no input must wait.
        """

    def defers(self) -> bool:
        """Whether the buffered records should wait, because another input is behind.

        Ignored when the buffer is full.
        """

    def pending(self) -> bool:
        """Whether there is work without new records, because time has moved on."""


@runtime_checkable
class SlicedProcessor(Processor, Protocol):
    """A processor whose calls of `process` may take long."""

    def work(self, positions: Mapping[str, int], /) -> WorkSlices[list[Outgoing]]:
        """As `process`, in slices, between which `take` and what it needs may be called.

        The buffered records are taken over in the first slice; what comes later stays buffered and
        is counted by `take` alone.
        """


# Makes the processor of a partition from: partition, state of a stage by its name, committed
# positions by topic without prefix. Called after the restore; a topic without any applied record
# has no position.
ProcessorFactory = Callable[[int, Callable[[str], State], Mapping[str, int]], Processor]
