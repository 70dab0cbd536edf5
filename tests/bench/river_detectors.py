"""`python -m tests.bench.river_detectors`: false alarms and delay of the detectors of river, with
their parameters in river and with those that the documents recommend.

Each model has 200 outcomes a day for a year with an error rate of 0.2, and then one of 0.3. A false
alarm is an alert that fires in the year, with the seven days without another detection after which
it resolves; detections in it are counted apart. The delay is that of the first detection after the
change, within a year, in outcomes up to the end of its day.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import DAY_MS, HOUR_MS
from driftline.streams.decide.alert_lifecycle import AlertState, next_state
from driftline.streams.decide.detectors.outcome_history import OutcomeHistory
from driftline.streams.decide.judgement import SeriesOutcomes
from driftline.streams.decide.outcome_rule import OutcomeRule
from driftline.streams.decide.rule_builder import rule_plugins

A_DAY, DAYS = 200, 365
ERRORS, CHANGED = 0.2, 0.3
RECOMMENDED: dict[str, dict[str, Any]] = {
    "page_hinkley": {"min_instances": 1000, "delta": 0.03, "threshold": 50.0, "mode": "up"},
    "ddm": {"warm_start": 500, "drift_threshold": 3.5, "memory": 5000},
    "eddm": {"warm_start": 500, "beta": 0.8, "memory": 10_000},
    "hddm_a": {"drift_confidence": 1e-5},
    "hddm_w": {"drift_confidence": 1e-5, "lambda_val": 0.01},
}
"""Beside the parameters of river: those of ADWIN are fine, and none were found for KSWIN."""
KINDS = ("adwin", "page_hinkley", "ddm", "eddm", "hddm_a", "hddm_w", "kswin")


class Year(NamedTuple):
    """What a rule did in a year, day by day.

    Attributes
    ----------
    alerts
        Alerts that fired.
    detections
        Detections.
    first
        Outcomes up to the end of the day of the first detection; None without one.
    """

    alerts: int
    detections: int
    first: int | None


class Case(NamedTuple):
    """Results of all models."""

    quiet: list[Year]
    changed: list[Year]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.river_detectors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=100, help="models (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first")
    parser.add_argument("--only", nargs="*", default=KINDS, help="types of rules")
    asked = parser.parse_args(arguments)
    remember_tests()
    print(
        f"{asked.runs} model-years, {A_DAY} outcomes a day, error rate {ERRORS}; then {CHANGED}; "
        f"seeds from {asked.seed}"
    )
    print("| rule | parameters | alerts a year | detections a year | found within a year | delay |")
    print("|---|---|---|---|---|---|")
    for kind in asked.only:
        for parameters in ({}, *([RECOMMENDED[kind]] if kind in RECOMMENDED else [])):
            rule = rule_plugins()[kind](**parameters).bound(ModelConfig())
            assert isinstance(rule, OutcomeRule)
            models = [simulated(rule, seed) for seed in range(asked.seed, asked.seed + asked.runs)]
            print(line(kind, parameters, Case(*map(list, zip(*models, strict=True)))))
            sys.stdout.flush()


def line(kind: str, parameters: dict[str, Any], case: Case) -> str:
    """A row of the table; the delay is the median and the 90 % quantile, in outcomes."""
    named = ", ".join(f"{name} = {value}" for name, value in parameters.items()) or "those of river"
    alerts, detections = (
        np.mean([getattr(year, name) for year in case.quiet]) for name in ("alerts", "detections")
    )
    delays = sorted(year.first or 10**9 for year in case.changed)
    found = sum(year.first is not None for year in case.changed)
    middle, late = (delays[min(int(q * len(delays)), len(delays) - 1)] for q in (0.5, 0.9))
    text = ", ".join("never" if each == 10**9 else f"{each:,}" for each in (middle, late))
    figures = f"{alerts:.2f} | {detections:.2f} | {found} of {len(delays)} | {text}"
    return f"| `{kind}` | {named} | {figures} |"


def simulated(rule: OutcomeRule, seed: int) -> tuple[Year, Year]:
    """A year without change, and the one after the change."""
    random = np.random.default_rng(seed)
    history, state, day = OutcomeHistory(), AlertState(), 0
    detector = None
    years = []
    for rate in (ERRORS, CHANGED):
        alerts = detections = 0
        first = None
        for number in range(1, DAYS + 1):
            errors = (random.random(A_DAY) < rate).astype(np.uint8).tobytes()
            measured = SeriesOutcomes(
                model_name="m",
                model_version="1",
                segment="all",
                start_ms=day * DAY_MS + DAY_MS - HOUR_MS,
                end_ms=(day + 1) * DAY_MS,
                errors=errors,
            )
            day += 1
            before = history.detections
            history, judged, detector = rule.judge_next(measured, history, detector)
            if judged.verdict == "breach":
                detections += history.detections - before
                first = number * A_DAY if first is None else first
            state, change = next_state(state, judged, is_long_enough=rule.is_long_enough)
            alerts += change == "firing"
            if rate == CHANGED and first is not None:
                break
        years.append(Year(alerts, detections, first))
    return years[0], years[1]


def remember_tests() -> None:
    """Have KSWIN look a test up that it has made: of zeros and ones, it depends on two sums."""
    from river.drift import kswin

    exact = kswin.stats.ks_2samp

    @cache
    def by_sums(n: int, one: int, other: int) -> Any:
        return exact(_with_ones(n, one), _with_ones(n, other), method="auto")

    class Remembered:
        @staticmethod
        def ks_2samp(one: Sequence[int], other: Sequence[int], method: str) -> Any:
            return by_sums(len(one), sum(one), sum(other))

    kswin.stats = Remembered


def _with_ones(n: int, ones: int) -> list[int]:
    return [1] * ones + [0] * (n - ones)


if __name__ == "__main__":
    main()
