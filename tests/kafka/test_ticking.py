"""Advance of an idle partition: by the wall clock, by the data clock, and when it
is asked to.
"""

from __future__ import annotations

import pytest

from driftline.agents.kafka.stages.ticking import (
    BEHIND_MS,
    IDLE_MS,
    IdlePartitionRequests,
    Ticking,
    next_tick,
    tick_event,
)
from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import parse_config
from driftline.schemas.results import encode
from driftline.schemas.rows import TickRow
from driftline.schemas.settings import Config
from driftline.streams.join.stage import Marks
from driftline.streams.watermark import Watermark

MINUTE = 60_000
# Panes of ten minutes, graces of one and of ten minutes.
TEN = 'defaults.windows = ["10m"]\ndefaults.detection_window = "10m"\n'
WALL = parse_config(TEN)
DATA = parse_config(TEN + '[run]\nclock = "data"')


def asked(minute: int, *, ended: int | None = None) -> TickRow:
    return TickRow(timestamp_ms=minute * MINUTE, ended_ms=None if ended is None else ended * MINUTE)


def marks(predictions: int, truths: int, *, ended: int | None = None) -> Marks:
    return Marks(
        prediction=Watermark(predictions * MINUTE),
        truth=Watermark(truths * MINUTE),
        ended_ms=None if ended is None else ended * MINUTE,
    )


def minute_of(ticking: Ticking, now: float, reached: Marks) -> float | None:
    tick = ticking.due_tick(int(now * MINUTE), reached)
    return None if tick is None else tick.timestamp_ms / MINUTE


@pytest.mark.parametrize(
    ("watermarks", "idle", "limit", "wanted"),
    [
        #   predictions enter a pane at 11, 21, 31; truths at 20, 30, 40
        ((0, 0), (True, True), 10.9, 10.0),  # truths enter the pane that begins at 0 at 10
        ((0, 0), (True, True), 11.0, 11.0),
        ((0, 0), (True, True), 20.0, 20.0),
        ((15, 15), (True, True), 19.0, None),  # both are in the panes of the limit
        ((15, 15), (True, True), 25.0, 21.0),
        ((15, 40), (True, False), 60.0, 31.0),  # never beyond the active topic
        ((40, 15), (False, True), 60.0, 40.0),
        ((40, 15), (True, False), 60.0, None),  # the idle topic is ahead
        ((0, 0), (False, False), 60.0, None),
        ((0, 0), (True, True), 0.5, None),  # before the first pane
    ],
)
def test_a_tick_is_the_smallest_time_in_a_new_pane(
    watermarks: tuple[int, int], idle: tuple[bool, bool], limit: float, wanted: float | None
) -> None:
    found = next_tick([mark * MINUTE for mark in watermarks], idle, int(limit * MINUTE), WALL)
    assert (None if found is None else found / MINUTE) == wanted


def test_by_the_wall_clock_a_partition_idle_for_a_minute_is_ticked_five_minutes_behind() -> None:
    #   opened at 100; at 101 both topics are idle, and the clock less 5 minutes is 96:
    #   predictions enter 90 at 91, truths 80 at 90
    ticking = Ticking(WALL, MemoryState(), 100 * MINUTE)
    assert (IDLE_MS, BEHIND_MS) == (MINUTE, 5 * MINUTE)
    assert minute_of(ticking, 101 - 1 / MINUTE, marks(85, 85)) is None
    assert minute_of(ticking, 101, marks(85, 85)) == 91
    assert minute_of(ticking, 101, marks(91, 91)) is None
    assert minute_of(ticking, 104.9, marks(91, 91)) is None
    assert minute_of(ticking, 105, marks(91, 91)) == 100
    assert minute_of(ticking, 106, marks(91, 100)) == 101


def test_new_or_unread_records_keep_a_topic_busy_for_another_minute() -> None:
    ticking = Ticking(WALL, MemoryState(), 100 * MINUTE)
    ticking.note_records(0, 110 * MINUTE)
    # Truths are idle, but do not pass the active predictions at 108: they enter 90 at 100.
    assert minute_of(ticking, 110.5, marks(108, 85)) == 100
    assert minute_of(ticking, 110.5, marks(99, 85)) == 90
    ticking.note_records(1, 110 * MINUTE)
    assert minute_of(ticking, 110.9, marks(99, 85)) is None
    ticking.reset_idle(112 * MINUTE)
    assert minute_of(ticking, 112.9, marks(99, 85)) is None
    assert minute_of(ticking, 113, marks(99, 85)) == 101


def test_by_the_data_clock_a_partition_is_ticked_only_on_request() -> None:
    ticking = Ticking(DATA, MemoryState(), 0)
    assert ticking.due_tick(1_000 * MINUTE, marks(10, 10)) is None
    ticking.add_requests([asked(50)])
    tick = ticking.due_tick(1_000 * MINUTE, marks(10, 12))
    assert tick is not None
    assert (tick.timestamp_ms, tick.reached_ms, tick.ended_ms) == (50 * MINUTE, 12 * MINUTE, None)
    ticking.store_request(answered=True)
    assert ticking.due_tick(1_000 * MINUTE, marks(50, 50)) is None


def test_several_requests_get_one_answer_with_the_latest_times_and_own_ticks_are_ignored() -> None:
    ticking = Ticking(DATA, MemoryState(), 0)
    ticking.add_requests(
        [
            TickRow(timestamp_ms=90 * MINUTE, after={"predictions": 3}),
            TickRow(timestamp_ms=95 * MINUTE, settled=1),
        ]
    )
    assert ticking.due_tick(0, marks(10, 10)) is None
    ticking.add_requests([asked(70, ended=60), asked(50, ended=65), asked(20)])
    tick = ticking.due_tick(0, marks(10, 10))
    assert tick is not None
    assert (tick.timestamp_ms, tick.ended_ms, tick.reached_ms) == (
        70 * MINUTE,
        65 * MINUTE,
        10 * MINUTE,
    )
    assert encode(tick_event(tick)) == (
        b'{"timestamp":"1970-01-01T01:10:00Z","ended":"1970-01-01T01:05:00Z",'
        b'"reached":"1970-01-01T00:10:00Z"}'
    )


@pytest.mark.parametrize(
    ("reached", "ended"),
    [
        (marks(30, 40), 60),
        (marks(30, 80), 80),  # its watermark is beyond the request
        (marks(30, 80, ended=70), 70),  # a history ends once
    ],
)
def test_a_history_ends_once_and_not_before_the_watermark_of_the_partition(
    reached: Marks, ended: int
) -> None:
    ticking = Ticking(DATA, MemoryState(), 0)
    ticking.add_requests([asked(500, ended=60)])
    tick = ticking.due_tick(0, reached)
    assert tick is not None
    assert tick.ended_ms == ended * MINUTE


def test_a_request_is_kept_in_the_state_until_it_is_answered() -> None:
    state = MemoryState()
    first = Ticking(DATA, state, 0)
    first.add_requests([asked(50, ended=40)])
    first.store_request(answered=False)
    after_a_crash = Ticking(DATA, state, 0)
    tick = after_a_crash.due_tick(0, marks(10, 10))
    assert tick is not None
    assert (tick.timestamp_ms, tick.ended_ms) == (50 * MINUTE, 40 * MINUTE)
    after_a_crash.store_request(answered=True)
    assert state.values == {}
    assert Ticking(DATA, state, 0).due_tick(0, marks(10, 10)) is None


def requests(
    clock: IdlePartitionRequests, now: float, *both: tuple[int, int] | None, config: Config = DATA
) -> dict[int, float]:
    """Requested minute by partition, for these watermarks; None for a partition without any."""
    seen = {
        number: (mark[0] * MINUTE, mark[1] * MINUTE)
        for number, mark in enumerate(both)
        if mark is not None
    }
    return {
        number: ms / MINUTE
        for number, ms in clock.requests(seen, len(both), int(now * MINUTE)).items()
    }


def test_by_the_data_clock_a_partition_idle_for_a_minute_is_requested_to_follow_another() -> None:
    clock = IdlePartitionRequests(DATA)
    assert requests(clock, 0, (50, 50), (15, 15)) == {}
    assert requests(clock, 0.9, (60, 60), (15, 15)) == {}
    # The first partition advances to 75: predictions enter 70 at 71, truths 60 at 70.
    assert requests(clock, 1, (75, 75), (15, 15)) == {1: 71}
    clock.note_sent({1: 71 * MINUTE})
    assert requests(clock, 1.1, (75, 75), (15, 15)) == {}, "asked once"
    assert requests(clock, 1.2, (82, 82), (15, 15)) == {1: 81}, "the same partition, further on"
    clock.note_sent({1: 81 * MINUTE})
    assert requests(clock, 1.3, (82, 82), (81, 81)) == {}, (
        "it has moved, so it does not stand still"
    )


def test_a_request_for_an_idle_topic_does_not_pass_the_watermark_of_the_other_topic() -> None:
    clock = IdlePartitionRequests(DATA)
    requests(clock, 0, (50, 50), (50, 15))
    # In the second partition predictions advance to 58 and truths are idle: they enter 40 at 50.
    assert requests(clock, 1, (90, 90), (58, 15)) == {1: 50}


def test_a_partition_without_watermarks_is_requested_too_and_equal_partitions_are_not() -> None:
    clock = IdlePartitionRequests(DATA)
    assert requests(clock, 0, (50, 50), None) == {}
    assert requests(clock, 1, (55, 55), None) == {1: 51}
    together = IdlePartitionRequests(DATA)
    requests(together, 0, (55, 55), (55, 55))
    assert requests(together, 60, (55, 55), (55, 55)) == {}
