"""The budget of error_rate, latency and coverage: evidence over windows, and a level."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import pytest
from scipy import stats

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.results import Alert, WindowFigures
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import DAY_MS, HOUR_MS, format_time
from driftline.schemas.topics import ALERTS
from driftline.streams.decide import Decide, build_rules
from driftline.streams.decide.daily_variance import student
from driftline.streams.decide.detectors.level_evidence import (
    LevelEvidence,
    Trial,
    raised,
    with_window,
)
from driftline.streams.decide.judgement import Situation
from driftline.streams.decide.level_rule import LevelRule
from driftline.streams.decide.rules.coverage import CoverageRule
from driftline.streams.decide.rules.latency import rows_above
from driftline.streams.intervals import quantile_ranks
from driftline.streams.stage import Batch
from tests.streams.figures import START_MS, entry, metric, traffic

SEED = 17
HOURS_A_YEAR = 8766.0
Counts = list[tuple[int, int]]


def breaches(windows: Counts, allowed: float, level: float, limit: float) -> list[int]:
    """Windows with which a breach begins."""
    evidence, found, was = LevelEvidence(), [], False
    for number, (n, hits) in enumerate(windows):
        trial = Trial(n, hits, allowed, raised(level))
        evidence, severity, _, _ = with_window(
            evidence, "1h", number, {"warning": trial}, trial, limit
        )
        if severity and not was:
            found.append(number)
        was = severity is not None
    return found


@pytest.mark.parametrize("seed", range(5))
def test_evidence_is_page_s_statistic_of_all_rows(seed: int) -> None:
    random = np.random.default_rng(SEED + seed)
    n = random.integers(200, 400, 60)
    hits = random.binomial(n, np.where(np.arange(60) < 40, 0.04, 0.07))
    # By the recursion over windows, from the probabilities themselves; 200 rows with 0.0096 nats
    # each are more than one nat, so that the limit is the number of windows.
    statistic, first = 0.0, None
    for number in range(60):
        k, m = int(hits[number]), int(n[number])
        gain = k * log(0.0731707317 / 0.04) + (m - k) * log((1 - 0.0731707317) / 0.96)
        statistic = max(statistic + gain, 0.0)
        if first is None and statistic >= log(1000.0):
            first = number
    found = breaches(list(zip(n.tolist(), hits.tolist(), strict=True)), 0.04, 0.05, 1000.0)
    assert first is not None
    assert found[0] == first >= 40


@pytest.mark.parametrize("rows_an_hour", [1.67, 8.3, 83.0, 1000.0])
@pytest.mark.parametrize("allowed", [0.04, 0.05])
def test_at_the_allowed_share_false_alarms_are_within_the_budget(
    rows_an_hour: float, allowed: float
) -> None:
    random, years = np.random.default_rng(SEED), 5
    n = random.poisson(rows_an_hour, years * int(HOURS_A_YEAR))
    hits = random.binomial(n, allowed)
    windows = [(m, k) for m, k in zip(n.tolist(), hits.tolist(), strict=True) if m]
    found = breaches(windows, allowed, 0.05, HOURS_A_YEAR / 1.0)
    # At most as many as 99.9 % of Poisson variables with the mean of the budget, one a year.
    assert len(found) <= stats.poisson.ppf(0.999, years), f"seed {SEED}"


class Run:
    """Feeds records to stage 3 and collects the alerts."""

    def __init__(self, *rules: dict[str, Any], **settings: Any) -> None:
        config = ModelConfig(rules=rules, default_rules=False, **settings)
        self.stage, self.state = Decide(Config(defaults=config)), MemoryState()

    def feed(self, *records: Any, topic: str = "metrics") -> list[Alert]:
        found = self.stage.process(Batch(records={topic: list(records)}), self.state)
        return [record.value for record in found if record.topic == ALERTS]


def errors(hour: int, rate: float, n: int = 200, **more: Any) -> WindowFigures:
    return traffic(START_MS + (hour + 1) * HOUR_MS, {"error_rate": rate}, n_predictions=n, **more)


def test_errors_that_no_hour_proves_fire_and_say_since_when_and_how_many() -> None:
    run = Run({"type": "error_rate", "false_alarms": 0.1})
    assert run.feed(*(errors(hour, 0.01) for hour in range(48))) == []
    alerts = [alert for hour in range(48, 72) for alert in run.feed(errors(hour, 0.08))]
    (fired,) = alerts
    # An hour of 16 errors in 200 rows has 16 ln(0.0732 / 0.04) + 184 ln(0.9268 / 0.96) = 3.19 nats;
    # ln(8766 / 0.1) = 11.38 are reached by four.
    assert fired.at_ms == START_MS + 52 * HOUR_MS
    assert (fired.severity, fired.threshold) == ("warning", 0.05)
    assert fired.summary == (
        "Error rate of churn 1.0.0 was above 0.05 over the 4 hours to 2026-01-03 04:00: 8 % of 800 "
        "predictions ended in an error."
    )
    assert fired.details["since"] == format_time(START_MS + 48 * HOUR_MS)
    assert (fired.details["share_since"], fired.details["n_since"]) == (pytest.approx(0.08), 800)
    assert fired.details["false_alarms_per_year"] == 0.1
    # 2 errors in 200 rows: 2 ln(0.04 / 0.0732) + 198 ln(0.96 / 0.9268) = 5.76 nats, ln(20) = 3.
    (resolved,) = run.feed(errors(72, 0.01))
    assert (resolved.status, resolved.at_ms) == ("resolved", START_MS + 73 * HOUR_MS)
    assert "was below 0.04 over the hour" in resolved.summary


def test_a_model_with_few_rows_is_alarmed_about_many_errors_within_a_day() -> None:
    run = Run({"type": "error_rate"})
    assert run.feed(*(errors(hour, 0.0, n=2) for hour in range(200))) == []
    # Two errors an hour: 1.21 nats. The limit is ln(8766 / 0.1 * 2 * 0.0096) = 7.43 nats.
    alerts = [alert for hour in range(200, 220) for alert in run.feed(errors(hour, 1.0, n=2))]
    assert [(alert.severity, alert.at_ms) for alert in alerts[:1]] == [
        ("warning", START_MS + 207 * HOUR_MS)
    ]
    assert [alert.change for alert in alerts] == ["firing", "escalated"]


def test_rows_of_overlapping_windows_count_once() -> None:
    (rule,) = build_rules(
        ModelConfig(rules=({"type": "error_rate", "window": "7d/1d"},), default_rules=False)
    )
    assert isinstance(rule, LevelRule)
    evidence = LevelEvidence()
    for day in range(14):
        week = errors(
            24 * day + 23, 0.08, n=700, size_ms=7 * DAY_MS, window="7d/1d", kind="sliding"
        )
        evidence, _ = rule.judge_next(week, Situation(config=ModelConfig()), evidence)
    # 14 windows of 700 rows, each of which seven windows have.
    assert evidence.above["warning"].n == pytest.approx(14 * 100)
    assert evidence.above["warning"].hits == pytest.approx(14 * 8)


def latencies(values: Any) -> WindowFigures:
    """The quantiles of an hour and their intervals, from the sorted values."""
    n, metrics, ci = len(values), {}, {}
    for name, q in (("latency_p50", 0.5), ("latency_p95", 0.95), ("latency_p99", 0.99)):
        low, high = (float(each[0]) for each in quantile_ranks(q, np.array([n])))
        read = [
            float(values[min(max(int(np.ceil(each * n)), 1), n) - 1]) for each in (low, q, high)
        ]
        metrics[name], ci[name] = read[1], (read[0], read[2])
    return traffic(START_MS + HOUR_MS, metrics, n_predictions=n, ci=ci)


def test_rows_above_a_level_are_exact_where_the_order_statistics_tell() -> None:
    figures = latencies(np.arange(1.0, 21.0))  # 20 rows; 95 % is the 19th
    for level, above in ((21.0, 0), (20.0, 0), (19.5, 1), (19.0, 1)):
        assert rows_above(figures, level) == above
    random = np.random.default_rng(SEED)
    for n in (1, 2, 3, 8, 30, 300, 3000):
        values = np.sort(random.lognormal(6.0, 0.5, n))
        figures = latencies(values)
        known = [*figures.metrics.values(), *(end for ci in figures.ci.values() for end in ci)]
        for level in np.quantile(values, np.linspace(0.0, 1.0, 41)) * 1.0001:
            # Between two known values at most as many rows are above as above the lower one, at
            # least those from the greater one on.
            lower = [value for value in known if value is not None and value <= level]
            greater = [value for value in known if value is not None and value > level]
            most = int((values > max(lower)).sum()) if lower else n
            least = int((values >= min(greater)).sum()) if greater else 0
            found = rows_above(figures, float(level))
            assert least - 1e-9 <= found <= most + 1e-9, (n, level)


def test_rows_above_a_level_are_right_on_the_average() -> None:
    random = np.random.default_rng(SEED)
    for median in (430.0, 500.0):
        found, above = 0.0, 0
        for _ in range(200):
            values = np.sort(median * random.lognormal(0.0, 0.5, 300))
            found += rows_above(latencies(values), 1000.0)
            above += int((values > 1000.0).sum())
        # 200 samples of 14 and 25 rows above; those of latencies whose tail is log-normal.
        assert found == pytest.approx(above, rel=0.03), f"seed {SEED}, median {median}"


def test_latency_fires_where_more_than_five_percent_are_slower_than_the_level() -> None:
    run = Run({"type": "latency", "warning_ms": 1000.0})
    random = np.random.default_rng(SEED)

    def hours(first: int, last: int, median_ms: float) -> list[Alert]:
        alerts = []
        for hour in range(first, last):
            figures = latencies(np.sort(median_ms * random.lognormal(0.0, 0.5, 200)))
            end_ms = START_MS + (hour + 1) * HOUR_MS
            alerts += run.feed(traffic(end_ms, figures.metrics, n_predictions=200, ci=figures.ci))
        return alerts

    # The 95 % quantile is 2.28 times the median: 912 ms, then 1,596 ms, with 24 % above 1 s.
    assert hours(0, 100, 400.0) == []
    (fired, *others) = hours(100, 130, 700.0)
    assert (fired.severity, others) == ("warning", []), f"seed {SEED}"
    # 48 of 200 rows: 48 ln(0.0732 / 0.05) + 152 ln(0.9268 / 0.95) = 14.5 nats. The limit is
    # ln(8766 / 0.1 * 200 * 0.0044) = 11.25, so one or two hours.
    assert fired.at_ms <= START_MS + 102 * HOUR_MS
    assert "predictions took longer" in fired.summary
    assert [alert.status for alert in hours(130, 150, 300.0)] == ["resolved"]


def test_the_tail_of_coverage_by_hand() -> None:
    rule, config = CoverageRule().bound(ModelConfig()), ModelConfig()
    day = metric(START_MS + DAY_MS, {})
    week = metric(START_MS + 7 * DAY_MS, {}, size_ms=7 * DAY_MS, window="7d/1d", kind="sliding")
    # Two days in a row are independent; two weeks that overlap count as one.
    assert rule._tail(day, config) == pytest.approx((0.1 / 365.25) ** 0.5)
    assert rule._tail(week, config) == pytest.approx(0.1 / 365.25)


def test_coverage_that_falls_by_a_little_more_than_its_level_fires_beyond_chance_only() -> None:
    def fired(n: int) -> list[Alert]:
        run = Run({"type": "coverage", "maturity": "1d"})
        baseline = {
            "metrics": {"label_coverage": 0.95},
            "ci": {"label_coverage": [0.94, 0.96]},
            "span": [format_time(START_MS - 30 * DAY_MS), format_time(START_MS)],
            "daily_variance": {"label_coverage": 0.0001},
            "days": 30,
        }
        run.feed(entry(baseline=baseline), topic="registry")
        half = 1.96 * (0.85 * 0.15 / n) ** 0.5
        days = [
            metric(
                START_MS + (day + 1) * DAY_MS,
                {"label_coverage": 0.85},
                ci={"label_coverage": (0.85 - half, 0.85 + half)},
                n_predictions=n,
                n=round(0.85 * n),
            )
            for day in range(3)
        ]
        return [alert for day in days for alert in run.feed(day)]

    # A fall by 10.5 %. The standard deviations of 1,000 rows and of the baseline are 0.0113 and
    # 0.0051, of 100 rows 0.0357 and 0.0051: the fall of 0.1 is 8.1 and 2.8 of them together, and
    # Student's t with 29 degrees of freedom and a tail of 0.0165 is 2.24. So is it for 60 rows,
    # where it is 2.15 of them.
    assert [alert.at_ms for alert in fired(1000)] == [START_MS + 3 * DAY_MS]
    assert [alert.at_ms for alert in fired(100)] == [START_MS + 3 * DAY_MS]
    assert fired(60) == []


@pytest.mark.parametrize(
    ("freedom", "tail", "rel"),
    [(29, 0.0165, 1e-3), (29, 2.7e-4, 2e-3), (8, 0.0165, 2e-3), (27, 1e-4, 5e-3)],
)
def test_student_s_quantile_equals_scipy(freedom: int, tail: float, rel: float) -> None:
    assert student(freedom, tail) == pytest.approx(stats.t.isf(tail, freedom), rel=rel)
