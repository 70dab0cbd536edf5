"""The watermark against slow code row by row, and on small logs for hand calculation."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
import pytest

from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS
from driftline.streams.watermark import JUMP_MS, WITNESSES, Watermark, advance
from tests.oracle import watermark as slow

NOON = 20_000 * DAY_MS


class Line(NamedTuple):
    """A row: event time in minutes after NOON, id, and the tick in force."""

    minute: float
    id: str
    tick: float = -1e9


def passed(
    lines: list[Line], cuts: list[int] | None = None, start: Watermark | None = None
) -> tuple[list[float], Watermark, list[str]]:
    """Watermark at each row in minutes after NOON, the one after them, and ids of misdated rows."""
    mark, marks, misdated = start or Watermark(NOON), list[float](), list[str]()
    bounds = [0, *sorted(cuts or []), len(lines)]
    for begin, end in zip(bounds, bounds[1:], strict=False):
        rows = lines[begin:end]
        times = np.array([NOON + row.minute * MINUTE_MS for row in rows], np.int64)
        ticks = np.array([max(NOON + row.tick * MINUTE_MS, 0) for row in rows], np.int64)
        passage = advance(
            mark, times, ticks, [row.id.encode() for row in rows], np.arange(begin, end)
        )
        mark = passage.after
        marks += ((passage.ms - NOON) / MINUTE_MS).tolist()
        misdated += [wrong.row.id.decode() for wrong in passage.misdated]
    return marks, mark, misdated


def test_rows_within_the_limit_move_the_watermark_as_their_largest_time() -> None:
    lines = [Line(10, "a"), Line(5, "b"), Line(70, "c"), Line(60, "d"), Line(130, "e")]
    assert passed(lines)[0] == [10, 10, 70, 70, 130]


def test_one_row_far_ahead_does_not_move_it_and_is_misdated() -> None:
    lines = [Line(1, "a"), Line(14 * 24 * 60, "wrong"), Line(2, "b"), Line(3, "c")]
    marks, after, misdated = passed(lines)
    assert marks == [1, 1, 2, 3]
    assert misdated == ["wrong"]
    assert after == Watermark(NOON + 3 * MINUTE_MS)


def test_the_first_row_of_all_may_be_the_wrong_one() -> None:
    lines = [Line(300 * 1440, "wrong"), *(Line(i, f"{i}") for i in range(20))]
    marks, after, misdated = passed(lines, start=Watermark())
    # Nine right rows are the tenth row: the lower median of ten is the fifth of the right ones,
    # and those within an hour follow.
    assert [mark for mark in marks if mark >= 0] == [8, *range(9, 20)]
    assert (after.ms, misdated) == (NOON + 19 * MINUTE_MS, ["wrong"])


def test_a_gap_in_the_data_is_followed_after_ten_rows_of_different_ids() -> None:
    gap = [Line(2000 + i, f"{i}") for i in range(12)]
    marks, after, misdated = passed([Line(1, "a"), *gap])
    assert marks == [1] * WITNESSES + [2009, 2010, 2011]
    assert (after.ahead, misdated) == ((), [])


def test_copies_of_one_id_are_one_witness() -> None:
    marks, _, _ = passed([Line(1, "a"), *(Line(2000 + i, "again") for i in range(50))])
    assert set(marks) == {1.0}


def test_a_minority_that_is_ahead_never_moves_it() -> None:
    lines = [
        Line(1440 + i, f"fast{i}") if i % 3 == 0 else Line(i / 10, f"right{i}") for i in range(600)
    ]
    marks, _, misdated = passed(lines)
    assert max(marks) < 60
    assert len(misdated) == 200


def test_rows_ahead_are_ordinary_once_the_others_or_a_tick_come_near() -> None:
    by_rows = [Line(90, "ahead"), Line(20, "b"), Line(40, "c"), Line(41, "d")]
    # Each row that is not ahead takes two votes, so a lone row is forgotten at once.
    assert passed(by_rows) == ([0, 20, 40, 41], Watermark(NOON + 41 * MINUTE_MS), ["ahead"])
    by_one_step = [Line(90, "ahead"), Line(31, "b")]
    assert passed(by_one_step) == ([0, 90], Watermark(NOON + 90 * MINUTE_MS), [])
    by_tick = [Line(90, "ahead"), Line(20, "b", tick=30)]
    assert passed(by_tick) == ([0, 90], Watermark(NOON + 90 * MINUTE_MS), [])
    assert passed([Line(90, "ahead")])[1].raised(NOON + 30 * MINUTE_MS).ms == NOON + 90 * MINUTE_MS


def test_exactly_an_hour_ahead_needs_no_witness() -> None:
    assert JUMP_MS == HOUR_MS
    assert passed([Line(60, "a")])[0] == [60]
    assert passed([Line(60 + 1 / 60_000, "a")])[0] == [0]


def test_at_the_end_of_a_log_two_rows_ahead_count_and_one_only_within_a_day() -> None:
    far = passed([Line(0, "a"), Line(1441, "b")])[1]
    near = passed([Line(0, "a"), Line(1440, "b")])[1]
    two = passed([Line(0, "a"), Line(5000, "b"), Line(6000, "c")])[1]
    few = passed([Line(0, "a"), Line(5000, "b")], start=Watermark())[1]
    ends = [(mark.final_ms - NOON) // MINUTE_MS for mark in (far, near, two, few)]
    assert ends == [0, 1440, 6000, 5000]


@pytest.mark.parametrize("seed", range(60))
def test_any_cut_into_batches_gives_the_watermark_of_slow_code(seed: int) -> None:
    rnd = random.Random(seed)
    lines, now, tick = [], 0.0, -1e9
    share = rnd.choice((0.0, 0.05, 0.3, 0.6))
    for i in range(rnd.choice((5, 40, 1500))):
        now += rnd.choice((0, 0.1, 1, 1, 20, *([70, 3000] if rnd.random() < 0.1 else [])))
        if rnd.random() < 0.05:
            tick = max(tick, now + rnd.choice((-100, -10, 0, 30)))
        ahead = rnd.choice((59, 60, 61, 125, 5000)) if rnd.random() < share else 0
        late = rnd.choice((0, 0, 5, 500))
        lines.append(Line(now + ahead - late, rnd.choice((f"{i}", f"{i % 7}")), tick))
    expected = slow.Watermark()
    start = Watermark() if rnd.random() < 0.5 else Watermark(NOON)
    expected.time = start.ms
    wanted = []
    for line in lines:
        expected.tick(max(int(NOON + line.tick * MINUTE_MS), 0))
        wanted.append(expected.row(int(NOON + line.minute * MINUTE_MS), line.id))
    for cuts in ([], rnd.sample(range(len(lines)), min(len(lines), 9)), range(1, len(lines))):
        marks, after, _ = passed(lines, list(cuts), start)
        assert [NOON + round(mark * MINUTE_MS) for mark in marks] == wanted
        assert (after.ms, after.votes, after.final_ms) == (
            expected.time,
            expected.votes,
            expected.last(),
        )
        assert [row.id.decode() for row in after.ahead] == list(expected.waiting)
