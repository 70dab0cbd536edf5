"""`python -m tests.bench.river_detectors`: false alarms and delay of the detectors of river, with
their parameters in river and with those that the documents recommend.

Each model has 200 outcomes a day for a year with an error rate of 0.2, and then one of 0.3. A false
alarm is an alert that fires in the year, with the seven days without another detection after which
it resolves; detections in it are counted apart. The delay is that of the first detection after the
change, within a year, in outcomes up to the end of its day.

KSWIN is simulated in law (`KswinBySums`): river's own takes a millisecond for each outcome.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import DAY_MS, HOUR_MS
from driftline.streams.decide.alert_lifecycle import AlertState, next_state
from driftline.streams.decide.detectors import river_detectors
from driftline.streams.decide.detectors.outcome_history import Detector, OutcomeHistory
from driftline.streams.decide.detectors.river_detectors import create as create_of_river
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
    "kswin": {"window_size": 3000, "stat_size": 800, "memory": 6000},
}
"""Beside the parameters of river; those of ADWIN are fine."""
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
    river_detectors.create = create
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


class KswinBySums:
    """KSWIN of river on zeros and ones, in law: a test depends on two sums, so how many of the
    outcomes it draws are wrong is drawn instead, and the p-value of a difference is looked up.
    """

    def __init__(self, alpha: float, window_size: int, stat_size: int, seed: int) -> None:
        self._alpha, self._size, self._newest = alpha, window_size, stat_size
        self._random = np.random.default_rng(seed)
        self._begin()

    def update(self, x: int, /) -> None:
        if self.drift_detected:
            self._begin()
        self._window.append(x)
        self._wrong += x
        if len(self._window) > self._newest:
            older = self._window[-1 - self._newest]
            self._wrong -= older
            self._wrong_before += older
        if len(self._window) > self._size:
            self._wrong_before -= self._window.popleft()
        if len(self._window) == self._size:
            right_before = self._size - self._newest - self._wrong_before
            drawn = self._random.hypergeometric(self._wrong_before, right_before, self._newest)
            difference = abs(int(drawn) - self._wrong)
            self.drift_detected = (
                difference / self._newest > 0.1 and p_value(self._newest, difference) <= self._alpha
            )

    def _begin(self) -> None:
        self._window = deque[int]()
        self._wrong = self._wrong_before = 0
        self.drift_detected = False


@cache
def p_value(n: int, difference: int) -> float:
    """Of the test that KSWIN makes, of two samples of n zeros and ones by how many ones differ."""
    from scipy import stats

    one, other = [1] * difference + [0] * (n - difference), [0] * n
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return float(stats.ks_2samp(one, other, method="auto").pvalue)


def create(name: str, parameters: Mapping[str, Any]) -> Detector:
    """A detector of river, except for `KswinBySums`."""
    return KswinBySums(**parameters) if name == "KSWIN" else create_of_river(name, parameters)


if __name__ == "__main__":
    main()
