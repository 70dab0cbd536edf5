"""Losses of the inputs of one partition of stage 1, until it is known in which event time they lie.

A task that goes on behind lost records knows their offsets at once, and their event time when it
has read the first row behind them: rows that are not late lie between the watermark before the loss
and that row, give or take the grace. Until then the loss waits in the state, because the position
behind it is committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.agents.kafka.task.input_positions import Loss
from driftline.schemas import events
from driftline.schemas.rows import TickRow
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.columns import GroundTruthColumns, PredictionColumns
from driftline.streams.join import Marks
from driftline.streams.join.state_keys import NO_ID
from driftline.streams.partial import LostSpan
from driftline.streams.stage import State

FORMAT: Final = 1
_KEY: Final = NO_ID + b"lost"


class WaitingLoss(msgspec.Struct, array_like=True, frozen=True):
    """A loss of which no row behind it has been read.

    Attributes
    ----------
    topic, fault, position, resumed_at, records
        As in `driftline.schemas.events.Loss`.
    from_ms
        Event time before which no row is lost.
    noted_ms
        Time of the clock at which the loss was found, in ms since the epoch: no lost record was
        sent later.
    """

    topic: str
    fault: str
    position: int
    resumed_at: int
    records: int | None
    from_ms: int
    noted_ms: int


class KnownLoss(msgspec.Struct, frozen=True):
    """A loss, or a part of one, and the event time in which its rows lie."""

    loss: WaitingLoss
    until_ms: int

    def span(self, partition: int) -> LostSpan:
        """The loss as stage 2 takes it."""
        loss = self.loss
        return LostSpan(
            topic=loss.topic,
            partition=partition,
            resumed_at=loss.resumed_at,
            from_ms=loss.from_ms,
            until_ms=self.until_ms,
            records=loss.records,
        )

    def event(self) -> events.Loss:
        """The loss as it is written to the topic `ticks`."""
        loss = self.loss
        return events.Loss(
            topic=loss.topic,
            fault=loss.fault,  # type: ignore[arg-type]
            position=loss.position,
            resumed_at=loss.resumed_at,
            from_=format_time(loss.from_ms),
            until=format_time(self.until_ms),
            records=loss.records,
        )


class LostRows:
    """The losses of one partition.

    Raises
    ------
    StateFormatError
        If the state has the format of another release.
    """

    def __init__(self, config: Config, state: State) -> None:
        self._state = state
        self._by_clock = config.clock == "wall"
        self._grace_ms = {
            PREDICTIONS: config.prediction_grace_ms,
            GROUND_TRUTH: config.truth_grace_ms,
        }
        written = state.get(_KEY)
        format_, self._waiting = (FORMAT, []) if written is None else _decode(written)
        if format_ != FORMAT:
            raise StateFormatError(
                f"join: the stored losses have format {format_}, this release needs {FORMAT}; run "
                "the release that wrote them, or give the program another kafka.app, under which "
                "it starts anew from the input topics"
            )

    @property
    def is_any_waiting(self) -> bool:
        """Whether the event time of a loss is still to be found."""
        return bool(self._waiting)

    def note(self, loss: Loss, marks: Marks, *, now_ms: int) -> None:
        """Keep a loss of predictions or ground truth; a lost tick is no row."""
        if loss.topic not in self._grace_ms:
            return
        waiting = WaitingLoss(
            topic=loss.topic,
            fault=loss.fault.fault,
            position=loss.fault.position,
            resumed_at=loss.resumed_at,
            records=loss.records,
            from_ms=max(0, _marks_ms(marks)[loss.topic] - self._grace_ms[loss.topic]),
            noted_ms=now_ms,
        )
        self._store([*self._waiting, waiting])

    def known(
        self,
        rows: Mapping[str, PredictionColumns | GroundTruthColumns | None],
        tick: TickRow | None,
        marks: Marks,
    ) -> list[KnownLoss]:
        """The losses whose event time follows from rows or a tick that come now.

        The first row that is not late ends a loss. A tick before it closes windows, so the loss is
        known up to there; it goes on unless its records cannot be younger.

        Parameters
        ----------
        rows
            By topic, the rows behind the loss, in order of their offsets.
        marks
            Watermarks before them.
        """
        known: list[KnownLoss] = []
        waiting: list[WaitingLoss] = []
        for loss in self._waiting:
            grace_ms, mark_ms = self._grace_ms[loss.topic], _marks_ms(marks)[loss.topic]
            columns = rows.get(loss.topic)
            first_ms = None if columns is None else _first_from(columns.timestamp_ms, loss.from_ms)
            if first_ms is not None:
                known.append(KnownLoss(loss, max(mark_ms, first_ms) + grace_ms))
            elif tick is not None and tick.ended_ms is not None:
                known.append(KnownLoss(loss, max(mark_ms, tick.ended_ms) + grace_ms))
            elif tick is not None and tick.timestamp_ms > mark_ms:
                known.append(KnownLoss(loss, tick.timestamp_ms + grace_ms))
                from_ms = tick.timestamp_ms - grace_ms
                if not (self._by_clock and from_ms > loss.noted_ms):
                    waiting.append(msgspec.structs.replace(loss, from_ms=max(0, from_ms)))
            else:
                waiting.append(loss)
        if waiting != self._waiting:
            self._store(waiting)
        return known

    def _store(self, waiting: list[WaitingLoss]) -> None:
        self._waiting = waiting
        if waiting:
            self._state.put(_KEY, _encode((FORMAT, waiting)))
        else:
            self._state.delete(_KEY)


def _marks_ms(marks: Marks) -> dict[str, int]:
    return {PREDICTIONS: marks.prediction_ms, GROUND_TRUTH: marks.truth_ms}


def _first_from(times_ms: NDArray[np.int64], from_ms: int) -> int | None:
    """The first of these times that is `from_ms` or later; None if there is none."""
    at = np.flatnonzero(times_ms >= from_ms)
    return int(times_ms[at[0]]) if len(at) else None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, list[WaitingLoss]]).decode
