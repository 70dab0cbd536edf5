"""Provisional figures against a slow count of the calls so far; complete windows stay the same."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import parse_config
from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import Config
from driftline.schemas.topics import WINDOW_PARTIALS
from driftline.streams.measure import Measure
from driftline.streams.stage import Batch
from tests.streams.measure_calls import Call, MeasureRun, Moment, moments
from tests.streams.test_measure import CONFIG, DAY, HOUR, MINUTE, START, calls_of

SHORT = parse_config(
    '[defaults]\nwindows = ["10m", "1h"]\nmaturity = ["30m", "1h", "6h"]\n'
    'label_horizon = "1d"\nlast_n = []'
)
SLIDING = parse_config('[defaults]\nwindows = ["2h/1h"]\nmaturity = ["6h"]\nlabel_horizon = "2d"')


class ReadOnly(MemoryState):
    """A state that fails on every write."""

    def __init__(self, values: dict[bytes, bytes]) -> None:
        super().__init__()
        self.values = dict(values)

    def _refuse(self, *arguments: object) -> None:
        raise AssertionError("state was written for a provisional figure")

    put = put_many = delete = pop_many = delete_range = _refuse  # type: ignore[assignment]


class ProvisionalRun(MeasureRun):
    """A run with provisional figures."""

    def __init__(self, config: Config, **options: Any) -> None:
        super().__init__(config, **options)
        self.stage = Measure(config, provisional=True)

    def provisional(self) -> list[WindowFigures]:
        records = self.stage.provisional(ReadOnly(self.state.values))
        assert all(record.value.provisional and not record.value.final for record in records)
        return [record.value for record in records]


def upto(stream: list[Moment], after: int, time: int) -> list[Moment]:
    return [moment for moment in stream if after < moment.at <= time]


def counted(
    calls: list[Call], config: Config, metric: WindowFigures, now: int
) -> tuple[int, list[list[int]]]:
    """n_predictions and matrix over ["no", "yes"] of a decisions window, as known at `now`."""
    rung = next(rung.ms for rung in config.defaults.maturity if rung.name == metric.maturity)
    matrix, n = [[0, 0], [0, 0]], 0
    for call in calls:
        inside = metric.window_start_ms <= call.at < metric.window_end_ms
        if inside and (metric.model_version, metric.segment) in call.series:
            n += call.lateness <= rung and call.at + call.lateness <= now
            label = call.label_at(min(rung, now - call.at))
            if label is not None:
                matrix[label == "yes"][
                    {"+": "yes", "-": "no"}.get(call.predicted, call.predicted) == "yes"
                ] += 1
    return n, matrix


@pytest.mark.parametrize(("config", "seed"), [(CONFIG, 1), (CONFIG, 2), (SHORT, 3), (SLIDING, 4)])
def test_each_new_change_is_in_an_open_window_or_in_one_that_just_became_complete(
    config: Config, seed: int
) -> None:
    calls = calls_of(seed, count=150, days=2)
    draw, running, before, shown = random.Random(seed), ProvisionalRun(config, partitions=2), -1, 0
    longest = config.defaults.maturity[-1].ms
    calls = [_within(call, longest) for call in calls]
    stream = moments(calls, config, 2)
    while before < START + 5 * DAY:
        now = (before if before > 0 else START) + draw.choice((MINUTE, HOUR, 9 * HOUR))
        before_step = len(running.records)
        # Steps run before or after the provisional figures.
        running.feed(upto(stream, before, now), upto=now, rest=draw.random() < 0.5)
        metrics = running.provisional()
        decisions = [metric for metric in metrics if metric.lane == "decisions"]
        for metric in decisions:
            n, matrix = counted(calls, config, metric, now)
            assert metric.n_predictions == n, metric
            assert metric.n == sum(map(sum, matrix)), metric
            if metric.labels == ["no", "yes"]:
                assert metric.matrix == matrix, metric
                shown += 1
        decisions += [
            metric
            for metric in (record.value for record in running.records[before_step:])
            if isinstance(metric, WindowFigures)
        ]
        for call in calls:
            if call.label_at(now - call.at) != call.label_at(before - call.at):
                assert any(_holds(metric, call, config, before, now) for metric in decisions), call
        assert running.provisional() == [], "no change since"
        before = now
    assert shown > 50


def _within(call: Call, longest: int) -> Call:
    return replace(
        call,
        changes=tuple((delay, label) for delay, label in call.changes if delay <= longest),
        lateness=min(call.lateness, longest),
    )


def _holds(metric: WindowFigures, call: Call, config: Config, before: int, now: int) -> bool:
    """Whether a record counts a change of the call between `before` and `now`."""
    if metric.lane != "decisions" or metric.kind == "since_deployment":
        return False
    rung = next(rung.ms for rung in config.defaults.maturity if rung.name == metric.maturity)
    known = any(before < call.at + delay <= now and delay <= rung for delay, _ in call.changes)
    inside = metric.window_start_ms <= call.at < metric.window_end_ms
    return known and inside and (metric.model_version, metric.segment) == (call.version, "all")


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    requests=st.lists(st.booleans(), min_size=12, max_size=12),
    partitions=st.sampled_from([1, 3]),
)
def test_provisional_figures_change_neither_records_nor_state(
    seed: int, requests: list[bool], partitions: int
) -> None:
    calls = [
        replace(call, model="other" if call.key % 3 == 0 else "m")
        for call in calls_of(seed, count=60, days=2)
    ]
    stream = moments(calls, CONFIG, partitions)
    runs = (
        ProvisionalRun(CONFIG, partitions=partitions, registry=True),
        MeasureRun(CONFIG, partitions=partitions, registry=True),
    )
    for number, request in enumerate(requests):
        part = _part(stream, number, len(requests))
        now = part[-1].at if number < len(requests) - 1 else START + 6 * DAY
        for running in runs:
            running.feed(part, upto=now, rest=seed % 2 == 0 or not request)
        if request:
            runs[0].provisional()
            # The steps that are due after the provisional figures.
            for running in runs:
                running.feed([], upto=now)
    assert runs[0].records == runs[1].records
    assert runs[0].state.values == runs[1].state.values


def _part(stream: list[Moment], number: int, parts: int) -> list[Moment]:
    return stream[number * len(stream) // parts : (number + 1) * len(stream) // parts]


def test_provisional_records_come_before_the_complete_record_with_its_key_and_revision() -> None:
    calls, running, complete = calls_of(7, count=150, days=2), ProvisionalRun(CONFIG), {}
    stream, before = moments(calls, CONFIG), -1
    provisional: dict[str, int] = {}
    for now in range(START, START + 6 * DAY, 3 * HOUR):
        before_step = len(running.records)
        running.feed(upto(stream, before, now), upto=now)
        complete |= {
            record.value.key(): record.value
            for record in running.records[before_step:]
            if isinstance(record.value, WindowFigures)
        }
        for metric in running.provisional():
            assert metric.key() not in complete
            provisional[metric.key()] = metric.revision
        before = now
    assert provisional
    assert {key: complete[key].revision for key in provisional} == provisional


def test_scores_drift_and_segments_wait_for_the_complete_window() -> None:
    running = ProvisionalRun(CONFIG)
    running.feed(
        moments(
            [Call(START + MINUTE, score=0.7, segments=("plan=pro",), changes=((MINUTE, "yes"),))],
            CONFIG,
        ),
        upto=START + HOUR,
    )
    metrics = running.provisional()
    assert [(metric.lane, metric.segment, metric.maturity) for metric in metrics] == [
        ("traffic", "all", None),
        ("decisions", "all", "1h"),
        ("arrivals", "all", None),
    ]
    assert metrics[1].metrics["accuracy"] == 1.0
    assert "roc_auc" not in metrics[1].metrics
    assert metrics[1].completeness is None


def test_a_restarted_stage_shows_the_whole_window_with_the_next_change() -> None:
    running, calls = (
        ProvisionalRun(CONFIG),
        [
            Call(START + MINUTE * number, key=number, changes=((MINUTE, "yes"),))
            for number in range(5)
        ],
    )
    running.feed(moments(calls[:4], CONFIG), upto=START + 4 * MINUTE)
    running.stage = Measure(CONFIG, provisional=True)
    running.feed(moments(calls[4:], CONFIG), upto=START + 5 * MINUTE)
    (decisions,) = (metric for metric in running.provisional() if metric.lane == "decisions")
    assert (decisions.n_predictions, decisions.n) == (5, 5)


def test_provisional_figures_are_an_error_in_a_stage_created_without_them() -> None:
    running = MeasureRun(CONFIG)
    running.stage.process(Batch(records={WINDOW_PARTIALS: []}), running.state)
    with pytest.raises(ValueError, match="provisional=True"):
        running.stage.provisional(running.state)
