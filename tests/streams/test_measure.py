"""Stage 2 against a slow count of the calls, and its guarantees for any way of feeding it."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.schemas.config import parse_config
from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import Config
from driftline.schemas.times import EpochMs, format_time
from driftline.schemas.topics import METRICS, REGISTRY_COMMANDS, WINDOW_PARTIALS
from driftline.streams import lanes
from driftline.streams.lanes import COUNTER_CODES
from driftline.streams.measure import Measure
from driftline.streams.measure.drift.unwatched_features import UNWATCHED_FEATURES
from driftline.streams.ordered_outcomes import ORDERED_OUTCOMES
from driftline.streams.partial import Watermarks
from tests.streams.measure_calls import Call, MeasureRun, Moment, moments, partials, run

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 19_000 * DAY
DERIVED = {"+": "yes", "-": "no"}
CONFIG = parse_config(
    """
    [defaults]
    windows = ["8h", "1d", "2d/1d"]
    maturity = ["1h", "6h", "1d"]
    label_horizon = "2d"
    last_n = [5, 40]
    reference = "1d"
    """
)
HOURLY = parse_config(
    '[defaults]\nwindows = ["1h"]\nmaturity = ["1h", "6h"]\nlabel_horizon = "1d"\n'
    "last_n = []\nsince_deployment = false"
)


def calls_of(seed: int, count: int = 250, days: int = 3) -> list[Call]:
    """A seeded stream: corrections, retractions, late predictions, missing labels, two versions."""
    draw = random.Random(seed)
    made = []
    for key in range(count):
        at = START + draw.randrange(days * DAY)
        if draw.random() < 0.1:
            at -= at % HOUR
        delays = sorted(draw.sample(range(1, 2 * DAY), draw.choice([0, 1, 1, 1, 1, 2, 3])))
        delays = [delay - delay % HOUR or 1 if draw.random() < 0.2 else delay for delay in delays]
        changes: list[tuple[int, str | None]] = []
        label_before: str | None = None
        for delay in sorted(set(delays)):
            label = draw.choice(
                [choice for choice in ("yes", "no", None) if choice != label_before]
            )
            if label is None and not changes:
                label = "yes" if label_before != "yes" else "no"
            changes.append((delay, label))
            label_before = label
        lateness = draw.randrange(2 * HOUR) if draw.random() < 0.05 else 0
        first_delay = max(lateness, 1)
        made.append(
            Call(
                at=at,
                predicted=draw.choice(["yes", "no", "+", "-"]),
                version=draw.choice(["1", "2"]),
                segments=draw.choice([("plan=free",), ("plan=pro", "region=eu"), ()]),
                score=draw.random() if draw.random() < 0.8 else None,
                latency_us=draw.randrange(100, 90_000),
                features={"age": draw.gauss(40, 9)},
                changes=tuple(
                    (max(delay, first_delay + place), label)
                    for place, (delay, label) in enumerate(changes)
                    if delay <= 2 * DAY
                ),
                lateness=lateness,
                key=key,
            )
        )
    return made


def slow_windows(
    calls: Sequence[Call], config: Config, end: int
) -> dict[tuple[Any, ...], tuple[int, list[list[int]]]]:
    """n_predictions and matrix over ["no", "yes"], counted call by call.

    By (version, segment, window, maturity, start).
    """
    model = config.for_model("m")
    counts: dict[tuple[Any, ...], tuple[int, list[list[int]]]] = {}
    for window in model.windows:
        for call in calls:
            first = (call.at - window.size_ms) // window.step_ms * window.step_ms + window.step_ms
            for start in range(first, call.at + 1, window.step_ms):
                for index in model.rungs_for(window):
                    rung = model.maturity[index]
                    if start + window.size_ms + rung.ms > end or call.lateness > rung.ms:
                        is_known = False
                    else:
                        is_known = True
                    for version, segment in call.series:
                        key = (version, segment, window.name, rung.name, start)
                        n, matrix = counts.setdefault(key, (0, [[0, 0], [0, 0]]))
                        if is_known:
                            counts[key] = (n + 1, matrix)
                        label = call.label_at(rung.ms)
                        if label is not None:
                            predicted = DERIVED.get(call.predicted, call.predicted)
                            matrix[label == "yes"][predicted == "yes"] += 1
    return counts


def metrics_of(running: MeasureRun, lane: str) -> list[WindowFigures]:
    return [metric for metric in running.of(METRICS) if metric.lane == lane]


def test_every_decisions_window_equals_a_count_call_by_call() -> None:
    for seed in (1, 2):
        calls, end = calls_of(seed), START + 9 * DAY
        running = run(CONFIG, calls, end=end)
        expected = slow_windows(calls, CONFIG, end)
        seen = {}
        for metric in metrics_of(running, "decisions"):
            if metric.kind == "since_deployment":
                continue
            key = (
                metric.model_version,
                metric.segment,
                metric.window,
                metric.maturity,
                metric.window_start_ms,
            )
            assert key not in seen, "a rung of a window is emitted once"
            seen[key] = metric
            n_predictions, matrix = expected[key]
            if metric.labels == ["no", "yes"]:
                assert (metric.n_predictions, metric.matrix) == (n_predictions, matrix), (seed, key)
            assert metric.n == sum(map(sum, matrix)), (seed, key)
            assert metric.tn is None or [[metric.tn, metric.fp], [metric.fn, metric.tp]] == matrix
        missing = {
            key
            for key, (n, matrix) in expected.items()
            if (n or any(map(any, matrix))) and key not in seen
        }
        assert not missing, (seed, sorted(missing)[:3])


def test_since_deployment_equals_a_count_of_all_calls_before_its_end() -> None:
    calls, end = calls_of(3), START + 9 * DAY
    running = run(CONFIG, calls, end=end)
    ladder = {rung.name: rung.ms for rung in CONFIG.defaults.maturity}
    metrics = [
        metric for metric in metrics_of(running, "decisions") if metric.kind == "since_deployment"
    ]
    assert {metric.maturity for metric in metrics} == set(ladder)
    for metric in metrics:
        series, end_ms = (metric.model_version, metric.segment), metric.window_end_ms
        of_series = [call for call in calls if series in call.series and call.at < end_ms]
        rung = ladder[metric.maturity or ""]
        assert metric.n_predictions == sum(call.lateness <= rung for call in of_series)
        assert metric.n == sum(call.label_at(rung) is not None for call in of_series)


def test_arrivals_windows_count_changes_at_the_time_they_became_known() -> None:
    calls, end = calls_of(4), START + 9 * DAY
    running = run(CONFIG, calls, end=end)
    changed: Counter[tuple[str, str, int]] = Counter()
    for call in calls:
        for delay, label in call.changes:
            for version, segment in call.series:
                changed[version, segment, (call.at + delay) // DAY * DAY] += label is not None
    seen = {
        (m.model_version, m.segment, m.window_start_ms): m.n
        for m in metrics_of(running, "arrivals")
        if m.window == "1d"
    }
    assert {key: n for key, n in changed.items() if n} == {key: n for key, n in seen.items() if n}


def test_traffic_windows_count_predictions_in_time_and_are_emitted_when_empty() -> None:
    calls, end = calls_of(5), START + 9 * DAY
    running = run(CONFIG, calls, end=end)
    expected: Counter[tuple[str, str, int]] = Counter()
    for call in calls:
        if not call.lateness:
            expected.update(
                (version, segment, call.at // (8 * HOUR) * 8 * HOUR)
                for version, segment in call.series
            )
    windows = [m for m in metrics_of(running, "traffic") if m.window == "8h"]
    seen = {(m.model_version, m.segment, m.window_start_ms): m.n_predictions for m in windows}
    assert {key: n for key, n in seen.items() if n} == dict(expected)
    last = max(start for _, _, start in expected)
    quiet = [key for key, n in seen.items() if not n and key[2] > last]
    assert {(version, segment) for version, segment, _ in quiet} == {("1", "all"), ("2", "all")}


def test_empty_windows_after_the_end_of_a_recorded_log_are_not_emitted() -> None:
    running = MeasureRun(CONFIG)
    running.feed(
        moments([Call(START, key=1), Call(START + 30 * HOUR, key=2)], CONFIG), upto=START + 2 * DAY
    )
    running.call(
        {
            WINDOW_PARTIALS: [
                Watermarks(
                    0, 1, START + 9 * DAY, START + 9 * DAY, predictions_ended_ms=START + 2 * DAY
                )
            ]
        }
    )
    running.feed([], upto=START + 9 * DAY)
    windows = [
        (m.window_end_ms, m.n_predictions)
        for m in metrics_of(running, "traffic")
        if m.window == "8h"
    ]
    assert (START + 16 * HOUR, 0) in windows, "an empty window between two predictions is emitted"
    assert max(end for end, _ in windows) == START + 2 * DAY
    after = [
        (m.window, m.n_predictions)
        for m in metrics_of(running, "traffic")
        if m.window_end_ms == START + 3 * DAY
    ]
    assert after == [("2d/1d", 1)], "a window with counts is emitted even after the end"


def test_last_n_are_the_newest_outcomes_by_time_and_hash() -> None:
    calls, end = calls_of(6), START + 9 * DAY
    running = run(CONFIG, calls, end=end)
    outcomes = defaultdict(list)
    for call in calls:
        if call.changes and call.changes[0][1] is not None:
            for series in call.series:
                outcomes[series].append((call.at + call.changes[0][0], call.key, call))
    metrics = [m for m in metrics_of(running, "arrivals") if m.kind == "last_n"]
    assert {m.window for m in metrics} == {"last_5", "last_40"}
    for metric in metrics:
        end_ms, rows = metric.window_end_ms, outcomes[metric.model_version, metric.segment]
        before = sorted((row for row in rows if row[0] < end_ms), key=lambda row: row[:2])
        newest = before[-int(metric.window.removeprefix("last_")) :]
        assert metric.n == len(newest)
        assert metric.window_start_ms == newest[0][0]
        right = sum(
            call.changes[0][1] == DERIVED.get(call.predicted, call.predicted)
            for _, _, call in newest
        )
        if metric.labels == ["no", "yes"]:
            assert metric.matrix[0][0] + metric.matrix[1][1] == right


def test_ordered_outcomes_are_those_of_each_step_by_time_and_hash() -> None:
    calls, end = calls_of(6), START + 9 * DAY
    running = run(CONFIG, calls, end=end)
    step_ms = 8 * HOUR
    expected = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.key):
        if call.changes and call.changes[0][1] is not None:
            at = call.at + call.changes[0][0]
            wrong = call.changes[0][1] != DERIVED.get(call.predicted, call.predicted)
            for series in call.series:
                expected[at // step_ms * step_ms, series].append((at, call.key, int(wrong)))
    found = {
        (step.value.start_ms, series): list(errors)
        for step in running.records
        if step.topic == ORDERED_OUTCOMES
        for series, errors in step.value.errors
    }
    assert all(r.end_ms - r.start_ms == step_ms for r in running.of(ORDERED_OUTCOMES))
    # At most the 40 newest of a step, the largest n.
    assert max(map(len, expected.values())) < 40
    assert found == {
        place: [wrong for _, _, wrong in sorted(rows)] for place, rows in expected.items()
    }
    assert sum(map(sum, found.values())) > 20


def test_outcomes_of_models_without_a_rule_that_reads_them_are_not_emitted() -> None:
    calls = [
        replace(call, model="another" if call.key % 3 == 0 else "m") for call in calls_of(6, 60)
    ]
    every = run(CONFIG, calls, end=START + 9 * DAY)
    some = MeasureRun(CONFIG)
    some.stage = Measure(CONFIG, reads_outcomes=lambda model_name: model_name == "m")
    some.feed(moments(calls, CONFIG), upto=START + 9 * DAY)
    assert {step.model_name for step in every.of(ORDERED_OUTCOMES)} == {"m", "another"}
    assert some.records == [
        record
        for record in every.records
        if record.topic != ORDERED_OUTCOMES or record.value.model_name == "m"
    ]
    assert some.state.values == every.state.values


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(0, 150), max_size=12),
    partitions=st.sampled_from([1, 2, 3]),
)
def test_records_do_not_depend_on_cuts_partitions_or_restarts_between_calls(
    seed: int, cuts: list[int], partitions: int
) -> None:
    calls, end = calls_of(seed, count=60, days=2), START + 6 * DAY
    calls = [replace(call, model="another" if call.key % 3 == 0 else "m") for call in calls]
    whole = run(CONFIG, calls, end=end)
    cut = run(CONFIG, calls, end=end, cuts=cuts, partitions=partitions, restarting=bool(seed % 2))
    # What is written to no topic has no key.
    inside = (UNWATCHED_FEATURES, ORDERED_OUTCOMES)
    assert [r.value.key() for r in cut.records if r.topic not in inside] == [
        r.value.key() for r in whole.records if r.topic not in inside
    ]
    assert cut.records == whole.records


#   predictions at 00:10 in pane [00:00, 01:00), rung 1h
#   00:00 ------ 01:00 ------ 02:00
#     [ window )                      complete at its rung at 01:00 + 1h
#      x ...1h...o                    a truth after exactly 1h is on the rung,
#      x ...1h...+1ms                 one a millisecond later is on the next
def test_truth_after_exactly_the_rung_counts_at_it_and_a_millisecond_later_does_not() -> None:
    at = START + 10 * MINUTE
    calls = [
        Call(at, key=1, changes=((HOUR, "yes"),)),
        Call(at, key=2, changes=((HOUR + 1, "yes"),)),
    ]
    running = run(HOURLY, calls, end=START + 2 * DAY)
    counts = {
        m.maturity: (m.n, m.n_predictions)
        for m in metrics_of(running, "decisions")
        if m.window == "1h" and m.segment == "all"
    }
    assert counts == {"1h": (1, 2), "6h": (2, 2), "1d": (2, 2)}


def test_prediction_at_window_end_belongs_to_the_next_window() -> None:
    running = run(HOURLY, [Call(START + HOUR, key=1)], end=START + DAY)
    windows = {
        format_time(m.window_start_ms)
        for m in metrics_of(running, "traffic")
        if m.window == "1h" and m.n_predictions
    }
    assert windows == {"2022-01-08T01:00:00Z"}


def test_a_window_is_emitted_when_the_frontier_reaches_its_end_plus_rung_and_not_before() -> None:
    running = MeasureRun(HOURLY)
    stream = [Call(START + 10 * MINUTE, key=1, changes=((MINUTE, "yes"),))]
    running.feed(moments(stream, HOURLY), upto=START + 2 * HOUR + 10 * MINUTE - 1)
    assert not [m for m in metrics_of(running, "decisions") if m.window == "1h"]
    running.feed([], upto=START + 2 * HOUR + 10 * MINUTE)
    first = next(m for m in metrics_of(running, "decisions") if m.window == "1h")
    assert (first.maturity, first.final, first.revision, format_time(first.complete_at_ms)) == (
        "1h",
        False,
        1,
        "2022-01-08T02:00:00Z",
    )


def test_no_step_is_due_before_every_partition_has_sent_a_watermark() -> None:
    running = MeasureRun(CONFIG)
    running.call({WINDOW_PARTIALS: [Watermarks(0, 2, START + 9 * DAY, START + 9 * DAY)]})
    running.call({WINDOW_PARTIALS: partials(moments([Call(START)], CONFIG))})
    assert running.stage.due(running.state) is None
    running.call({WINDOW_PARTIALS: [Watermarks(1, 2, START + 9 * DAY, START + 9 * DAY)]})
    assert running.stage.due(running.state) is not None


def test_a_window_that_starts_before_the_first_pane_is_emitted_with_its_counts() -> None:
    running = run(CONFIG, [Call(START + 5 * HOUR, key=1)], end=START + 6 * DAY)
    two_days = [
        m for m in metrics_of(running, "traffic") if m.window == "2d/1d" and m.n_predictions
    ]
    assert [format_time(m.window_start_ms) for m in two_days] == [
        "2022-01-07T00:00:00Z",
        "2022-01-08T00:00:00Z",
    ]


def test_windows_below_an_hour_are_final_at_the_first_rung_of_an_hour() -> None:
    config = parse_config(
        '[defaults]\nwindows = ["10m", "1h"]\nmaturity = ["30m", "1h", "6h"]\nlabel_horizon = "1d"'
    )
    running = run(
        config, [Call(START + 5 * HOUR, key=1, changes=((2 * HOUR, "yes"),))], end=START + 3 * DAY
    )
    final = {
        (m.window, m.maturity)
        for m in metrics_of(running, "decisions")
        if m.final and m.kind == "tumbling"
    }
    assert final == {("10m", "1h"), ("1h", "1d")}


def test_segments_beyond_the_hundred_largest_share_the_row_other() -> None:
    calls = [Call(START + i, segments=(f"user={i % 120:03d}",), key=i) for i in range(240)]
    calls += [Call(START + 300 + i, segments=("user=119",), key=300 + i) for i in range(5)]
    running = run(HOURLY, calls, end=START + DAY)
    hour = [
        m
        for m in metrics_of(running, "traffic")
        if m.window == "1h" and m.window_start_ms == EpochMs.of("2022-01-08T00:00:00Z")
    ]
    counts = {m.segment: m.n_predictions for m in hour}
    # The largest, then ties by name: users 000 to 098.
    assert set(counts) == {"all", "user=other", "user=119", *(f"user={i:03d}" for i in range(99))}
    assert (counts["all"], counts["user=119"], counts["user=other"]) == (245, 7, 2 * 20)
    assert [m.segment for m in hour] == ["all", *sorted(set(counts) - {"all"})]


def test_counts_of_no_model_are_emitted_in_the_arrivals_lane_only() -> None:
    lost = Moment(
        START,
        "",
        0,
        counts=[
            (lanes.ARRIVALS, START, ("", "all"), 0, lanes.COUNT, 0, COUNTER_CODES["unmatched"], 3)
        ],
    )
    running = MeasureRun(CONFIG)
    running.feed([lost], upto=START + 5 * DAY)
    assert {(m.lane, m.model_name, m.model_version, m.segment) for m in running.of(METRICS)} == {
        ("arrivals", "", "", "all")
    }
    assert next(m.counts for m in running.of(METRICS)) == {"unmatched": 3}
    assert {record.topic for record in running.records} == {METRICS}


@pytest.mark.parametrize("order", [1, -1])
def test_counts_of_no_model_and_a_model_without_labels_keep_their_own_metrics(
    order: int,
) -> None:
    # Neither has a label, so their counts have the same columns.
    def counted(model: str, version: str, counter: str) -> Moment:
        return Moment(
            START,
            model,
            0,
            counts=[
                (
                    lanes.ARRIVALS,
                    START,
                    (version, "all"),
                    0,
                    lanes.COUNT,
                    0,
                    COUNTER_CODES[counter],
                    1,
                )
            ],
        )

    both = [counted("", "", "unmatched"), counted("m", "1", "late_predictions")]
    running = MeasureRun(CONFIG)
    running.feed(both[::order], upto=START + 5 * DAY)
    metrics = metrics_of(running, "arrivals")
    assert {m.model_name: bool(m.metrics) for m in metrics} == {"": False, "m": True}
    assert all(m.null_reasons.keys() == m.metrics.keys() for m in metrics)


@pytest.mark.parametrize(
    ("truths", "configured", "labels", "cells"),
    [
        (["yes"], None, ["no", "yes"], (0, 0, 1, 1)),
        (["1"], None, ["0", "1"], (0, 0, 1, 1)),
        (["ham", "spam"], None, ["ham", "spam"], (1, 1, 1, 1)),
        (["ham", "spam"], "ham", ["ham", "spam"], (1, 1, 1, 1)),
        (["fraud"], "fraud", [], (None, None, None, None)),
    ],
)
def test_labels_derived_from_scores_are_the_positive_and_the_other_label(
    truths: list[str], configured: str | None, labels: list[str], cells: tuple[int | None, ...]
) -> None:
    setting = f'positive_label = "{configured}"' if configured else ""
    config = parse_config(
        f'[defaults]\nwindows = ["1h"]\nmaturity = ["1h"]\nlabel_horizon = "2h"\n{setting}'
    )
    outcomes = [(truth, predicted) for truth in truths for predicted in "+-"]
    calls = [
        Call(START + i, predicted=predicted, score=0.5, key=i, changes=((1, truth),))
        for i, (truth, predicted) in enumerate(outcomes)
    ]
    running = run(config, calls, end=START + DAY)
    final = next(m for m in metrics_of(running, "decisions") if m.final and m.window == "1h")
    assert (final.labels, (final.tn, final.fp, final.fn, final.tp), final.n) == (
        labels,
        cells,
        len(calls),
    )
    if not labels:
        assert final.metrics["accuracy"] is None
        assert final.null_reasons["accuracy"] == "one label seen; set labels and positive_label"
        assert final.label_coverage == 1.0


def test_three_labels_have_a_matrix_in_sorted_order_and_no_positive_label() -> None:
    outcomes = [("cat", "cat"), ("dog", "cat"), ("eel", "eel"), ("cat", "dog")]
    calls = [
        Call(START + i, predicted=predicted, key=i, changes=((1, truth),))
        for i, (truth, predicted) in enumerate(outcomes)
    ]
    final = next(
        m for m in metrics_of(run(HOURLY, calls, end=START + 2 * DAY), "decisions") if m.final
    )
    assert (final.labels, final.matrix, final.tp) == (
        ["cat", "dog", "eel"],
        [[1, 1, 0], [1, 0, 0], [0, 0, 1]],
        None,
    )
    assert (
        final.metrics["accuracy"],
        final.metrics["precision"],
        final.null_reasons["precision"],
    ) == (0.5, None, "needs two labels")


def test_more_than_a_hundred_labels_are_counted_without_a_matrix() -> None:
    calls = [
        Call(START + i, predicted=f"{i:03}", key=i, changes=((1, f"{i:03}"),)) for i in range(120)
    ]
    final = next(
        m for m in metrics_of(run(HOURLY, calls, end=START + 2 * DAY), "decisions") if m.final
    )
    assert (final.n, final.n_predictions, final.label_coverage, final.matrix) == (120, 120, 1.0, [])
    assert final.null_reasons["accuracy"] == "more than 100 labels"


def test_numeric_truths_have_label_delay_and_coverage_despite_too_many_labels() -> None:
    calls = [
        Call(START + i, predicted=f"{i / 7:.3f}", key=i, changes=((MINUTE, f"{i / 7 + 1:.3f}"),))
        for i in range(120)
    ]
    final = next(
        m for m in metrics_of(run(HOURLY, calls, end=START + 2 * DAY), "decisions") if m.final
    )
    for name in ("delay_p50", "delay_p95"):
        assert final.metrics[name] == pytest.approx(MINUTE, rel=1 / 128)
        low, high = final.ci[name]
        assert low <= final.metrics[name] <= high
    assert final.metrics["label_coverage"] == 1.0
    by_label = {"accuracy", "precision", "recall", "f1", "specificity", "fpr", "fnr"}
    by_label |= {"balanced_accuracy", "mcc", "roc_auc", "brier"}
    assert final.null_reasons == dict.fromkeys(by_label, "more than 100 labels")


def test_only_configured_metrics_are_computed_and_an_unknown_name_is_an_error() -> None:
    text = '[defaults]\nwindows = ["1h"]\nmaturity = ["1h"]\nlabel_horizon = "2h"\nmetrics = {}'
    calls = [Call(START, key=1, changes=((1, "yes"),))]
    chosen = metrics_of(
        run(parse_config(text.format('["recall", "accuracy"]')), calls, end=START + DAY),
        "decisions",
    )
    assert all(list(m.metrics) == ["accuracy", "recall"] for m in chosen)
    none = metrics_of(run(parse_config(text.format("[]")), calls, end=START + DAY), "decisions")
    assert [m.metrics for m in none] == [{}] * len(chosen)
    with pytest.raises(
        ValueError,
        match=r'defaults\.metrics: "acuracy" is no metric; known are accuracy, balanced_accuracy',
    ):
        MeasureRun(parse_config(text.format('["acuracy"]')))


def test_a_lane_that_is_off_emits_no_windows_and_versions_are_still_registered() -> None:
    config = parse_config(
        '[run]\nlanes = ["decisions"]\n'
        '[defaults]\nwindows = ["1h"]\nmaturity = ["1h"]\nlabel_horizon = "2h"'
    )
    lane = moments([Call(START + MINUTE, key=1, changes=((1, "yes"),))], config)
    for moment in lane:
        moment.counts = [count for count in moment.counts if count[0] == lanes.DECISIONS]
    running = MeasureRun(config)
    running.feed(lane, upto=START + 2 * DAY)
    assert {m.lane for m in running.of(METRICS)} == {"decisions"}
    assert running.of(REGISTRY_COMMANDS)[0].command == "register"


def test_a_call_without_records_is_an_error_if_no_step_is_due() -> None:
    with pytest.raises(ValueError, match="no step is due"):
        MeasureRun(HOURLY).call({})


def test_edges_in_the_years_before_the_first_row_are_skipped() -> None:
    running = MeasureRun(CONFIG)
    # The predictions of a partition are read first; the truth watermark is still that of an empty
    # topic.
    running.call(
        {
            WINDOW_PARTIALS: [
                *partials(moments([Call(START + 5 * HOUR, key=1)], CONFIG)),
                Watermarks(0, 1, START + 6 * HOUR, 0),
            ]
        }
    )
    assert running.stage.due(running.state) is None
    running.call({WINDOW_PARTIALS: [Watermarks(0, 1, START + 2 * DAY, START + 2 * DAY)]})
    steps = 0
    while running.stage.due(running.state) is not None:
        running.call({})
        steps += 1
    assert steps < 100
    at_once = run(CONFIG, [Call(START + 5 * HOUR, key=1)], end=START + 2 * DAY)
    assert running.records == at_once.records
