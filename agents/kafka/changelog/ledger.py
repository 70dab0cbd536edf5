"""Bookkeeping of a task about its journal: what the next commit writes, and what a restore of it
needs.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from driftline.agents.kafka.changelog.cache import Checkpoint
from driftline.agents.kafka.changelog.journal import FORMAT, Closing
from driftline.agents.kafka.changelog.journal_compaction import LEAST_SLICE_BYTES, Sweep, is_due
from driftline.agents.state.task_state import Cut, TaskState


class PendingCommit(Struct):
    """A commit that is not written yet.

    Attributes
    ----------
    changes
        Encoded changes by stage, for the journal.
    cuts
        The same changes for the local copy.
    closing
        The commit's last journal record.
    checkpoint
        Checkpoint of the local copy after the commit; `next` is not known yet.
    """

    changes: dict[str, bytes]
    cuts: list[Cut]
    closing: Closing
    checkpoint: Checkpoint

    @property
    def size(self) -> int:
        """Size of the changes in bytes."""
        return sum(map(len, self.changes.values()))


class Ledger:
    """Bookkeeping of one task. All calls come from the thread that changes the state.

    Parameters
    ----------
    states
        The state of each stage by name.
    checkpoint
        Checkpoint at which the restore ended.
    journal_from
        First offset of the journal.
    """

    def __init__(
        self,
        states: Mapping[str, TaskState],
        checkpoint: Checkpoint,
        journal_from: int,
    ) -> None:
        self._states = states
        self._checkpoint = checkpoint
        # If records at the beginning were deleted from outside, a sweep writes the state again.
        self._must_sweep = checkpoint.restorable_from < journal_from
        self._sweep: Sweep | None = None
        self._repeated_bytes = 0
        self._slice_bytes = LEAST_SLICE_BYTES

    @property
    def changed(self) -> bool:
        """Whether the state has changes that no commit holds."""
        return any(state.overlay.changed for state in self._states.values())

    def cut(self, positions: Mapping[str, int]) -> PendingCommit:
        """Cut off the changes since the last commit; returns the next commit."""
        checkpoint = self._checkpoint
        restorable_from, log_bytes, live_bytes = (
            checkpoint.restorable_from,
            checkpoint.log_bytes,
            checkpoint.live_bytes,
        )
        if (swept := self._continue_sweep()) is not None:
            restorable_from, log_bytes, live_bytes = (
                swept.start,
                log_bytes - swept.before_bytes,
                swept.live_bytes,
            )
        cuts = {
            stage: state.cut(journal=True)
            for stage, state in self._states.items()
            if state.overlay.changed
        }
        changes = {stage: cut.changes or b"" for stage, cut in cuts.items()}
        own_bytes = sum(map(len, changes.values()))
        # A slice is as large as the commit's own changes. Counting the repeated bytes too would
        # make each commit of a sweep larger than the one before.
        self._slice_bytes = max(LEAST_SLICE_BYTES, own_bytes - self._repeated_bytes)
        self._checkpoint = msgspec.structs.replace(
            checkpoint,
            number=checkpoint.number + 1,
            positions=dict(positions),
            restorable_from=restorable_from,
            log_bytes=log_bytes + own_bytes,
            live_bytes=live_bytes,
            extents={stage: state.extent for stage, state in self._states.items()},
        )
        closing = Closing(
            format=FORMAT,
            state_format=self._checkpoint.state_format,
            number=self._checkpoint.number,
            pieces=0,
            positions=self._checkpoint.positions,
            restorable_from=restorable_from,
            log_bytes=self._checkpoint.log_bytes,
            live_bytes=live_bytes,
            changes=b"",
            topic_ids=self._checkpoint.topic_ids,
        )
        return PendingCommit(changes, list(cuts.values()), closing, self._checkpoint)

    def settle(self, commit: PendingCommit, next_offset: int) -> None:
        """Account for a commit that succeeded, and for the journal offset after it."""
        for cut in commit.cuts:
            cut.task.settle(cut)
        self._checkpoint = msgspec.structs.replace(self._checkpoint, next=next_offset)

    @property
    def memory_bytes(self) -> int:
        """Estimated memory of the state in bytes."""
        return sum(
            state.overlay.grown_bytes + state.overlay.cache_bytes for state in self._states.values()
        )

    def _continue_sweep(self) -> Sweep | None:
        """Continue journal compaction; returns the sweep if this commit completes it."""
        checkpoint = self._checkpoint
        self._repeated_bytes = 0
        if self._sweep is None:
            freezing = any(state.overlay.freezing for state in self._states.values())
            if freezing or not (
                self._must_sweep or is_due(checkpoint.log_bytes, checkpoint.live_bytes)
            ):
                return None
            self._sweep, self._must_sweep = (
                Sweep(self._states, checkpoint.next, checkpoint.log_bytes),
                False,
            )
        sweep = self._sweep
        self._repeated_bytes = sweep.repeat(self._slice_bytes)
        if not sweep.done:
            return None
        self._sweep = None
        return sweep
