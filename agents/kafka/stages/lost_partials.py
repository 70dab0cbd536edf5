"""Losses of `window-partials`: counts of stage 1 that one task of stages 2 to 4 never gets.

A lost partial may have counts of every pane that was open. They end at the watermarks that stage 1
had reached, which are lost too: each partition's next watermark is at least as great. Until all
partitions have sent one, every window that is announced may lack some.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from driftline.agents.kafka.stages.stored_losses import StoredLosses
from driftline.agents.kafka.task.input_positions import Loss
from driftline.schemas.topics import WINDOW_PARTIALS
from driftline.streams.measure.timing.frontier import Frontier
from driftline.streams.partial import LostSpan, PartialValue, Watermarks
from driftline.streams.stage import State

FORMAT: Final = 2
_KEY: Final = b"lost-partials"


class _OpenLoss(msgspec.Struct, array_like=True, frozen=True):
    """A loss behind which not all partitions of stage 1 have sent watermarks."""

    resumed_at: int
    records: int | None
    from_ms: int
    until_ms: int
    reached: tuple[int, ...]


class LostPartials:
    """The losses of one task.

    Parameters
    ----------
    partition
        Its partition of `window-partials`.

    Raises
    ------
    StateFormatError
        If the state has the format of another release.
    """

    def __init__(self, partition: int, state: State) -> None:
        self._partition = partition
        self._open = StoredLosses(state, _KEY, _OpenLoss, FORMAT)

    def note(self, loss: Loss, frontier: Frontier) -> None:
        """Keep a loss of partials; a lost command is no row."""
        if loss.topic == WINDOW_PARTIALS:
            from_ms = max(0, min(frontier.edges_ms))
            lost = _OpenLoss(loss.resumed_at, loss.records, from_ms, from_ms, ())
            self._open.replace([*self._open, lost])

    def spans(self, partials: Iterable[PartialValue], frontier: Frontier) -> list[LostSpan]:
        """The spans of event time of which the next windows may lack counts.

        Parameters
        ----------
        partials
            Records behind the losses, which `frontier` has in it.
        """
        if not self._open:
            return []
        watermarks = [value for value in partials if isinstance(value, Watermarks)]
        heard = {value.partition for value in watermarks}
        reached_ms = max(
            [
                0,
                *(max(both) for both in frontier.marks.values()),
                *(value.final_ms for value in watermarks),
            ]
        )
        still_open = [
            msgspec.structs.replace(
                loss,
                until_ms=max(loss.until_ms, reached_ms),
                reached=tuple(sorted({*loss.reached, *heard})),
            )
            for loss in self._open
        ]
        spans = [
            LostSpan(
                WINDOW_PARTIALS,
                self._partition,
                loss.resumed_at,
                loss.from_ms,
                loss.until_ms,
                loss.records,
            )
            for loss in still_open
        ]
        self._open.replace(
            [
                loss
                for loss in still_open
                # Before the first watermark it is not known how many partitions there are.
                if not frontier.partitions or len(loss.reached) < frontier.partitions
            ]
        )
        return spans
