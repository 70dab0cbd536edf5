"""Losses of the inputs of one partition of stage 1, until it is known in which event time they lie.

A task that goes on behind lost records knows their offsets at once, and their event time when it
has read the first rows behind them: rows that are not late lie between the watermark before the
loss and those rows, give or take the grace. Until then the loss waits in the state, because the
position behind it is committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.agents.kafka.stages.stored_losses import StoredLosses
from driftline.agents.kafka.task.input_positions import Loss
from driftline.schemas import events
from driftline.schemas.rows import LossRow, TickRow
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.columns import GroundTruthColumns, PredictionColumns
from driftline.streams.join import Marks
from driftline.streams.join.state_keys import NO_ID
from driftline.streams.stage import State
from driftline.streams.watermark import Watermark

FORMAT: Final = 1
_KEY: Final = NO_ID + b"lost"
_FIRST_ROWS: Final = 16
"""At most so many rows of the first batch behind a loss show where it ends. One alone may be late
itself, which nobody sees without the lost rows: then younger rows would not be marked.
"""


class WaitingLoss(msgspec.Struct, array_like=True, frozen=True):
    """A loss of which no row behind it has been read.

    Attributes
    ----------
    loss
        The loss; `until_ms` is not known yet.
    noted_ms
        Time of the clock at which it was found, in ms since the epoch: no lost record was sent
        later.
    """

    loss: LossRow
    noted_ms: int


class LostRows:
    """The losses of one partition.

    Raises
    ------
    StateFormatError
        If the state has the format of another release.
    """

    def __init__(self, config: Config, state: State) -> None:
        self._by_clock = config.clock == "wall"
        self._grace_ms = {
            PREDICTIONS: config.prediction_grace_ms,
            GROUND_TRUTH: config.truth_grace_ms,
        }
        self._waiting = StoredLosses(state, _KEY, WaitingLoss, FORMAT)

    @property
    def is_any_waiting(self) -> bool:
        """Whether the event time of a loss is still to be found."""
        return bool(self._waiting)

    def note(self, loss: Loss, marks: Marks, *, now_ms: int) -> None:
        """Keep a loss of predictions or ground truth; a lost tick is no row."""
        if loss.topic not in self._grace_ms:
            return
        from_ms = max(0, _marks_of(marks)[loss.topic].ms - self._grace_ms[loss.topic])
        fault = loss.fault
        row = LossRow(
            topic=loss.topic,
            fault=fault.fault,  # type: ignore[arg-type]
            position=fault.position,
            resumed_at=loss.resumed_at,
            from_ms=from_ms,
            until_ms=from_ms,
            records=loss.records,
        )
        self._waiting.replace([*self._waiting, WaitingLoss(row, now_ms)])

    def known(
        self,
        rows: Mapping[str, PredictionColumns | GroundTruthColumns | None],
        tick: TickRow | None,
        marks: Marks,
    ) -> list[LossRow]:
        """The losses whose event time follows from rows or a tick that come now.

        The first rows that are not late end a loss, at the youngest of them. A tick before them
        closes windows, so the loss is known up to the watermark after it, which may follow rows
        ahead beyond the tick; the loss goes on unless its records cannot be younger.

        Parameters
        ----------
        rows
            By topic, the rows behind the loss, in order of their offsets.
        marks
            Watermarks before them.
        """
        known: list[LossRow] = []
        waiting: list[WaitingLoss] = []
        for each in self._waiting:
            loss = each.loss
            grace_ms, mark = self._grace_ms[loss.topic], _marks_of(marks)[loss.topic]
            columns = rows.get(loss.topic)
            row_ms = None if columns is None else _youngest(columns.timestamp_ms, loss.from_ms)
            if row_ms is not None:
                reached_ms = max(mark.ms, row_ms)
            elif tick is not None and tick.ended_ms is not None:
                reached_ms = max(mark.ms, tick.ended_ms)
            elif tick is not None and tick.timestamp_ms > mark.ms:
                reached_ms = mark.raised(tick.timestamp_ms).ms
                from_ms = max(0, reached_ms - grace_ms)
                if not (self._by_clock and from_ms > each.noted_ms):
                    later = msgspec.structs.replace(loss, from_ms=from_ms)
                    waiting.append(WaitingLoss(later, each.noted_ms))
            else:
                waiting.append(each)
                continue
            known.append(msgspec.structs.replace(loss, until_ms=reached_ms + grace_ms))
        self._waiting.replace(waiting)
        return known


def loss_event(loss: LossRow) -> events.Loss:
    """The loss as it is written to the topic `ticks`."""
    times = {"from": format_time(loss.from_ms), "until": format_time(loss.until_ms)}
    return msgspec.convert(msgspec.to_builtins(loss) | times, events.Loss)


def _marks_of(marks: Marks) -> dict[str, Watermark]:
    return {PREDICTIONS: marks.prediction, GROUND_TRUTH: marks.truth}


def _youngest(times_ms: NDArray[np.int64], from_ms: int) -> int | None:
    """The latest of the first of these times that are `from_ms` or later; None if there is none."""
    first = times_ms[times_ms >= from_ms][:_FIRST_ROWS]
    return int(first.max()) if len(first) else None
