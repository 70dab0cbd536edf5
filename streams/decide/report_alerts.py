"""Alerts about what reports about itself: workers.

A report is judged when it is read, at the time that the newest one has reached. Only the order of
the reports counts, so a replay of their topic raises the same alerts. What has not reported for an
hour is gone: its alerts resolve, and it is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from driftline.schemas.reports import WorkerMetrics
from driftline.schemas.times import HOUR_MS, SECOND_MS, parse_time
from driftline.streams.decide.alert_lifecycle import AlertState, Run, next_state
from driftline.streams.decide.judgement import Measurement, Situation
from driftline.streams.decide.open_alerts import OpenAlerts
from driftline.streams.decide.report_rule import ReportRule
from driftline.streams.decide.rule_index import RuleIndex
from driftline.streams.decide.stored_state import (
    StateCache,
    WatchedHistories,
    WatchedModel,
    WatchedReports,
    WatchedSeries,
    WatchedTraffic,
    WatchedVersion,
)
from driftline.streams.stage import Record

VERSION: Final = "-"
"""In the place of a version."""
GONE_MS: Final = HOUR_MS
_GAP: Final = 3
"""Intervals without a report after which a breach begins anew."""


class DropAlerts(Protocol):
    """Resolves the alerts of rules in a series, and forgets their states."""

    def __call__(
        self, series: WatchedSeries, version: str, segment: str, rules: Sequence[str], why: str
    ) -> Iterator[Record]: ...


class ReportAlerts:
    """The reports under one name during one batch.

    Parameters
    ----------
    series
        Gives the state of a version in a segment, and remembers that there is one.
    drop
        Resolves alerts.
    """

    def __init__(
        self,
        name: str,
        index: RuleIndex,
        cache: StateCache,
        alerts: OpenAlerts,
        series: Callable[[str, str], WatchedSeries],
        drop: DropAlerts,
    ) -> None:
        self._name, self._index, self._cache = name, index, cache
        self._alerts, self._series, self._drop = alerts, series, drop
        self._model = cache.load(WatchedModel, name)

    def worker(self, metrics: WorkerMetrics) -> Iterator[Record]:
        """Judge what a worker reports, once time has passed to its record."""
        known = self._cache.load(WatchedReports, self._name).last_ms
        yield from self._forget_gone(known)
        at_ms = parse_time(metrics.timestamp)
        if at_ms <= known.get(metrics.worker, -1):
            return
        known[metrics.worker] = at_ms
        step_ms = round(_GAP * metrics.interval_s * SECOND_MS)
        yield from self._judge(metrics, f"worker={metrics.worker}", step_ms)

    def _judge(self, report: Measurement, segment: str, step_ms: int) -> Iterator[Record]:
        series = self._series(VERSION, segment)
        rules = [rule for rule in self._index.report_rules if rule.applies_to(segment)]
        removed = [name for name in series.alerts if name not in self._index.rules]
        yield from self._drop(series, VERSION, segment, removed, "The rule is no longer in force")
        for rule in rules:
            yield from self._judge_by(rule, report, series, segment, step_ms)

    def _judge_by(
        self,
        rule: ReportRule,
        report: Measurement,
        series: WatchedSeries,
        segment: str,
        step_ms: int,
    ) -> Iterator[Record]:
        judged = rule.judge(report, Situation(config=self._index.config))
        if judged.verdict == "unclear" and rule.name not in series.alerts:
            return
        judged = msgspec.structs.replace(judged, at_ms=self._model.now_ms)
        before = series.alerts.get(rule.name, AlertState())
        state, change = next_state(
            _without_numbers(before),
            judged,
            is_long_enough=rule.is_long_enough,
            cool_down_ms=rule.cool_down_ms,
            step_ms=step_ms,
        )
        if change is not None:
            state, record = self._alerts.announce(VERSION, segment, rule, state, judged, change)
            yield record
        series.alerts[rule.name] = state

    def _forget_gone(self, known: dict[str, int]) -> Iterator[Record]:
        gone = [name for name, at_ms in known.items() if at_ms < self._model.now_ms - GONE_MS]
        for name in gone:
            del known[name]
            segment = f"worker={name}"
            series = self._series(VERSION, segment)
            why = f"Worker {name} has not reported for an hour"
            yield from self._drop(series, VERSION, segment, list(series.alerts), why)
            self._cache.load(WatchedVersion, self._name, VERSION).segments.remove(segment)
            for kind in (WatchedSeries, WatchedHistories, WatchedTraffic):
                self._cache.delete(kind, self._name, VERSION, segment)


def _without_numbers(state: AlertState) -> AlertState:
    """The state without the number of reports in breach, which says nothing to a reader."""
    runs = {severity: Run(0, run.since_ms) for severity, run in state.runs.items()}
    return msgspec.structs.replace(state, runs=runs)
