"""Losses of the inputs until their event time is known. Needs no broker."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from driftline.agents.kafka.broker.input_logs import Fault, PositionFault
from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.agents.kafka.stages.lost_rows import LostRows, loss_event
from driftline.agents.kafka.task.input_positions import Loss
from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import parse_config
from driftline.schemas.rows import LossRow, PredictionRow, TickRow, TruthRow
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, TICKS
from driftline.streams.columns import GroundTruthColumns, PredictionColumns
from driftline.streams.join import Marks
from driftline.streams.partial import LostSpan
from driftline.streams.watermark import Ahead, Watermark

MINUTE = 60_000
DATA = parse_config('run.clock = "data"')  # graces of 1 and of 10 minutes
WALL = parse_config("")
# The watermark of predictions is 100 minutes, that of truths 90.
MARKS = Marks(prediction=Watermark(100 * MINUTE), truth=Watermark(90 * MINUTE))


def loss(topic: str, *, fault: Fault = "deleted", position: int = 30, at: int = 50) -> Loss:
    return Loss(topic, PositionFault(topic, 3, position, fault, "", ""), at)


def predictions(*minutes: int) -> PredictionColumns:
    rows = [
        PredictionRow(
            prediction_id=f"p{at}", model_name="m", model_version="1", timestamp_ms=at * MINUTE
        )
        for at in minutes
    ]
    return PredictionColumns.of(rows, np.arange(len(rows)), lambda model: None)


def truths(*minutes: int) -> GroundTruthColumns:
    rows = [
        TruthRow(prediction_id=f"p{at}", label="yes", timestamp_ms=at * MINUTE) for at in minutes
    ]
    return GroundTruthColumns.of(rows, np.arange(len(rows)))


def tick(minute: int, *, ended: int | None = None) -> TickRow:
    return TickRow(timestamp_ms=minute * MINUTE, ended_ms=None if ended is None else ended * MINUTE)


def minutes_of(known: list[LossRow]) -> list[tuple[float, float]]:
    return [(loss.from_ms / MINUTE, loss.until_ms / MINUTE) for loss in known]


def test_the_first_rows_behind_a_loss_end_it() -> None:
    state = MemoryState()
    lost = LostRows(DATA, state)
    lost.note(loss(PREDICTIONS), MARKS, now_ms=0)
    lost.note(loss(GROUND_TRUTH, position=8, at=9), MARKS, now_ms=0)
    assert lost.known({PREDICTIONS: None, GROUND_TRUTH: None}, None, MARKS) == []
    # A new owner of the task reads them back.
    lost = LostRows(DATA, state)
    (known,) = lost.known({PREDICTIONS: predictions(130, 170), GROUND_TRUTH: None}, None, MARKS)
    assert LostSpan.of(3, known) == LostSpan(PREDICTIONS, 3, 50, 99 * MINUTE, 171 * MINUTE, 20)
    (known,) = lost.known({PREDICTIONS: predictions(180), GROUND_TRUTH: truths(95)}, None, MARKS)
    assert LostSpan.of(3, known) == LostSpan(GROUND_TRUTH, 3, 9, 80 * MINUTE, 105 * MINUTE, 1)
    assert not lost.is_any_waiting
    assert state.values == {}


def test_late_rows_do_not_end_a_loss() -> None:
    lost = LostRows(DATA, MemoryState())
    lost.note(loss(PREDICTIONS), MARKS, now_ms=0)
    assert lost.known({PREDICTIONS: predictions(98, 40)}, None, MARKS) == []
    assert minutes_of(lost.known({PREDICTIONS: predictions(50, 99, 200)}, None, MARKS)) == [
        (99, 201)
    ]


def test_a_late_row_that_comes_first_does_not_hide_the_lost_rows_before_the_next() -> None:
    #   minute   100     103               140
    #            |  lost rows up to 139  |         103 is late, as the lost rows would show
    lost = LostRows(DATA, MemoryState())
    lost.note(loss(PREDICTIONS), MARKS, now_ms=0)
    (known,) = lost.known({PREDICTIONS: predictions(103, 140, 141)}, None, MARKS)
    assert minutes_of([known]) == [(99, 142)]


def test_rows_long_after_a_loss_do_not_prolong_it() -> None:
    lost = LostRows(DATA, MemoryState())
    lost.note(loss(PREDICTIONS), MARKS, now_ms=0)
    (known,) = lost.known({PREDICTIONS: predictions(*range(110, 400))}, None, MARKS)
    assert minutes_of([known]) == [(99, 126)]  # 16 rows from 110 to 125


@pytest.mark.parametrize("fault", ["made_anew", "truncated"])
def test_nobody_knows_how_many_records_a_topic_lost_that_is_gone(fault: Fault) -> None:
    lost = LostRows(DATA, MemoryState())
    lost.note(loss(PREDICTIONS, fault=fault, at=0), MARKS, now_ms=0)
    (known,) = lost.known({PREDICTIONS: predictions(130)}, None, MARKS)
    event = loss_event(known)
    assert (event.fault, event.position, event.resumed_at, event.records) == (fault, 30, 0, None)
    assert (event.from_, event.until) == ("1970-01-01T01:39:00Z", "1970-01-01T02:11:00Z")


def test_lost_ticks_are_no_rows() -> None:
    lost = LostRows(DATA, MemoryState())
    lost.note(loss(TICKS), MARKS, now_ms=0)
    assert not lost.is_any_waiting


#   minute     100         140      180
#              | tick 140 |         the loss goes on: its rows may be younger than the tick
#   known   99 ---------- 141
#                     139 ------ 151    the first row is of minute 150
def test_a_tick_tells_a_loss_up_to_there() -> None:
    lost = LostRows(DATA, MemoryState())
    lost.note(loss(PREDICTIONS), MARKS, now_ms=0)
    assert minutes_of(lost.known({}, tick(140), MARKS)) == [(99, 141)]
    ticked = Marks(prediction=Watermark(140 * MINUTE), truth=Watermark(140 * MINUTE))
    assert lost.known({}, tick(140), ticked) == [], "a tick that advances nothing tells nothing"
    assert minutes_of(lost.known({PREDICTIONS: predictions(150)}, None, ticked)) == [(139, 151)]
    assert not lost.is_any_waiting


#   minute     100          140      180      230
#              | tick 140, and on to the rows ahead: each is within an hour of the last
#   known   99 ------------------------------- 231
#                                          229 ------ 251    the first row is of minute 250
def test_a_tick_that_rows_ahead_carry_on_tells_a_loss_up_to_the_last_of_them() -> None:
    lost = LostRows(DATA, MemoryState())
    ahead = tuple(Ahead(minute * MINUTE, b"%d" % minute, minute) for minute in (230, 180))
    before = Marks(prediction=Watermark(100 * MINUTE, ahead, votes=2))
    lost.note(loss(PREDICTIONS), before, now_ms=0)
    assert minutes_of(lost.known({}, tick(140), before)) == [(99, 231)]
    after = Marks(prediction=before.prediction.raised(140 * MINUTE))
    assert after.prediction_ms == 230 * MINUTE
    assert minutes_of(lost.known({PREDICTIONS: predictions(250)}, None, after)) == [(229, 251)]


def test_by_the_wall_clock_no_lost_row_is_younger_than_the_moment_of_the_loss() -> None:
    lost = LostRows(WALL, MemoryState())
    lost.note(loss(PREDICTIONS), MARKS, now_ms=150 * MINUTE)
    assert minutes_of(lost.known({}, tick(151), MARKS)) == [(99, 152)]
    assert lost.is_any_waiting
    ticked = Marks(prediction=Watermark(151 * MINUTE), truth=Watermark(151 * MINUTE))
    assert minutes_of(lost.known({}, tick(160), ticked)) == [(150, 161)]
    assert not lost.is_any_waiting


def test_the_end_of_a_history_ends_a_loss() -> None:
    lost = LostRows(DATA, MemoryState())
    lost.note(loss(PREDICTIONS), MARKS, now_ms=0)
    assert minutes_of(lost.known({}, tick(99_999, ended=120), MARKS)) == [(99, 121)]
    assert not lost.is_any_waiting


def test_losses_of_another_release_are_refused() -> None:
    state = MemoryState()
    LostRows(DATA, state).note(loss(PREDICTIONS), MARKS, now_ms=0)
    ((key, value),) = state.values.items()
    state.put(key, msgspec.msgpack.encode((99, msgspec.msgpack.decode(value)[1])))
    with pytest.raises(StateFormatError, match="losses have format 99"):
        LostRows(DATA, state)
