"""Facts that stage 2 reports to the registry, and registry entries in force in stage 2."""

from __future__ import annotations

import random
from statistics import variance
from typing import Any

import pytest

from driftline.schemas.config import parse_config
from driftline.schemas.results import Drift, RegistryCommand, WindowFigures
from driftline.schemas.times import format_time
from driftline.schemas.topics import (
    DRIFT,
    HISTOGRAMS,
    METRICS,
    REGISTRY,
    REGISTRY_COMMANDS,
    REGISTRY_EFFECTS,
)
from tests.streams.measure_calls import Call, MeasureRun, moments, run

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 19_000 * DAY
CONFIG = parse_config(
    """
    [defaults]
    windows = ["1d", "2d/1d"]
    maturity = ["6h"]
    label_horizon = "1d"
    reference = "3d"
    detection_window = "2d/1d"
    segments = ["plan"]
    last_n = []
    """
)


def stream(
    seed: int,
    days: int,
    *,
    per_day: int = 200,
    shift_after: int = 999,
    version: str = "1",
    first_day: int = 0,
) -> list[Call]:
    """Labelled predictions of `days` days; from day `shift_after` on the feature is larger."""
    draw = random.Random(seed)
    calls = []
    for key in range(days * per_day):
        day = key // per_day + first_day
        score = draw.random()
        label = "yes" if draw.random() < score else "no"
        at = START + day * DAY + key % per_day * (DAY // per_day) + draw.randrange(MINUTE)
        calls.append(
            Call(
                at=at,
                predicted="+" if score >= 0.5 else "-",
                version=version,
                score=score,
                features={"age": draw.gauss(40 + 25 * (day >= shift_after), 10)},
                changes=((draw.randrange(MINUTE, 12 * HOUR), label),),
                key=key + first_day * 100_000,
            )
        )
    return calls


def commands(running: MeasureRun, name: str) -> list[Any]:
    return [command for command in running.of(REGISTRY_COMMANDS) if command.command == name]


def test_a_version_is_registered_once_when_it_first_appears_in_the_stream() -> None:
    running = run(
        CONFIG,
        stream(1, 2) + stream(2, 1, version="2", first_day=1),
        end=START + 4 * DAY,
        registry=True,
    )
    assert [(c.model_version, c.timestamp) for c in commands(running, "register")] == [
        ("1", format_time(START + DAY)),
        ("2", format_time(START + 2 * DAY)),
    ]
    assert {c.requested_by for c in running.of(REGISTRY_COMMANDS)} == {"driftline"}
    assert len({c.command_id for c in running.of(REGISTRY_COMMANDS)}) == len(
        running.of(REGISTRY_COMMANDS)
    )


def test_the_reference_is_the_first_span_of_a_version_as_soon_as_it_is_complete() -> None:
    running = run(CONFIG, stream(3, 5), end=START + 8 * DAY, registry=True)
    (command,) = commands(running, "record_reference")
    assert command.timestamp == format_time(START + 3 * DAY)
    assert command.params["span"] == [format_time(START), format_time(START + 3 * DAY)]
    profile = command.params["profile"]
    assert profile["n"] == 600
    assert sum(profile["features"]["age"]["summary"]["numbers"]["counts"]) == 600
    assert sum(profile["score"]["summary"]["numbers"]["counts"]) == 600
    assert set(profile["prediction"]["summary"]["texts"]["values"]) == {"no", "yes"}


def long_before(days_ago: int, number: int, at: int = 0) -> list[Call]:
    """Misdated rows, a millisecond apart."""
    return [
        Call(
            at=START - days_ago * DAY + at + place,
            predicted="+",
            version="1",
            score=0.9,
            features={"age": 900.0},
            changes=((HOUR, "yes"),),
            key=10_000_000 + days_ago * 1_000 + place,
        )
        for place in range(number)
    ]


@pytest.mark.parametrize(
    "misdated",
    [
        long_before(38 * 365, 1),
        long_before(38 * 365, 20),
        long_before(38 * 365, 1, at=DAY - 1),
        long_before(38 * 365, 2) + long_before(12 * 365, 1),
        long_before(4, 1),
    ],
    ids=["one", "twenty", "at the end of a day", "twice", "four days before"],
)
def test_a_few_rows_long_before_all_others_are_no_reference(misdated: list[Call]) -> None:
    calls = stream(3, 9, shift_after=5)
    running = run(CONFIG, misdated + calls, end=START + 12 * DAY, registry=True)
    alone = run(CONFIG, calls, end=START + 12 * DAY, registry=True)
    for name in ("record_reference", "record_baseline"):
        assert [command.params for command in commands(running, name)] == [
            command.params for command in commands(alone, name)
        ]
    assert running.of(DRIFT) == alone.of(DRIFT) != []
    covered = [
        {
            (each.lane, each.window, each.maturity, each.window_end_ms): each.covered_share
            for each in of_run.of(METRICS)
            if each.window != "since_deployment"
        }
        for of_run in (running, alone)
    ]
    assert covered[1].items() <= covered[0].items()
    assert set(covered[1].values()) == {1.0, 0.5}  # two days, of which the first has no rows


def test_rows_long_before_are_passed_over_wherever_the_stream_is_cut() -> None:
    calls = long_before(20, 3) + stream(3, 9, shift_after=5)
    whole = run(CONFIG, calls, end=START + 12 * DAY, registry=True)
    cut = run(
        CONFIG,
        calls,
        end=START + 12 * DAY,
        cuts=[1, 2, 30, 1000, 1700],
        partitions=2,
        restarting=True,
        registry=True,
    )
    for topic in (DRIFT, REGISTRY_COMMANDS):
        assert cut.of(topic) == whole.of(topic) != []


def test_rows_of_more_than_a_day_or_more_than_twenty_are_a_reference() -> None:
    for early in (long_before(10, 21), long_before(10, 1) + long_before(9, 1)):
        running = run(CONFIG, early + stream(3, 5), end=START + 8 * DAY, registry=True)
        (command,) = commands(running, "record_reference")
        assert command.params["span"][0] == format_time(START - 10 * DAY)


def test_baselines_are_the_figures_of_the_span_at_each_rung_with_their_daily_variance() -> None:
    calls = stream(4, 5)
    running = run(CONFIG, calls, end=START + 8 * DAY, registry=True)
    baselines = {
        command.params["maturity"]: command for command in commands(running, "record_baseline")
    }
    assert list(baselines) == ["-", "6h", "1d"]
    assert [baselines[name].timestamp for name in ("-", "6h", "1d")] == [
        format_time(START + 3 * DAY + wait) for wait in (0, 6 * HOUR, DAY)
    ]
    for maturity, rung in (("6h", 6 * HOUR), ("1d", DAY)):
        days = [
            [call for call in calls if 0 <= call.at - START - day * DAY < DAY] for day in range(3)
        ]
        derived = {"+": "yes", "-": "no"}
        right = [
            [
                derived[call.predicted] == call.label_at(rung)
                for call in day
                if call.label_at(rung) is not None
            ]
            for day in days
        ]
        params = baselines[maturity].params
        hits = [hit for day in right for hit in day]
        assert (params["n"], params["n_predictions"], params["days"]) == (len(hits), 600, 3)
        assert params["metrics"]["accuracy"] == pytest.approx(sum(hits) / len(hits), abs=1e-6)
        daily = [sum(day) / len(day) for day in right]
        assert params["daily_variance"]["accuracy"] == pytest.approx(variance(daily), rel=1e-3)


def test_drift_is_tested_against_the_reference_in_force_and_only_the_shifted_target_drifts() -> (
    None
):
    running = run(CONFIG, stream(5, 12, shift_after=8), end=START + 13 * DAY, registry=True)
    drift: list[Drift] = running.of(DRIFT)
    assert min(d.window_end_ms for d in drift) == START + 4 * DAY, (
        "in force from the step after the entry"
    )
    assert {d.reference_id for d in drift} == {
        commands(running, "record_reference")[0].params["reference_id"]
    }
    levels = {(d.target, d.method, d.window_end_ms): d.level for d in drift}
    for method in ("ks", "psi"):
        assert levels["feature:age", method, START + 7 * DAY] == "none"
        assert levels["feature:age", method, START + 10 * DAY] == "severe"
        assert levels["score", method, START + 10 * DAY] == "none"
    assert levels["prediction", "psi", START + 10 * DAY] == "none"
    assert all(
        d.p_adjusted is None or (d.p_value is not None and d.p_adjusted >= d.p_value) for d in drift
    )


def test_missing_values_of_a_feature_are_the_rows_without_it() -> None:
    calls = [
        Call(call.at, features=call.features if call.key % 4 else {}, key=call.key, score=0.3)
        for call in stream(6, 6)
    ]
    drift = run(CONFIG, calls, end=START + 7 * DAY, registry=True).of(DRIFT)
    assert drift[0].details == {"missing_share": 0.25, "reference_missing_share": 0.25}


def shares(running: MeasureRun, method: str = "missing") -> dict[int, Drift]:
    """The results of the feature by day of the end of the window, from 0."""
    return {
        (d.window_end_ms - START) // DAY: d
        for d in running.of(DRIFT)
        if (d.target, d.method) == ("feature:age", method)
    }


def test_a_feature_that_is_sent_no_longer_is_missing_in_all_rows() -> None:
    calls = [
        Call(c.at, features=c.features if c.at < START + 5 * DAY else {}, key=c.key, score=0.3)
        for c in stream(9, 8)
    ]
    running = run(CONFIG, calls, end=START + 9 * DAY, registry=True)
    missing = shares(running)
    #   days  0--1--2--3--4--5--6--7--8     reference: days 0 to 2; windows of two days
    #         age............|none.....
    assert {day: (d.details["missing_share"], d.level) for day, d in missing.items()} == {
        6: (0.5, "severe"),
        7: (1.0, "severe"),
        8: (1.0, "severe"),
    }
    assert {d.details["reference_missing_share"] for d in missing.values()} == {0.0}
    assert missing[7].statistic == pytest.approx(3.14159)
    values = shares(running, "ks")
    assert {d.level for day, d in values.items() if day >= 7} == {"insufficient_data"}


def test_values_that_have_always_gone_missing_in_bursts_raise_no_alert() -> None:
    # A feed that fails for hours at a time, in the reference as later: 24 rows are one observation.
    fails = random.Random(10).choices((True, False), k=10 * 8)
    calls = [
        Call(
            c.at,
            features={} if fails[(c.at - START) // (3 * HOUR)] else c.features,
            key=c.key,
            score=0.3,
        )
        for c in stream(10, 10)
    ]
    missing = shares(run(CONFIG, calls, end=START + 11 * DAY, registry=True))
    # An alert needs "moderate". A window has 400 rows.
    assert {d.level for d in missing.values()} <= {"none", "mild", "insufficient_data"}
    assert all(d.n_effective is not None and d.n_effective < 60 for d in missing.values())


def test_a_window_that_begins_before_its_version_has_no_verdict() -> None:
    #   days  0--1--2--3--4--5--6--7--8     version 2 begins at noon of day 4
    #                  [---5)               windows of two days
    #                     [---6)
    calls = stream(11, 4)
    calls += [
        c for c in stream(12, 4, version="2", first_day=4) if c.at >= START + 4 * DAY + 12 * HOUR
    ]
    running = MeasureRun(CONFIG, registry=True)
    made = moments(calls, CONFIG)
    running.feed([m for m in made if m.at < START + 4 * DAY], upto=START + 4 * DAY)
    reference_id = commands(running, "record_reference")[0].params["reference_id"]
    running.entries["m", "2"] = {"stage": "production", "reference_id": reference_id}
    command = RegistryCommand(
        command_id="c",
        command="set_reference",
        model_name="m",
        timestamp=format_time(START),
        requested_by="ann",
        model_version="2",
    )
    running.call({REGISTRY: [running.entry(command)]})
    running.feed([m for m in made if m.at >= START + 4 * DAY], upto=START + 9 * DAY)
    ages = {
        (d.window_end_ms - START) // DAY: d
        for d in running.of(DRIFT)
        if (d.model_version, d.target, d.method) == ("2", "feature:age", "ks")
    }
    assert {day: d.covered_share for day, d in ages.items() if day < 8} == {5: 0.25, 6: 0.75, 7: 1}
    assert [ages[day].level for day in (5, 6, 7)] == ["insufficient_data"] * 2 + ["none"]
    assert ages[6].n_current == 300
    assert ages[6].reason == (
        "covered in part: data for 1.5 of 2 days; the data of the version begin at "
        + format_time(START + 4 * DAY + 12 * HOUR)
    )
    assert (ages[6].statistic, ages[6].p_value, ages[6].effect) == (None, None, None)


def test_rows_that_keep_one_value_for_hours_are_too_few_to_judge_drift() -> None:
    # A value that holds for eight hours: the 400 rows of a detection window are six observations.
    values = random.Random(8).choices((20.0, 60.0), k=18)
    calls = [
        Call(c.at, features={"age": values[(c.at - START) // (8 * HOUR)]}, key=c.key)
        for c in stream(8, 6)
    ]
    drift: list[Drift] = run(CONFIG, calls, end=START + 7 * DAY, registry=True).of(DRIFT)
    ages = [d for d in drift if d.target == "feature:age"]
    assert {d.n_current for d in ages if d.window_end_ms <= START + 6 * DAY} == {400}
    assert {(d.level, d.reason) for d in ages} == {
        (
            "insufficient_data",
            "too few independent rows on one side: its rows are correlated in time",
        )
    }
    assert all(d.n_effective is not None and d.n_effective < 20 for d in ages)


def test_predicted_labels_are_tested_for_drift_without_scores() -> None:
    turned = START + 8 * DAY
    calls = [
        Call(
            c.at,
            predicted="yes" if c.key % 4 == 0 or (c.at >= turned and c.key % 2) else "no",
            key=c.key,
        )
        for c in stream(7, 12)
    ]
    drift: list[Drift] = run(CONFIG, calls, end=START + 13 * DAY, registry=True).of(DRIFT)
    levels = {(d.target, d.window_end_ms): d.level for d in drift if d.method == "psi"}
    assert levels["prediction", START + 7 * DAY] == "none"
    assert levels["prediction", START + 10 * DAY] == "severe"
    assert not any(d.target == "score" for d in drift)


def test_a_new_revision_is_in_force_from_the_next_step_with_one_effect_record() -> None:
    running = run(CONFIG, stream(7, 4), end=START + 5 * DAY, registry=True)
    effects = running.of(REGISTRY_EFFECTS)
    assert [effect.revision for effect in effects] == sorted(
        {effect.revision for effect in effects}
    )
    revisions = [m.registry_revision for m in running.of(METRICS)]
    assert revisions == sorted(revisions)
    first = effects[0]
    assert first.frontier == format_time(START + DAY + MINUTE), (
        "edge of the first day and the grace of predictions"
    )
    before = [m for m in running.of(METRICS) if m.registry_revision < first.revision]
    assert {m.window_end_ms for m in before if m.lane == "traffic"} == {START + DAY}


def test_since_deployment_begins_with_the_pane_after_the_deployment() -> None:
    calls = stream(8, 5)
    running = MeasureRun(CONFIG)
    parts = moments(calls, CONFIG)
    deployed = START + 2 * DAY + 5 * HOUR + 10 * MINUTE
    early = [moment for moment in parts if moment.at < deployed]
    running.feed(early, upto=deployed)
    running.deployed("m", "1", deployed)
    running.feed(parts[len(early) :], upto=START + 9 * DAY)
    since = [m for m in running.of(METRICS) if m.kind == "since_deployment"]
    after = [m for m in since if m.window_end_ms >= START + 3 * DAY and m.maturity == "1d"]
    begin = START + 2 * DAY + 6 * HOUR
    assert after
    for metric in after:
        assert metric.window_start_ms == begin
        assert metric.n_predictions == sum(
            begin <= call.at < metric.window_end_ms for call in calls
        )
    assert {
        m.window_start_ms for m in since if m not in after and m.window_end_ms < START + 3 * DAY
    } == {START}


def test_completeness_is_known_once_a_window_is_final_and_is_one_at_the_last_rung() -> None:
    calls = stream(9, 8)
    days: list[WindowFigures] = [
        m
        for m in run(CONFIG, calls, end=START + 12 * DAY).of(METRICS)
        if m.lane == "decisions" and m.window == "1d"
    ]
    early = {m.window_start_ms: m.completeness for m in days if m.maturity == "6h"}
    # The first day is final at the end of the second day; the 6h rung of the second day follows 6
    # hours later.
    assert early[START] is None
    known = sum(call.label_at(6 * HOUR) is not None for call in calls if call.at < START + DAY)
    assert early[START + DAY] == pytest.approx(known / 200, abs=1e-6)
    assert {m.completeness for m in days if m.final} == {1.0}


def test_a_version_in_production_is_watched_for_silence_beyond_thirty_days() -> None:
    running = MeasureRun(CONFIG)
    running.feed(moments(stream(10, 1), CONFIG), upto=START + 2 * DAY)
    running.feed([], upto=START + 40 * DAY)
    quiet = [
        m.window_end_ms
        for m in running.of(METRICS)
        if m.lane == "traffic" and m.window == "1d" and not m.n_predictions
    ]
    assert max(quiet) == START + 30 * DAY, (
        "the last traffic is then 29 days back; a day later it is 30"
    )
    running.deployed("m", "1", START + 40 * DAY)
    running.feed([], upto=START + 45 * DAY)
    quiet = [
        m.window_end_ms
        for m in running.of(METRICS)
        if m.lane == "traffic" and m.window == "1d" and not m.n_predictions
    ]
    assert max(quiet) == START + 44 * DAY


def test_histograms_hold_the_scores_of_the_figures() -> None:
    calls = stream(11, 2)
    running = run(CONFIG, calls, end=START + 5 * DAY)
    histograms = [
        h
        for h in running.of(HISTOGRAMS)
        if h.window == "1d" and h.final and h.window_start_ms == START
    ]
    (histogram,) = histograms
    counted = sum(
        sum(bins.values()) for half in (histogram.fit, histogram.holdout) for bins in half.values()
    )
    assert (histogram.labels, histogram.positive_label, counted) == (["no", "yes"], "yes", 200)
    odd = sum(call.key & 1 for call in calls if call.at < START + DAY)
    assert sum(sum(bins.values()) for bins in histogram.holdout.values()) == odd


def test_state_stays_bounded_while_time_goes_on() -> None:
    # Without "since deployment", whose score bins keep filling up.
    config = parse_config(
        '[defaults]\nwindows = ["1d", "2d/1d"]\nmaturity = ["6h"]\nlabel_horizon = "1d"\n'
        'reference = "3d"\nsince_deployment = false'
    )
    running = MeasureRun(config)
    sizes = []
    for day in range(56):
        running.feed(
            moments(stream(day, 1, per_day=40, first_day=day), config), upto=START + (day + 1) * DAY
        )
        sizes.append((len(running.state.values), sum(map(len, running.state.values.values()))))
    # Completeness looks back 28 days.
    assert sizes[55][0] <= sizes[40][0] + 3
    assert sizes[55][1] <= 1.1 * sizes[40][1]


@pytest.mark.parametrize("cuts", [(), (100, 300, 301, 900)])
def test_drift_and_facts_are_the_same_for_a_stage_restarted_between_calls(
    cuts: tuple[int, ...],
) -> None:
    calls = stream(12, 6, per_day=120)
    whole = run(CONFIG, calls, end=START + 8 * DAY, registry=True)
    resumed = run(CONFIG, calls, end=START + 8 * DAY, registry=True, restarting=True, cuts=cuts)
    assert len(whole.of(DRIFT)) > 10
    assert resumed.records == whole.records
