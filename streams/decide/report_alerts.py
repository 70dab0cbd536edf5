"""Alerts about what reports about itself: workers, and scheduled jobs.

A report is judged when it is read, at the time that the newest one has reached. Only the order of
the reports counts, so a replay of their topic raises the same alerts. A worker that has not
reported for an hour is gone: its alerts resolve, and it is forgotten. A job is known until it is
removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from driftline.schemas.reports import TIME, JobRun, WorkerMetrics
from driftline.schemas.times import HOUR_MS, SECOND_MS, parse_duration, parse_time
from driftline.streams.decide.alert_lifecycle import AlertState, Run, joined_parts, next_state
from driftline.streams.decide.judgement import JobStanding, Measurement, Situation
from driftline.streams.decide.open_alerts import OpenAlerts
from driftline.streams.decide.report_rule import ReportRule
from driftline.streams.decide.rule_index import RuleIndex
from driftline.streams.decide.stored_state import (
    JobState,
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

    def job(self, run: JobRun) -> Iterator[Record]:
        """Judge what became of a run, and the jobs that may be overdue at its time."""
        jobs = self._cache.load(WatchedReports, self._name).jobs
        if run.status == "removed":
            if jobs.pop(run.job, None) is not None:
                why = f"Job {run.job} is no longer run"
                yield from self._forget(f"job={run.job}", why)
        elif run.status != TIME:
            state = jobs.setdefault(run.job, JobState(first_ms=self._model.now_ms))
            _take_run(state, run, self._model.now_ms)
        for name, state in jobs.items():
            if name == run.job or state.interval_ms is not None:
                standing = _standing(name, state, self._model.now_ms)
                yield from self._judge(standing, f"job={name}", None)

    def _judge(self, report: Measurement, segment: str, step_ms: int | None) -> Iterator[Record]:
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
        step_ms: int | None,
    ) -> Iterator[Record]:
        judged = rule.judge(report, Situation(config=self._index.config))
        if judged.verdict == "unclear" and rule.name not in series.alerts:
            return
        judged = msgspec.structs.replace(judged, at_ms=self._model.now_ms)
        before = series.alerts.get(rule.name, AlertState())
        if step_ms is None:
            # Several may be judged at one time.
            before = msgspec.structs.replace(before, window_end_ms=-1)
        state, change = next_state(
            _without_numbers(before),
            judged,
            is_long_enough=rule.is_long_enough,
            cool_down_ms=rule.cool_down_ms,
            step_ms=step_ms,
        )
        if change is not None:
            joined = joined_parts(before.announced, state.announced) if before.firing else ()
            state, record = self._alerts.announce(
                VERSION, segment, rule, state, judged, change, joined=list(joined)
            )
            yield record
        if step_ms is None:
            state = msgspec.structs.replace(state, window_end_ms=-1)
        series.alerts[rule.name] = state

    def _forget_gone(self, known: dict[str, int]) -> Iterator[Record]:
        gone = [name for name, at_ms in known.items() if at_ms < self._model.now_ms - GONE_MS]
        for name in gone:
            del known[name]
            yield from self._forget(f"worker={name}", f"Worker {name} has not reported for an hour")

    def _forget(self, segment: str, why: str) -> Iterator[Record]:
        """Resolve the alerts of what reports no more, and forget it."""
        series = self._series(VERSION, segment)
        yield from self._drop(series, VERSION, segment, list(series.alerts), why)
        self._cache.load(WatchedVersion, self._name, VERSION).segments.remove(segment)
        for kind in (WatchedSeries, WatchedHistories, WatchedTraffic):
            self._cache.delete(kind, self._name, VERSION, segment)


def _take_run(state: JobState, run: JobRun, now_ms: int) -> None:
    if run.interval is not None:
        state.interval_ms = parse_duration(run.interval)
    if run.status == "running":
        return
    end = (run.status, run.run_id) if run.run_id is not None else None
    if end is not None and end == state.last_end:
        return
    state.last_end = end
    if run.status == "succeeded":
        state.success_ms, state.failures, state.message = now_ms, 0, ""
    else:
        state.failures, state.message = state.failures + 1, run.message


def _standing(name: str, state: JobState, now_ms: int) -> JobStanding:
    return JobStanding(
        job=name,
        at_ms=now_ms,
        failures=state.failures,
        since_ms=state.first_ms if state.success_ms is None else state.success_ms,
        has_succeeded=state.success_ms is not None,
        interval_ms=state.interval_ms,
        message=state.message,
    )


def _without_numbers(state: AlertState) -> AlertState:
    """The state without the number of reports in breach, which says nothing to a reader."""
    runs = {severity: Run(0, run.since_ms) for severity, run in state.runs.items()}
    return msgspec.structs.replace(state, runs=runs)
