"""A rule that names no window reads the smallest one that usually holds enough rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.results import Alert, RuleWindows
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import DAY_MS, HOUR_MS, EpochMs
from driftline.streams.decide import Decide
from driftline.streams.decide.fitting_window import FittingWindow
from driftline.streams.stage import Batch
from tests.streams.figures import START_MS, traffic

SEED = 11
WEEK = 7 * DAY_MS
BY_DAY = range(7, 21)
RULES = ({"type": "threshold", "name": "error_rate", "metric": "error_rate", "above": 0.05},)


def days_of_traffic(
    per_day: int, days: int, *, errors: dict[int, float] | None = None, first_day: int = 0
) -> list[Any]:
    """Windows of hours, days and 7 days of a model that is used by day only, with the share of
    errors of each day; in the order in which stage 2 announces them.
    """
    rng = np.random.default_rng(SEED + first_day)
    hours = {
        day: {hour: int(rng.poisson(per_day / len(BY_DAY))) for hour in BY_DAY}
        for day in range(first_day - 7, first_day + days)
    }
    errors = errors or {}
    records = []
    for day in range(first_day, first_day + days):
        begin_ms = START_MS + day * DAY_MS
        rate = errors.get(day, 0.0)
        for hour, n in hours[day].items():
            if n:
                records.append(figures(begin_ms + (hour + 1) * HOUR_MS, HOUR_MS, "1h", n, rate))
        total = sum(hours[day].values())
        records.append(figures(begin_ms + DAY_MS, DAY_MS, "1d", total, rate))
        since = max(0, day - 6)
        week = sum(sum(hours[each].values()) for each in range(since, day + 1))
        of_week = sum(errors.get(each, 0.0) for each in range(since, day + 1)) / (day + 1 - since)
        share = (day + 1 - since) / 7
        records.append(
            figures(begin_ms + DAY_MS, WEEK, "7d/1d", week, of_week, covered_share=share)
        )
    return records


def figures(end_ms: int, size_ms: int, window: str, n: int, rate: float, **more: Any) -> Any:
    half = 1.96 * (max(rate * (1 - rate), 1e-9) / max(n, 1)) ** 0.5
    return traffic(
        end_ms,
        {"error_rate": rate},
        size_ms=size_ms,
        window=window,
        kind="sliding" if "/" in window else "tumbling",
        n_predictions=n,
        n=0,
        ci={"error_rate": (max(rate - half, 0.0), rate + half)},
        **more,
    )


class Run:
    def __init__(self) -> None:
        config = ModelConfig(rules=RULES, default_rules=False)
        # A rule without a name has that of its type once it is bound.
        self.stage, self.state = Decide(Config(defaults=config)), MemoryState()
        self.alerts: list[Alert] = []
        self.windows: list[RuleWindows] = []

    def feed(self, records: list[Any], batch: int = 1_000_000) -> None:
        for begin in range(0, len(records), batch):
            part = Batch(records={"metrics": records[begin : begin + batch]})
            for record in self.stage.process(part, self.state):
                (self.alerts if isinstance(record.value, Alert) else self.windows).append(
                    record.value
                )

    @property
    def read(self) -> str:
        """The window that the rule reads by its newest record."""
        return self.windows[-1].rules["error_rate"].window


@pytest.mark.parametrize(
    ("per_day", "window", "judges"),
    [(3000, "1h", True), (200, "1d", True), (40, "7d/1d", True), (5, "7d/1d", False)],
)
def test_the_smallest_window_that_usually_holds_100_rows_is_read(
    per_day: int, window: str, judges: bool
) -> None:
    # By day, 3,000 rows a day are 214 an hour; 40 a day are 280 a week, and 5 a day 35.
    run = Run()
    run.feed(days_of_traffic(per_day, 21))
    assert (run.read, run.windows[-1].rules["error_rate"].judges) == (window, judges)
    reason = run.windows[-1].rules["error_rate"].reason
    if judges:
        assert reason is None
    else:
        assert reason == "needs 100 predictions: 0 of 1 windows of 7d/1d have as many"
    assert len(run.windows) <= 3


def test_before_the_first_whole_week_nothing_is_said_about_its_window() -> None:
    run = Run()
    run.feed(days_of_traffic(5, 6))
    assert [each.rules["error_rate"].judges for each in run.windows] == [None] * len(run.windows)
    assert run.read == "7d/1d"


def test_a_model_with_40_rows_a_day_is_alarmed_about_errors_of_its_week() -> None:
    run = Run()
    run.feed(days_of_traffic(40, 30, errors=dict.fromkeys(range(20, 30), 0.5)))
    (alert,) = [alert for alert in run.alerts if alert.severity == "warning"][:1]
    assert (alert.status, alert.window) == ("firing", "7d/1d")
    # A day of errors is 0.07 of the week, two are 0.14 of about 280 rows.
    assert START_MS + 21 * DAY_MS <= alert.at_ms <= START_MS + 23 * DAY_MS


def test_the_choice_follows_the_traffic_and_an_open_alert_stays_with_its_window() -> None:
    run = Run()
    run.feed(days_of_traffic(200, 20, errors={19: 0.5}))
    assert (run.read, run.alerts[-1].window, run.alerts[-1].status) == ("1d", "1d", "firing")
    run.feed(days_of_traffic(3000, 20, errors=dict.fromkeys(range(20, 40), 0.5), first_day=20))
    assert run.read == "1d"
    assert {alert.window for alert in run.alerts} == {"1d"}
    run.feed(days_of_traffic(3000, 3, first_day=40))
    assert (run.alerts[-1].window, run.alerts[-1].status) == ("1d", "resolved")
    assert run.read == "1h"


def test_the_choice_does_not_depend_on_how_batches_are_cut() -> None:
    records = days_of_traffic(40, 20) + days_of_traffic(3000, 20, first_day=20)
    whole, cut = Run(), Run()
    whole.feed(records)
    cut.feed(records, batch=7)
    assert whole.windows == cut.windows
    assert whole.state.values == cut.state.values


def test_a_window_that_is_almost_usual_is_kept_and_not_taken() -> None:
    fit = FittingWindow("1h")
    for hour in range(20):
        fit = fit.with_rows("1h", hour * HOUR_MS, is_enough=hour % 20 < 9)
    fit = fit.with_rows("1d", DAY_MS, is_enough=True)
    # 9 of 20 windows are less than half, and more than 40 %.
    assert fit.chosen(("1h", "1d")).window == "1d"
    kept = FittingWindow("1h", True, fit.day, fit.week, fit.counts)
    assert kept.chosen(("1h", "1d")).window == "1h"


def test_weeks_before_the_last_one_are_forgotten() -> None:
    fit = FittingWindow("1d").with_rows("1d", WEEK, is_enough=True)
    next_week = fit.with_rows("1d", 2 * WEEK, is_enough=False)
    assert next_week.counts["1d"].all_windows == 2
    later = fit.with_rows("1d", 4 * WEEK, is_enough=False)
    assert later.counts["1d"].all_windows == 1


def test_the_time_of_a_record_is_that_of_the_figures() -> None:
    run = Run()
    run.feed(days_of_traffic(200, 10))
    assert isinstance(run.windows[0].at_ms, EpochMs)
    assert run.windows[0].key() == "churn/1.0.0/all"
