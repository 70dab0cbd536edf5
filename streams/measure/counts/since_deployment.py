"""Counts since deployment: one table per model and rung that grows by a day at a time.

A day is summed for good when it is final; the days after it are still in the panes. What stands in
memory for each rung is made of both, and grows by the next day's rows when that is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from driftline.streams.lanes import DECISIONS
from driftline.streams.masks import all_true
from driftline.streams.measure.counts.count_table import (
    MAX_SERIES,
    RUNG_SHIFT,
    SERIES_SHIFT,
    WITHOUT_RUNG,
    CountTable,
    merged,
)
from driftline.streams.measure.counts.gather import WindowJob
from driftline.streams.measure.counts.merge_runs import MergeRuns
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.panes import TABLES, CountSpan, Panes
from driftline.streams.measure.state_keys import DAYS_SINCE_DEPLOYMENT, state_key
from driftline.streams.measure.timing.windows import DueWindow, WindowPlan
from driftline.streams.stage import State

CACHED_ROWS: Final = 1_000_000


class SinceDeployment:
    """The sums of all models of a task."""

    def __init__(self, panes: Panes) -> None:
        self._panes = panes
        self._final = MergeRuns(TABLES, cached=CACHED_ROWS)
        self._summed: dict[tuple[int, int], tuple[int, CountSpan]] = {}
        self._rows = 0

    def jobs(
        self, model: MeasuredModel, plan: WindowPlan, dues: Sequence[DueWindow], state: State
    ) -> list[WindowJob]:
        """Jobs for the announcements that are due, where the last day brought anything."""
        if not dues:
            return []
        facts, step_ms = model.facts, plan.since_step_ms
        first_ms = facts.first_pane_ms[DECISIONS]
        if first_ms is None:
            return []
        if facts.since_ms is None:
            # A prediction may still turn up as late as the horizon allows.
            facts.since_ms = max(first_ms - model.config.maturity[-1].ms, 0) // step_ms * step_ms
        jobs = []
        for due in dues:
            last_day = self._day(model, due.end_ms - step_ms, due.end_ms, state)
            news = last_day.between(0, (due.rung + 1) << RUNG_SHIFT)
            chunk = self._upto(model, due, step_ms, news, state)
            names = model.series.names
            versions = dict.fromkeys(
                names[number][0]
                for number in np.flatnonzero(np.bincount(_series(news), minlength=1)).tolist()
            )
            by_start: dict[int, list[str]] = {}
            for version in versions:
                by_start.setdefault(_start_of(model, version, due.end_ms), []).append(version)
            jobs += [
                WindowJob(due, [chunk], start, frozenset(by_start[start]))
                for start in sorted(by_start)
            ]
            while due.final and facts.since_ms < due.end_ms:
                day = self._day(model, facts.since_ms, facts.since_ms + step_ms, state)
                if len(day):
                    self._final.append(state_key(DAYS_SINCE_DEPLOYMENT, model.number), day, state)
                facts.since_ms += step_ms
        return jobs

    def restart(self, model: MeasuredModel, version: str, state: State) -> None:
        """Forget what was summed for a version, which begins anew with its deployment."""
        place = state_key(DAYS_SINCE_DEPLOYMENT, model.number)
        whole = merged(self._final.read(place, state))
        kept = ~_is_of(model, {version})[_series(whole)]
        if not all_true(kept):
            self._final.replace(place, CountTable(whole.keys[kept], whole.counts[kept]), state)
        for key in [key for key in self._summed if key[0] == model.number]:
            self._rows -= len(self._summed.pop(key)[1].table)

    def _upto(
        self, model: MeasuredModel, due: DueWindow, step_ms: int, news: CountTable, state: State
    ) -> CountSpan:
        """Everything since deployment up to the end of the announcement, as known at its rung;

        `news` is the last day of it.
        """
        key = (model.number, due.rung)
        end_ms, chunk = self._summed.pop(key, (-1, None))
        if chunk is not None:
            self._rows -= len(chunk.table)
        if chunk is None or end_ms != due.end_ms - step_ms:
            chunk = CountSpan(self._rebuilt(model, due, step_ms, state))
        grown = chunk.plus(news.masked(WITHOUT_RUNG))
        self._summed[key] = (due.end_ms, grown)
        self._rows += len(grown.table)
        while self._rows > CACHED_ROWS and len(self._summed) > 1:
            self._rows -= len(self._summed.pop(next(iter(self._summed)))[1].table)
        return grown

    def _rebuilt(
        self, model: MeasuredModel, due: DueWindow, step_ms: int, state: State
    ) -> CountTable:
        """All days before the last one of the announcement."""
        known = (due.rung + 1) << RUNG_SHIFT
        since_ms = model.facts.since_ms or 0
        tables = [
            table.between(0, known)
            for table in self._final.read(state_key(DAYS_SINCE_DEPLOYMENT, model.number), state)
        ]
        days = range(since_ms, due.end_ms - step_ms, step_ms)
        tables += [self._day(model, day, day + step_ms, state).between(0, known) for day in days]
        return merged(tables).masked(WITHOUT_RUNG)

    def _day(self, model: MeasuredModel, start_ms: int, end_ms: int, state: State) -> CountTable:
        """The rows of a day, of each version only those since its deployment."""
        whole = merged(
            [
                chunk.table
                for chunk in self._panes.span(model.number, DECISIONS, start_ms, end_ms, state)
            ]
        )
        starts = {
            name: held.since_ms
            for name, held in sorted(model.facts.registry.items())
            if (held.since_ms or 0) > start_ms
        }
        if not starts or not len(whole):
            return whole
        kept = ~_is_of(model, starts.keys())[_series(whole)]
        parts = [CountTable(whole.keys[kept], whole.counts[kept])]
        for name, since_ms in starts.items():
            if since_ms is not None and since_ms < end_ms:
                part = merged(
                    [
                        chunk.table
                        for chunk in self._panes.span(
                            model.number, DECISIONS, since_ms, end_ms, state
                        )
                    ]
                )
                of_version = _is_of(model, {name})[_series(part)]
                parts.append(CountTable(part.keys[of_version], part.counts[of_version]))
        return merged(parts)


def _series(table: CountTable) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return table.keys >> SERIES_SHIFT & MAX_SERIES - 1


def _is_of(model: MeasuredModel, versions: object) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each series number belongs to one of some versions."""
    return np.array([version in versions for version, _ in model.series.names], np.bool_)  # type: ignore[operator]


def _start_of(model: MeasuredModel, version: str, end_ms: int) -> int:
    """Where "since deployment" begins: with the deployment, or with the first pane of a version
    that was never deployed.

    A version that was never in time has none before `end_ms`, and whether a later one has been read
    already may not show.
    """
    registered, seen = model.facts.registry.get(version), model.facts.versions.get(version)
    if registered is not None and registered.since_ms is not None:
        return min(registered.since_ms, end_ms)
    return min(seen.first_ms, end_ms) if seen is not None else end_ms
