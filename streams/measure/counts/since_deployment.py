"""Counts since deployment: one table per model and rung that grows by a day at a time.

A day is added to the stored sum when it is final; later days are still in the panes. The table of a
rung in memory is the sum of both, and grows by the rows of the next day when that is due.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftline.streams.lanes import DECISIONS
from driftline.streams.masks import all_true
from driftline.streams.measure.counts.count_table import CountTable, merged
from driftline.streams.measure.counts.gather import WindowJob
from driftline.streams.measure.counts.merge_runs import MergeRuns
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.packed_key import first_key_of_rung, series_of
from driftline.streams.measure.counts.panes import TABLES, CountSpan, Panes
from driftline.streams.measure.state_keys import DAYS_SINCE_DEPLOYMENT, state_key
from driftline.streams.measure.timing.windows import DueWindow, WindowPlan
from driftline.streams.stage import State

CACHED_ROWS: Final = 1_000_000


class SinceDeployment:
    """Counts since deployment of all models of a task."""

    def __init__(self, panes: Panes) -> None:
        self._panes = panes
        self._final_days = MergeRuns(TABLES, cached=CACHED_ROWS)
        # By model number and rung: end of the last day in the sum, and the sum.
        self._sums: dict[tuple[int, int], tuple[int, CountSpan]] = {}
        self._cached_rows = 0

    def jobs(
        self, model: MeasuredModel, plan: WindowPlan, dues: Sequence[DueWindow], state: State
    ) -> list[WindowJob]:
        """Jobs for the windows that are due, for versions with counts in the last day."""
        if not dues:
            return []
        facts, step_ms = model.facts, plan.since_step_ms
        first_ms = facts.first_pane_ms[DECISIONS]
        if first_ms is None:
            return []
        if facts.since_ms is None:
            # A late prediction may be as old as the label horizon allows.
            facts.since_ms = max(first_ms - model.config.maturity[-1].ms, 0) // step_ms * step_ms
        jobs = []
        for due in dues:
            last_day = self._day(model, due.end_ms - step_ms, due.end_ms, state)
            known = last_day.between(0, first_key_of_rung(due.rung + 1))
            total = self._sum_upto(model, due, step_ms, known, state)
            names = model.series.names
            versions = dict.fromkeys(
                names[number][0]
                for number in np.flatnonzero(
                    np.bincount(series_of(known.keys), minlength=1)
                ).tolist()
            )
            by_start: dict[int, list[str]] = {}
            for version in versions:
                by_start.setdefault(_start_of(model, version, due.end_ms), []).append(version)
            jobs += [
                WindowJob(due, [total], start_ms, frozenset(by_start[start_ms]))
                for start_ms in sorted(by_start)
            ]
            while due.final and facts.since_ms < due.end_ms:
                day = self._day(model, facts.since_ms, facts.since_ms + step_ms, state)
                if len(day):
                    self._final_days.append(_key(model), day, state)
                facts.since_ms += step_ms
        return jobs

    def restart(self, model: MeasuredModel, version: str, state: State) -> None:
        """Drop the sum of a version, which starts again with its deployment."""
        whole = merged(self._final_days.read(_key(model), state))
        kept = ~_is_of(model, (version,))[series_of(whole.keys)]
        if not all_true(kept):
            self._final_days.replace(
                _key(model), CountTable(whole.keys[kept], whole.counts[kept]), state
            )
        for key in [key for key in self._sums if key[0] == model.number]:
            self._cached_rows -= len(self._sums.pop(key)[1].table)

    def _sum_upto(
        self,
        model: MeasuredModel,
        due: DueWindow,
        step_ms: int,
        last_day: CountTable,
        state: State,
    ) -> CountSpan:
        """The sum since deployment up to the end of a window, as known at its rung."""
        key = (model.number, due.rung)
        end_ms, total = self._sums.pop(key, (-1, None))
        if total is not None:
            self._cached_rows -= len(total.table)
        if total is None or end_ms != due.end_ms - step_ms:
            total = CountSpan(self._days_before(model, due, step_ms, state))
        grown = total.plus(last_day.without_rungs())
        self._sums[key] = (due.end_ms, grown)
        self._cached_rows += len(grown.table)
        while self._cached_rows > CACHED_ROWS and len(self._sums) > 1:
            self._cached_rows -= len(self._sums.pop(next(iter(self._sums)))[1].table)
        return grown

    def _days_before(
        self, model: MeasuredModel, due: DueWindow, step_ms: int, state: State
    ) -> CountTable:
        """All days before the last one of a window, as known at its rung."""
        end_key = first_key_of_rung(due.rung + 1)
        days_ms = range(model.facts.since_ms or 0, due.end_ms - step_ms, step_ms)
        tables = [
            *self._final_days.read(_key(model), state),
            *(self._day(model, day_ms, day_ms + step_ms, state) for day_ms in days_ms),
        ]
        return merged([table.between(0, end_key) for table in tables]).without_rungs()

    def _day(self, model: MeasuredModel, start_ms: int, end_ms: int, state: State) -> CountTable:
        """The rows of a day, of each version only those since its deployment."""
        whole = self._panes_table(model, start_ms, end_ms, state)
        deployed_ms = {
            name: version.since_ms
            for name, version in sorted(model.registry.versions.items())
            if version.since_ms is not None and version.since_ms > start_ms
        }
        if not deployed_ms or not len(whole):
            return whole
        kept = ~_is_of(model, deployed_ms)[series_of(whole.keys)]
        parts = [CountTable(whole.keys[kept], whole.counts[kept])]
        for name, since_ms in deployed_ms.items():
            if since_ms < end_ms:
                part = self._panes_table(model, since_ms, end_ms, state)
                of_version = _is_of(model, (name,))[series_of(part.keys)]
                parts.append(CountTable(part.keys[of_version], part.counts[of_version]))
        return merged(parts)

    def _panes_table(
        self, model: MeasuredModel, start_ms: int, end_ms: int, state: State
    ) -> CountTable:
        spans = self._panes.span(model.number, DECISIONS, start_ms, end_ms, state)
        return merged([span.table for span in spans])


def _key(model: MeasuredModel) -> bytes:
    return state_key(DAYS_SINCE_DEPLOYMENT, model.number)


def _is_of(model: MeasuredModel, versions: Collection[str]) -> NDArray[np.bool_]:
    """Whether each series number belongs to one of these versions."""
    return np.array([version in versions for version, _ in model.series.names], np.bool_)


def _start_of(model: MeasuredModel, version: str, end_ms: int) -> int:
    """Start of "since deployment": the deployment, or the first pane of a version without one.

    At most `end_ms`: a version without traffic before it has no start yet, and whether a later pane
    was already read must make no difference.
    """
    registered, seen = model.registry.versions.get(version), model.facts.versions.get(version)
    if registered is not None and registered.since_ms is not None:
        return min(registered.since_ms, end_ms)
    return min(seen.first_ms, end_ms) if seen is not None else end_ms
