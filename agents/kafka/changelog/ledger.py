"""The account that a task keeps of its journal: what the next commit writes there, and what a
restore of it will need.
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
    """What one commit writes.

    Attributes
    ----------
    changes
        Record of the changes by stage, for the journal.
    cuts
        The same for the local copy.
    closing
        The commit's last journal record.
    checkpoint
        What the local copy will stand for; `next` is not known yet.
    """

    changes: dict[str, bytes]
    cuts: list[Cut]
    closing: Closing
    checkpoint: Checkpoint

    @property
    def size(self) -> int:
        """Bytes of the changes."""
        return sum(map(len, self.changes.values()))


class Ledger:
    """The account of one task; all calls on the thread that changes the state.

    Parameters
    ----------
    states
        The state of each stage by name.
    checkpoint
        Where a restore ended.
    journal_from
        First offset of the journal.
    shape
        Settings that the state is laid out by.
    """

    def __init__(
        self,
        states: Mapping[str, TaskState],
        checkpoint: Checkpoint,
        journal_from: int,
        shape: str = "",
    ) -> None:
        self._states = states
        self._checkpoint = msgspec.structs.replace(checkpoint, shape=shape)
        # A beginning that somebody else deleted is made good by writing everything anew.
        self._must_sweep = checkpoint.restorable_from < journal_from
        self._sweep: Sweep | None = None
        self._repeated_bytes = 0
        self._slice_bytes = LEAST_SLICE_BYTES

    @property
    def changed(self) -> bool:
        """True if the state has changes that no entry has."""
        return any(state.overlay.changed for state in self._states.values())

    def entry(self, positions: Mapping[str, int]) -> PendingCommit:
        """Cut off what changed since the last entry."""
        checkpoint = self._checkpoint
        restorable_from, log_bytes, live_bytes = (
            checkpoint.restorable_from,
            checkpoint.log_bytes,
            checkpoint.live_bytes,
        )
        if (swept := self._swept()) is not None:
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
        # As much again as changed by itself; with what was repeated counted in, each commit of a
        # sweep would be larger than the one before.
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
            shape=self._checkpoint.shape,
        )
        return PendingCommit(changes, list(cuts.values()), closing, self._checkpoint)

    def settle(self, entry: PendingCommit, next_offset: int) -> None:
        """Take note that an entry is committed, and of the offset after it."""
        for cut in entry.cuts:
            cut.task.settle(cut)
        self._checkpoint = msgspec.structs.replace(self._checkpoint, next=next_offset)

    @property
    def memory_bytes(self) -> int:
        """Memory that the state takes, about."""
        return sum(
            state.overlay.grown_bytes + state.overlay.cache_bytes for state in self._states.values()
        )

    def _swept(self) -> Sweep | None:
        """Go on with the cleaning of the journal; gives the sweep when this entry ends it."""
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
