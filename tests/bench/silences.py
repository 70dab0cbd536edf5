"""False alarms and delay of the default rules on silence, `no_data` and `no_labels`.

Predictions of a simulated model are a Poisson process with a pattern of the day and the week; their
labels become known after a log-normal delay, at once or with the next batch. The rules judge every
hour of a year, as in stage 3. A stop has two months before and after it. `make bench-statistics`
runs it, as does `python -m tests.bench.silences` by itself.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import HOUR_MS, EpochMs
from driftline.streams.decide.activity import Activity, silence_limit_ms
from driftline.streams.decide.judgement import Judgement, Situation
from driftline.streams.decide.label_feed import DELAY, LabelFeed
from driftline.streams.decide.rules.no_data import NoDataRule
from driftline.streams.decide.rules.no_labels import NoLabelsRule
from driftline.streams.measure.timing.silence import is_announced
from tests.bench.simulated_outcomes import DELAY_SIGMA, MEDIAN_DELAY_DAYS, YEAR

Ints = NDArray[np.int64]

PER_DAY = (20, 40, 200, 5000)
PATTERNS = (
    ("even", 1.0, 1.0),
    ("nights of 10 %, weekends of 20 %", 0.1, 0.2),
    ("no nights, weekends of 20 %", 0.0, 0.2),
    ("no nights, no weekends", 0.0, 0.0),
)
"""Name, rate at night (21 to 7 o'clock) and rate on Saturdays and Sundays, as shares of that by
day.
"""
BATCHES = (("at once", 0), ("nightly", 24), ("weekly", 168))
"""Name, and hours from batch to batch; batches are at 2 o'clock."""
FALSE_ALARMS = 0.1
WEEK_HOURS, YEAR_HOURS = 7 * 24, YEAR * 24
FIRST_STOP_DAY = 60
HORIZON_HOURS = 30 * 24


class Hours(NamedTuple):
    """Number of predictions, and of labels that became known, in each hour; and the 95 % quantile
    of the delay.
    """

    predictions: Ints
    labels: Ints
    p95_ms: int


class Silence(NamedTuple):
    """Alerts of a rule, in hours since the begin, and the longest silence before the stop."""

    fired: list[int]
    longest: int

    def delay(self, stop: int) -> float:
        """Hours from the stop to the first alert after it; infinite without one."""
        return next((float(hour - stop) for hour in self.fired if hour > stop), np.inf)


def simulated_hours(
    per_day: float, night: float, weekend: float, batch_hours: int, rng: np.random.Generator
) -> Hours:
    """A year of one model, which begins on a random hour of the week."""
    week = np.arange(WEEK_HOURS)
    by_day = (week % 24 >= 7) & (week % 24 < 21)
    rates = np.where(by_day, 1.0, night) * np.where(week // 24 >= 5, weekend, 1.0)
    rates *= 7 * per_day / rates.sum()
    begin = int(rng.integers(WEEK_HOURS))
    hours = np.arange(YEAR_HOURS)
    predictions = rng.poisson(rates[(hours + begin) % WEEK_HOURS])
    made = np.repeat(hours, predictions) + rng.random(int(predictions.sum()))
    delays = 24 * MEDIAN_DELAY_DAYS * np.exp(DELAY_SIGMA * rng.standard_normal(len(made)))
    known = made + delays
    if batch_hours:
        known = np.ceil((known + begin - 2) / batch_hours) * batch_hours - begin + 2
    in_time = known - made < HORIZON_HOURS
    p95_ms = round(float(np.quantile((known - made)[in_time], 0.95)) * HOUR_MS)
    at = np.floor(known[in_time]).astype(np.int64)
    return Hours(predictions, np.bincount(at, minlength=YEAR_HOURS)[:YEAR_HOURS], p95_ms)


def predictions_stop(predictions: Ints, stop: int = YEAR_HOURS) -> Silence:
    """`no_data` on a year of predictions, none of which come from the hour `stop` on."""
    rule, fired, is_open = NoDataRule().bound(_CONFIG), [], False
    activity: Activity | None = None
    longest = 0
    for hour, n in enumerate(predictions.tolist()):
        if n and hour < stop:
            if activity is None:
                activity = Activity(hour * HOUR_MS, (hour + 1) * HOUR_MS)
                continue
            longest = max(longest, hour - activity.last_ms // HOUR_MS)
            limit_ms = silence_limit_ms(activity, HOUR_MS)
            activity = activity.with_window(hour * HOUR_MS, (hour + 1) * HOUR_MS, limit_ms)
            is_open = False
        elif activity is not None and not is_open:
            end_ms = (hour + 1) * HOUR_MS
            if is_announced(end_ms - activity.last_ms, HOUR_MS):
                judged = _judged(rule, hour, 0, Situation(config=_CONFIG, activity=activity))
                if judged.verdict == "breach":
                    fired.append(hour + 1)
                    is_open = True
    return Silence(fired, longest)


def labels_stop(hours: Hours, stop: int = YEAR_HOURS) -> Silence:
    """`no_labels` on a year of predictions and labels, none of which come from the hour `stop`
    on.
    """
    rule, fired, is_open = NoLabelsRule().bound(_CONFIG), [], False
    feed, last, longest = LabelFeed(), -1, 0
    for hour, (n, labels) in enumerate(
        zip(hours.predictions.tolist(), hours.labels.tolist(), strict=True)
    ):
        # The traffic of an hour is judged before the labels of that hour are known.
        if n:
            situation = Situation(config=_CONFIG, label_feed=feed, labels_upto_ms=hour * HOUR_MS)
            judged = _judged(rule, hour, n, situation)
            if judged.verdict == "breach" and not is_open:
                fired.append(hour + 1)
            is_open = judged.verdict == "breach" or (is_open and judged.verdict != "clear")
        if hour == HORIZON_HOURS + WEEK_HOURS:
            feed = feed.with_delay(_figures(hour, 0, {DELAY: float(hours.p95_ms)}), rung=5)
        if labels and hour < stop:
            if last >= 0:
                longest = max(longest, hour - last)
            last = hour
            feed = feed.with_labels(_figures(hour, labels, {}), HORIZON_HOURS * HOUR_MS)
    return Silence(fired, longest)


class Rates(NamedTuple):
    """False alarms a model-year of `no_data` and of `no_labels`, over all models of a table."""

    no_data: float
    no_labels: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.silences", description=__doc__)
    parser.add_argument("--models", type=int, default=10, help="models of each kind")
    parser.add_argument("--seed", type=int, default=500, help="seed of the first kind")
    options = parser.parse_args(arguments)
    silences(options.models, itertools.count(options.seed))


def silences(models: int, seeds: Iterator[int]) -> Rates:
    """Print the tables and what they come to."""
    rates = Rates(_no_data_table(models, seeds), _no_labels_table(models, seeds))
    for name, rate in rates._asdict().items():
        verdict = "reached" if rate <= FALSE_ALARMS else "NOT REACHED"
        print(
            f"{name}: {rate:.3f} false alarms a model-year "
            f"(target at most {FALSE_ALARMS:g}: {verdict})"
        )
    return rates


def _no_data_table(models: int, seeds: Iterator[int]) -> float:
    print(
        "| predictions a day | pattern | models | no_data, false alarms a year "
        "| stop noticed, hours (median, longest) | longest silence before, hours (median) "
        "| seed |\n|---|---|---|---|---|---|---|"
    )
    rates = []
    for per_day, (name, night, weekend) in itertools.product(PER_DAY, PATTERNS):
        seed = next(seeds)
        rng = np.random.default_rng(seed)
        quiet, delays, longest = 0, [], []
        for _ in range(models):
            hours = simulated_hours(per_day, night, weekend, 0, rng)
            quiet += len(predictions_stop(hours.predictions).fired)
            stop = stop_hour(rng)
            stopped = predictions_stop(hours.predictions, stop)
            delays.append(stopped.delay(stop))
            longest.append(stopped.longest)
        rates.append(quiet / models)
        print(
            f"| {per_day:,} | {name} | {models} | {rates[-1]:.3f} "
            f"| {np.median(delays):g}, {max(delays):g} | {np.median(longest):g} | {seed} |",
            flush=True,
        )
    print()
    return float(np.mean(rates))


def _no_labels_table(models: int, seeds: Iterator[int]) -> float:
    print(
        "| predictions a day | pattern | labels | models | no_labels, false alarms a year "
        "| stop noticed, days (median, longest) | bound, days (median) | later than the bound "
        "| seed |\n|---|---|---|---|---|---|---|---|---|"
    )
    rates = []
    for per_day, (name, night, weekend), (batch, batch_hours) in itertools.product(
        PER_DAY, PATTERNS, BATCHES
    ):
        seed = next(seeds)
        rng = np.random.default_rng(seed)
        quiet, late, delays, bounds = 0, 0, [], []
        for _ in range(models):
            hours = simulated_hours(per_day, night, weekend, batch_hours, rng)
            quiet += len(labels_stop(hours).fired)
            stop = stop_hour(rng)
            stopped = labels_stop(hours, stop)
            delays.append(stopped.delay(stop) / 24)
            bounds.append(label_bound(stopped, hours) / 24)
            late += delays[-1] > bounds[-1]
        rates.append(quiet / models)
        print(
            f"| {per_day:,} | {name} | {batch} | {models} | {rates[-1]:.3f} "
            f"| {np.median(delays):.1f}, {max(delays):.1f} | {np.median(bounds):.1f} "
            f"| {late} | {seed} |",
            flush=True,
        )
    print()
    return float(np.mean(rates))


def label_bound(silence: Silence, hours: Hours) -> float:
    """Hours after a stop of the labels within which an alert is due: twice the longest silence
    before, and the 95 % quantile of the delay.
    """
    return 2 * silence.longest + hours.p95_ms / HOUR_MS


def stop_hour(rng: np.random.Generator) -> int:
    """The hour of a stop, with two months before and after it."""
    return int(rng.integers(24 * FIRST_STOP_DAY, YEAR_HOURS - 24 * FIRST_STOP_DAY))


def _judged(rule: NoDataRule | NoLabelsRule, hour: int, n: int, situation: Situation) -> Judgement:
    _TRAFFIC.window_start_ms = EpochMs(hour * HOUR_MS)
    _TRAFFIC.window_end_ms = _TRAFFIC.complete_at_ms = EpochMs((hour + 1) * HOUR_MS)
    _TRAFFIC.n_predictions = n
    return rule.judge(_TRAFFIC, situation)


def _figures(hour: int, labels: int, metrics: dict[str, float | None]) -> WindowFigures:
    """A record of stage 2 about an hour."""
    return WindowFigures(
        model_name="simulated",
        model_version="1",
        segment="all",
        lane="traffic",
        window="1h",
        kind="tumbling",
        window_start_ms=EpochMs(hour * HOUR_MS),
        window_end_ms=EpochMs((hour + 1) * HOUR_MS),
        maturity=None,
        final=True,
        provisional=False,
        revision=1,
        registry_revision=0,
        n_predictions=0,
        n=labels,
        label_coverage=None,
        completeness=None,
        metrics=metrics,
        complete_at_ms=EpochMs((hour + 1) * HOUR_MS),
    )


_CONFIG = ModelConfig()
_TRAFFIC = _figures(0, 0, {})


if __name__ == "__main__":
    main()
