"""Counts of stage 1, for one id at a time and for whole batches."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import MAX_RUNGS, parse_config
from driftline.schemas.decode import decode_predictions, decode_truths
from driftline.schemas.settings import Config
from driftline.schemas.times import HOUR_MS, MINUTE_MS, format_time, parse_time
from driftline.schemas.topics import WINDOW_PARTIALS
from driftline.streams.columns import GroundTruthColumns, PredictionColumns
from driftline.streams.join import Join, batch_join, code_book, expiry
from driftline.streams.join.uncounted_rows import UNCOUNTED_ROWS
from driftline.streams.lanes import (
    CELLS,
    COUNT,
    COUNTERS,
    LANE_NAMES,
    PREDICTED,
    PREDICTED_NEGATIVE,
    PREDICTED_POSITIVE,
    PREDICTED_SCORES,
)
from driftline.streams.partial import COUNT_COLUMNS, RECENT_COLUMNS, Partial, Watermarks
from driftline.streams.stage import Batch, Record

DAY = "2026-01-01T"
START_MS = parse_time(DAY + "00:00:00Z")
WORKED = """
[defaults]
windows = ["1h"]
maturity = ["1h", "6h", "1d"]
label_horizon = "30d"
truth_grace = "30h"
prediction_grace = "30h"
"""
SMALL = """
[defaults]
windows = ["1h"]
maturity = ["30m", "1h", "3h"]
label_horizon = "6h"
correction_horizon = "2h"
park = "8h"
segments = ["plan"]
[run]
outcomes = true
"""
Row = tuple[str, dict[str, Any]]
Total = Counter[tuple[Any, ...]]


class Line(NamedTuple):
    """A line of a topic, with what the driver knows of it."""

    value: bytes
    offset: int
    rank: int
    tick_ms: int


def run(
    rows: list[Row],
    config: Config,
    cuts: list[int],
    *,
    reopen: bool = False,
    end_ms: int | None = None,
) -> tuple[Total, list[Record]]:
    """Process rows in order, in batches that end at `cuts`; gives the sum of all partials, with
    texts for codes, and the other records.
    """
    state, stage = MemoryState(), Join(config, 0, 1)
    records: list[Record] = []
    head_ms, offsets = 0, {"prediction": 0, "truth": 0}
    for start, end in itertools.pairwise([0, *cuts, len(rows)]):
        lines: dict[str, list[Line]] = {"prediction": [], "truth": []}
        for rank, (topic, value) in enumerate(rows[start:end], start):
            head_ms = max(head_ms, parse_time(value["timestamp"]))
            lines[topic].append(
                Line(
                    json.dumps(value).encode(),
                    offsets[topic],
                    rank,
                    head_ms - head_ms % config.pane_ms,
                )
            )
            offsets[topic] += 1
        if reopen:
            stage = Join(config, 0, 1)
        records += stage.process(_batch(lines, head_ms - head_ms % config.pane_ms), state)
    while end_ms is not None and head_ms < end_ms:
        head_ms = min(head_ms + 7 * HOUR_MS, end_ms)
        records += stage.process(Batch(tick_ms=head_ms), state)
    return _total(records), [r for r in records if r.topic != WINDOW_PARTIALS]


def _batch(lines: dict[str, list[Line]], tick_ms: int) -> Batch:
    batch = Batch(tick_ms=tick_ms, ranked=True)
    for topic, rows in lines.items():
        if not rows:
            continue
        values = [row.value for row in rows]
        offset = np.array([row.offset for row in rows], np.int64)
        rank = np.array([row.rank for row in rows], np.int64)
        tick_ms = np.array([row.tick_ms for row in rows], np.int64)
        if topic == "prediction":
            decoded, _, rejects = decode_predictions(values, offset.tolist())
            batch.predictions = PredictionColumns.of(decoded, offset, lambda model: None)
            batch.predictions.rank, batch.predictions.tick_ms = rank, tick_ms
        else:
            truths, _, rejects = decode_truths(values, offset.tolist())
            batch.ground_truth = GroundTruthColumns.of(truths, offset)
            batch.ground_truth.rank, batch.ground_truth.tick_ms = rank, tick_ms
        assert not rejects
    return batch


def _total(records: list[Record]) -> Total:
    total: Total = Counter()
    special = {PREDICTED_POSITIVE: "+", PREDICTED_NEGATIVE: "-"}
    for record in records:
        if not isinstance(record.value, Partial):
            continue
        partial = record.value
        for lane, pane, series, rung, measure, a, b, count in zip(
            *(partial.counts[c].tolist() for c, _ in COUNT_COLUMNS), strict=True
        ):
            text_a: Any = (
                a if measure == COUNT else partial.labels[a] if measure < 6 else special.get(a, a)
            )
            text_b: Any = (
                COUNTERS[b]
                if measure == COUNT
                else (special.get(b) or partial.labels[b])
                if measure == CELLS
                else b
            )
            if measure in (PREDICTED_SCORES, PREDICTED):
                text_a = special.get(a) or partial.labels[a]
            total[
                (*partial.series[series], LANE_NAMES[lane], pane, rung, measure, text_a, text_b)
            ] += count
        for part, pane in zip(
            partial.features.split(range(len(partial.features) + 1)),
            partial.feature_panes.tolist(),
            strict=True,
        ):
            for (series, feature), summary in part.summaries().items():
                assert not summary.numbers.total
                key = (*partial.series[series], pane, feature)
                total.update({(*key, text): n for text, n in summary.texts.values.items()})
        for row in zip(*(partial.recent[c].tolist() for c, _ in RECENT_COLUMNS), strict=True):
            total[(*partial.series[row[0]], *row[1:3], partial.labels[row[3]])] += row[5]
    return Counter({key: count for key, count in total.items() if count})


def prediction(id_: str, time: str, label: str = "A", **more: Any) -> Row:
    return "prediction", {
        "prediction_id": id_,
        "model_name": "m",
        "model_version": "1",
        "timestamp": time,
        "prediction": label,
        **more,
    }


def truth(id_: str, time: str, label: str | None, revision: int = 0) -> Row:
    content = {"retracted": True} if label is None else {"label": label}
    return "truth", {"prediction_id": id_, "timestamp": time, "revision": revision, **content}


def decisions(total: Total, measure: int) -> dict[tuple[int, Any, Any], int]:
    """Count by (rung, a, b) of the decisions lane, segment "all"."""
    return {
        k[5:6] + k[7:9]: n
        for k, n in total.items()
        if len(k) == 9 and k[2:4] == ("all", "decisions") and k[6] == measure
    }


def counter(total: Total, name: str) -> int:
    return sum(
        n
        for k, n in total.items()
        if len(k) == 9 and k[2] == "all" and k[6] == COUNT and k[8] == name
    )


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_four_truths_of_the_worked_example_count_at_the_same_rungs_in_every_order(
    order: tuple[int, ...],
) -> None:
    truths = [
        truth("x", DAY + "00:30:00Z", "A", 0),
        truth("x", DAY + "05:00:00Z", "B", 1),
        truth("x", DAY + "09:00:00Z", None, 2),
        truth("x", "2026-01-02T02:00:00Z", "B", 3),
    ]
    rows = [prediction("x", DAY + "00:00:00Z"), *(truths[i] for i in order)]
    for cuts in ([], [1], [1, 2, 3, 4]):
        total, _ = run(rows, parse_config(WORKED), cuts)
        # Rungs 1h, 6h, 1d, horizon: A right; -1 A, +1 B; -1 B; +1 B.
        assert decisions(total, CELLS) == {
            (0, "A", "A"): 1,
            (1, "A", "A"): -1,
            (1, "B", "A"): 1,
            (2, "B", "A"): -1,
            (3, "B", "A"): 1,
        }
        assert (
            counter(total, "corrected"),
            counter(total, "retracted"),
            counter(total, "joined"),
        ) == (2, 1, 1)


def test_a_label_that_comes_back_after_another_one_is_in_force_again() -> None:
    #   0:00 A predicted   0:10 A   0:20 B   0:40 A   0:45 retracted   2:00 A   2:30 A
    #   rungs 30m: B       1h: none          3h: A, and the last row repeats it
    rows = [prediction("x", DAY + "00:00:00Z")]
    for time, label in [
        ("00:10:00Z", "A"),
        ("00:20:00Z", "B"),
        ("00:40:00Z", "A"),
        ("00:45:00Z", None),
        ("02:00:00Z", "A"),
        ("02:30:00Z", "A"),
    ]:
        rows.append(truth("x", DAY + time, label))
    for cuts in ([], [2], [1, 2, 3, 4, 5, 6]):
        for reopen in (False, True):
            total, _ = run(rows, parse_config(SMALL), cuts, reopen=reopen)
            assert decisions(total, CELLS) == {
                (0, "B", "A"): 1,
                (1, "B", "A"): -1,
                (2, "A", "A"): 1,
            }
            counted = [counter(total, each) for each in ("joined", "corrected", "retracted")]
            assert counted == [1, 3, 1]
            assert counter(total, "duplicate_truths") == 1


def test_the_same_label_again_is_a_duplicate_whatever_its_time_if_no_other_came_between() -> None:
    rows = [prediction("x", DAY + "00:00:00Z")]
    for time, label in [
        ("00:20:00Z", "A"),
        ("00:50:00Z", "A"),
        ("00:55:00Z", "B"),
        ("00:10:00Z", "A"),
        ("00:20:00Z", "A"),
    ]:
        rows.append(truth("x", DAY + time, label))
    total, _ = run(rows, parse_config(SMALL), [])
    assert decisions(total, CELLS) == {(0, "A", "A"): 1, (1, "A", "A"): -1, (1, "B", "A"): 1}
    assert counter(total, "duplicate_truths") == 3


def test_delay_equal_to_a_rung_counts_at_that_rung_and_a_millisecond_more_at_the_next() -> None:
    rows = [prediction("x", DAY + "00:00:00Z"), prediction("y", DAY + "00:00:00Z")]
    rows += [truth("x", DAY + "00:30:00Z", "A"), truth("y", DAY + "00:30:00.001Z", "A")]
    total, _ = run(rows, parse_config(SMALL), [])
    assert decisions(total, CELLS) == {(0, "A", "A"): 1, (1, "A", "A"): 1}


def test_label_beyond_all_rungs_of_the_longest_ladder_counts_at_the_label_horizon() -> None:
    rungs = ", ".join(f'"{hour}h"' for hour in range(1, MAX_RUNGS + 1))
    config = parse_config(
        f'[defaults]\nwindows = ["1h"]\nmaturity = [{rungs}]\nlabel_horizon = "30d"\n'
        'truth_grace = "30d"'
    )
    rows = [prediction("x", DAY + "00:00:00Z"), truth("x", "2026-01-10T00:00:00Z", "A")]
    total, _ = run(rows, config, [])
    assert decisions(total, CELLS) == {(MAX_RUNGS, "A", "A"): 1}


def test_repeated_content_is_a_duplicate_and_different_content_a_conflict() -> None:
    first = prediction("x", DAY + "00:00:00Z", score=0.5)
    again = ("prediction", dict(reversed(first[1].items())))
    other = prediction("x", DAY + "00:00:00Z", "B", score=0.5)
    for cuts in ([], [1, 2]):
        total, others = run([first, again, other], parse_config(SMALL), cuts)
        assert (
            counter(total, "duplicate_predictions"),
            counter(total, "conflicting_predictions"),
        ) == (1, 1)
        assert decisions(total, COUNT) == {(0, 0, "predictions"): 1}
        noted = [r.value for r in others if r.topic == UNCOUNTED_ROWS]
        assert [(row.reason, row.offset, row.count) for row in noted] == [
            ("duplicate_prediction", 1, 1)
        ]
        others = [r for r in others if r.topic != UNCOUNTED_ROWS]
        assert [r.value.offset for r in others] == [2]
        assert others[0].topic == "predictions.dlq"
        assert 'prediction_id "x" of m 1' in others[0].value.error


def test_feature_summaries_stay_with_their_model_when_a_batch_numbers_an_earlier_name() -> None:
    state, stage = MemoryState(), Join(parse_config(SMALL), 0, 1)
    _, lost = truth("lost", DAY + "00:00:00Z", "A")
    _, late = prediction("x", DAY + "23:00:00Z", features={"age": 41})
    start_ms, end_ms = parse_time(lost["timestamp"]), parse_time(late["timestamp"])
    stage.process(
        _batch({"truth": [Line(json.dumps(lost).encode(), 0, 0, start_ms)]}, start_ms), state
    )
    # The truth that becomes unmatched counts under no model, whose name gets its number now.
    records = stage.process(
        _batch({"prediction": [Line(json.dumps(late).encode(), 0, 1, end_ms)]}, end_ms), state
    )
    (partial,) = [record.value for record in records if isinstance(record.value, Partial)]
    assert [model for model, _, segment in partial.series if segment == "all"] == ["", "m"]
    ages = {
        (*partial.series[of], name): summary.numbers.total
        for (of, name), summary in partial.features.summaries().items()
    }
    assert ages == {("m", "1", "all", "age"): 1}


def test_prediction_without_truth_expires_and_truth_without_prediction_becomes_unmatched() -> None:
    rows = [prediction("x", DAY + "00:00:00Z"), truth("y", DAY + "00:10:00Z", "A")]
    config = parse_config(SMALL)
    total, _ = run(rows, config, [], end_ms=START_MS + 8 * HOUR_MS)
    assert (counter(total, "expired"), counter(total, "unmatched")) == (1, 0)
    total, _ = run(rows, config, [], end_ms=START_MS + 12 * HOUR_MS)
    assert (counter(total, "expired"), counter(total, "unmatched")) == (1, 1)
    assert [k[0] for k in total if k[-1] == "unmatched"] == [""]


def test_late_prediction_counts_at_the_rung_of_its_lateness_and_not_in_traffic() -> None:
    rows = [prediction("x", DAY + "02:00:00Z"), prediction("y", DAY + "01:00:00Z")]
    total, _ = run(rows, parse_config(SMALL), [])
    traffic = {k[4]: n for k, n in total.items() if len(k) == 9 and k[2:4] == ("all", "traffic")}
    assert traffic == {START_MS + 2 * HOUR_MS: 1}
    assert decisions(total, COUNT) == {
        (0, 0, "predictions"): 1,
        (1, 0, "predictions"): 1,
    }  # 59 min late: the rung of 1h
    assert counter(total, "late_predictions") == 1


def test_failed_prediction_without_label_counts_in_traffic_only() -> None:
    failed = {
        "prediction_id": "x",
        "model_name": "m",
        "model_version": "1",
        "timestamp": DAY + "00:00:00Z",
        "status": "error",
    }
    rows: list[Row] = [
        ("prediction", failed),
        ("prediction", failed),
        truth("x", DAY + "00:10:00Z", "A"),
    ]
    total, _ = run(rows, parse_config(SMALL), [1, 2], end_ms=START_MS + 20 * HOUR_MS)
    assert {k[3:5] + k[8:]: n for k, n in total.items() if k[2] == "all"} == {
        ("traffic", START_MS, "predictions"): 1,
        ("traffic", START_MS, "errors"): 1,
        ("arrivals", START_MS, "duplicate_predictions"): 1,
    }


def test_watermarks_are_emitted_per_pane_and_held_back_by_entries_that_wait_to_expire(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expiry, "MAX_EXPIRED", 1)
    config, state = parse_config(SMALL), MemoryState()
    stage = Join(config, 0, 1)
    rows = [prediction(str(i), f"{DAY}0{i}:00:00Z") for i in range(3)]
    lines = [Line(json.dumps(v).encode(), i, i, 0) for i, (_, v) in enumerate(rows)]
    stage.process(_batch({"prediction": lines}, START_MS + 2 * HOUR_MS), state)
    announced, expired = [], []
    for _ in range(5):
        records = stage.process(Batch(tick_ms=START_MS + 30 * HOUR_MS), state)
        announced += [
            (r.value.truth_ms - START_MS) / HOUR_MS
            for r in records
            if isinstance(r.value, Watermarks)
        ]
        expired.append(counter(_total(records), "expired"))
    assert expired == [1, 1, 1, 0, 0]
    # Held back to the pane in which the next entry expires (at 7, then at 8 o'clock), 10 minutes of
    # grace after its end; then no longer.
    assert [round(hours, 2) for hours in announced] == [8.17, 9.17, 30.0]


def _history(seed: int, n: int) -> list[Row]:
    """Rows by time of arrival: duplicates, conflicts, several models per id, corrections,
    retractions, late rows and truths without a prediction.
    """
    rnd = random.Random(seed)
    timed: list[tuple[float, int, Row]] = []
    for i in range(n):
        at = i * 4.0
        names = (
            [("m", "1")]
            if rnd.random() < 0.7
            else [("m", "1"), ("m", "2"), ("k", "1")][: rnd.randint(1, 3)]
        )
        for model, version in names:
            value: dict[str, Any] = {
                "prediction_id": f"id{i}",
                "model_name": model,
                "model_version": version,
            }
            value["timestamp"] = _rfc3339(at)
            if rnd.random() < 0.5:
                value["prediction"] = rnd.choice("AB")
            else:
                value["score"] = round(rnd.random(), 3)
            if rnd.random() < 0.3:
                value["segment"] = {"plan": rnd.choice(["pro", "free"])}
            if rnd.random() < 0.5:
                value["features"] = {"colour": rnd.choice(["red", "blue"])}
            delays = [rnd.choice([0, 0, 0, 1, 45, 300])]
            delays += [rnd.uniform(0, 500)] * (rnd.random() < 0.1)
            for delay in delays:
                changed = (
                    {**value, "score": 0.125}
                    if delay != delays[0] and rnd.random() < 0.5
                    else value
                )
                timed.append((at + delay, len(timed), ("prediction", changed)))
        for revision in range(rnd.choice([0, 1, 1, 1, 1, 2, 3])):
            known = (
                at
                + rnd.choice([-30, 0, 5, 30, 60, 100, 170, 200, 359, 360, 361, 600])
                + rnd.random()
            )
            row = truth(
                f"id{i}",
                _rfc3339(known),
                rnd.choice(["A", "B", None] if revision else ["A", "B"]),
                rnd.choice([revision, 0]),
            )
            for _ in range(rnd.choice([1, 1, 1, 2])):
                timed.append((known + rnd.choice([0, 0, 0, 0.5, 9, 40]), len(timed), row))
        if rnd.random() < 0.05:
            timed.append((at, len(timed), truth(f"lost{i}", _rfc3339(at), "A")))
    return [row for _, _, row in sorted(timed)]


def _rfc3339(minutes: float) -> str:
    return format_time(START_MS + HOUR_MS + int(minutes * MINUTE_MS))


@pytest.mark.parametrize("seed", range(25))
def test_batches_count_the_same_as_single_rows(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, config = _history(seed, 60), parse_config(SMALL)
    end_ms = START_MS + 48 * HOUR_MS
    rnd = random.Random(seed)
    single, single_others = run(rows, config, list(range(1, len(rows))), end_ms=end_ms)
    for reopen in (False, True):
        cuts = sorted(rnd.sample(range(1, len(rows)), rnd.choice([0, 1, 3, 10])))
        batched, others = run(rows, config, cuts, reopen=reopen, end_ms=end_ms)
        assert batched == single, f"seed {seed}, cuts {cuts}"
        for topic in ("predictions.dlq", "outcomes"):
            assert [r.value for r in others if r.topic == topic] == [
                r.value for r in single_others if r.topic == topic
            ], f"seed {seed}"
        assert sum(r.topic == "outcomes" for r in others) > 20
    # With the sequential join alone.
    monkeypatch.setattr(
        batch_join.BatchJoin, "is_ordinary", lambda self, joined: np.zeros(len(joined), np.bool_)
    )
    slow, _ = run(rows, config, [], end_ms=end_ms)
    assert slow == single, f"seed {seed}"


@pytest.mark.parametrize("seed", range(25))
def test_batches_count_the_same_when_truths_are_read_far_ahead_of_predictions(
    seed: int,
) -> None:
    rows, config = _history(seed, 60), parse_config(SMALL)
    end_ms, rnd = START_MS + 48 * HOUR_MS, random.Random(seed)
    # As in the backlogs of two topics: each keeps its own order.
    ahead = rnd.choice([5, 20, len(rows)])
    places = [(place - ahead * (row[0] == "truth"), place) for place, row in enumerate(rows)]
    rows = [rows[place] for _, place in sorted(places)]
    single, single_others = run(rows, config, list(range(1, len(rows))), end_ms=end_ms)
    for cuts in ([], *(sorted(rnd.sample(range(1, len(rows)), count)) for count in (1, 3, 10))):
        batched, others = run(rows, config, cuts, end_ms=end_ms)
        assert batched == single, f"seed {seed}, cuts {cuts}"
        assert [r.value for r in others if r.topic == "outcomes"] == [
            r.value for r in single_others if r.topic == "outcomes"
        ], f"seed {seed}"


@pytest.mark.parametrize("seed", range(3))
def test_state_holds_no_entries_after_all_have_expired(seed: int) -> None:
    rows, config, state = _history(seed, 40), parse_config(SMALL), MemoryState()
    stage = Join(config, 0, 1)
    lines: dict[str, list[Line]] = {"prediction": [], "truth": []}
    for rank, (topic, value) in enumerate(rows):
        lines[topic].append(Line(json.dumps(value).encode(), rank, rank, 0))
    stage.process(_batch(lines, START_MS), state)
    stage.process(Batch(tick_ms=START_MS + 100 * HOUR_MS), state)
    kinds = {key[:2] for key in state.values}
    assert kinds <= {b"\xffd", b"\xffw", b"\xffX"}, kinds


def test_arrivals_count_labels_when_they_arrive_and_take_none_back() -> None:
    rows = [prediction("x", DAY + "00:00:00Z")]
    rows += [
        truth("x", DAY + "00:10:00Z", "A"),
        truth("x", DAY + "01:10:00Z", "B", 1),
        truth("x", DAY + "01:20:00Z", None, 2),
    ]
    total, _ = run(rows, parse_config(SMALL), [])
    arrivals_cells = {
        (k[4], k[7]): n
        for k, n in total.items()
        if len(k) == 9 and k[2:4] == ("all", "arrivals") and k[6] == CELLS
    }
    assert arrivals_cells == {(START_MS, "A"): 1, (START_MS + HOUR_MS, "B"): 1}


def test_segment_values_beyond_the_limit_count_as_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_book, "MAX_VALUES", 2)
    rows = [
        prediction(str(i), DAY + "00:00:00Z", segment={"plan": plan})
        for i, plan in enumerate(["a", "b", "c", "a", "d"])
    ]
    for cuts in ([], [1, 2, 3, 4]):
        total, _ = run(rows, parse_config(SMALL), cuts, reopen=True)
        counted = {
            k[2]: n for k, n in total.items() if k[3] == "traffic" and k[-1] == "predictions"
        }
        assert counted == {"all": 5, "plan=a": 2, "plan=b": 1, "plan=other": 2}
