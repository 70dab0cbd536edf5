"""What happened on one day: figures of each model version, alerts, drift, changes, recommendations
and rows that did not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from driftline.agents.counted_rows import counted_arrivals
from driftline.agents.model_status import at_judged_rung
from driftline.agents.read_model.drift_reads import DriftFilter
from driftline.agents.read_model.figure_reads import (
    Series,
    SeriesFilter,
    Span,
    only,
    window_of_a_day,
)
from driftline.schemas.results import (
    NO_MATURITY,
    Alert,
    Drift,
    Recommendation,
    RegistryEntry,
    RegistryEvent,
    WindowFigures,
)
from driftline.schemas.times import DAY_MS, EpochMs, parse_time
from driftline.schemas.topics import ALERTS, RECOMMENDATIONS, REGISTRY, REGISTRY_EVENTS
from driftline.streams.lanes import ALL, NO_MODEL
from driftline.streams.registry.history import history

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from driftline.agents.read_model.read_model import Reads

UNCOUNTED = (
    "late_predictions",
    "dropped_predictions",
    "conflicting_predictions",
    "late_truths",
    "expired",
    "unmatched",
)
"""Counters of rows that do not count, or not everywhere."""
_QUIET = ("none", "insufficient_data")


class VersionDay(msgspec.Struct, kw_only=True):
    """A version that is not archived, on a day.

    Attributes
    ----------
    n_predictions
        Its predictions of the day.
    figures
        The newest window of a day, or of the size nearest to one, that ended on the day; at the
        first rung with 95 % of the labels. Null without one.
    baseline
        What is recorded at this rung; null without one.
    """

    model_name: str
    model_version: str
    stage: str
    n_predictions: int
    figures: WindowFigures | None
    baseline: dict[str, Any] | None


class DailySummary(msgspec.Struct, kw_only=True, rename={"start_ms": "start", "end_ms": "end"}):
    """A day of event time, in UTC; the end is excluded.

    Attributes
    ----------
    fired, resolved
        The first and the last record of the episodes that began, or ended, on the day.
    still_open
        The newest record, by the end of the day, of each episode that was open then.
    drift
        Results of windows that ended on the day, from mild on.
    changes
        Changes that people and responses made of the registry; facts that Driftline records itself
        are left out.
    recommendations
        Their records of the day.
    uncounted
        Rows that did not count, or not everywhere, by counter.
    """

    start_ms: EpochMs
    end_ms: EpochMs
    versions: list[VersionDay]
    fired: list[Alert]
    resolved: list[Alert]
    still_open: list[Alert]
    drift: list[Drift]
    changes: list[RegistryEvent]
    recommendations: list[Recommendation]
    uncounted: dict[str, int]


def daily_summary(reads: Reads, start_ms: int, *, model_name: str | None) -> DailySummary:
    """What happened on the day that begins at `start_ms`."""
    end_ms = start_ms + DAY_MS

    def is_today(at_ms: int | None) -> bool:
        return at_ms is not None and start_ms <= at_ms < end_ms

    def of(topic: str, type_: type[Any], at_ms: Callable[[Any], int | None]) -> list[Any]:
        records = reads.records.all(topic, type_, model_name=model_name)
        return [record for record in records if is_today(at_ms(record))]

    episodes: dict[str, list[Alert]] = {}
    for alert in reads.records.all(ALERTS, Alert, model_name=model_name):
        if alert.at_ms < end_ms:
            episodes.setdefault(alert.alert_id, []).append(alert)
    span = Span(since_ms=start_ms, until_ms=end_ms)
    drift = reads.drift.between(DriftFilter(model_name=model_name, segment=ALL), span)
    events = of(REGISTRY_EVENTS, RegistryEvent, lambda event: parse_time(event.at))
    entries = [
        entry
        for entry in reads.records.latest(REGISTRY, RegistryEntry, model_name=model_name)
        if entry.stage != "archived"
    ]
    names = [NO_MODEL] if model_name is None else []
    names += dict.fromkeys(entry.model_name for entry in entries)
    counted = [counted_arrivals(reads.figures, name, None, span) for name in names]
    return DailySummary(
        start_ms=EpochMs(start_ms),
        end_ms=EpochMs(end_ms),
        versions=[_version(reads, entry, span) for entry in entries],
        fired=[each[0] for each in episodes.values() if is_today(each[0].starts_at_ms)],
        resolved=[each[-1] for each in episodes.values() if is_today(each[-1].ends_at_ms)],
        still_open=[each[-1] for each in episodes.values() if each[-1].status != "resolved"],
        drift=[result for result in drift if result.level not in _QUIET],
        changes=[
            event
            for event in history(events, rejected=False)[::-1]
            if not event.event.startswith("record_")
        ],
        recommendations=of(RECOMMENDATIONS, Recommendation, lambda each: each.at_ms),
        uncounted={
            name: rows for name in UNCOUNTED if (rows := sum(counter[name] for counter in counted))
        },
    )


def newest_day(reads: Reads) -> int | None:
    """Begin of the last whole day of traffic, in ms since the epoch; None without traffic."""
    ends = [until for _, until in reads.figures.predictions().values()]
    return None if not ends else (max(ends) // DAY_MS - 1) * DAY_MS


def _version(reads: Reads, entry: RegistryEntry, span: Span) -> VersionDay:
    name, version = entry.model_name, entry.model_version

    def series(lane: str) -> list[Series]:
        wanted = SeriesFilter(model_name=name, model_version=version, segment=ALL, lane=lane)
        found = reads.figures.series(wanted)
        window = window_of_a_day(found)
        return [each for each in found if each.window == window]

    today = [list(reads.figures.between(only(each), span)) for each in series("decisions")]
    newest = max((records[-1].window_end_ms for records in today if records), default=0)
    at_end = [records[-1] for records in today if records and records[-1].window_end_ms == newest]
    figures = at_judged_rung(at_end) if at_end else None
    maturity = NO_MATURITY if figures is None else figures.maturity or NO_MATURITY
    return VersionDay(
        model_name=name,
        model_version=version,
        stage=entry.stage,
        n_predictions=sum(
            record.n_predictions
            for each in series("traffic")
            if each.kind == "tumbling"
            for record in reads.figures.between(only(each), span)
        ),
        figures=figures,
        baseline=entry.baselines.get(maturity),
    )
