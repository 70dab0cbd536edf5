"""What a run says in the end, computed from its output folder alone.

The figures of a year are added up from the days' counts, so nothing here is estimated twice. How it
is told in words is `words.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, convert, field
from numpy.typing import NDArray

from driftline.agents.output_folder import Output, Selection, latest
from driftline.schemas.results import (
    Alert,
    Drift,
    Histogram,
    Recommendation,
    RegistryEvent,
    WindowFigures,
)
from driftline.schemas.times import format_date, format_time, parse_duration

ALL_ROWS = Selection(segment="all")
MONTHS_FROM_DAYS = 60  # a longer run is told by month, a shorter one by day
NOTABLE = ("moderate", "severe")
DayScores = dict[int, NDArray[np.int64]]


class Period(Struct, kw_only=True):
    """Figures of a month, a day or a longer span, at the last rung of the ladder."""

    name: str
    predictions: int
    labelled: int
    positive_share: float | None
    f1: float | None
    precision: float | None
    recall: float | None
    roc_auc: float | None


class Maturity(Struct, kw_only=True):
    """What was known at one rung of the ladder, over the same days as at the last rung.

    Attributes
    ----------
    days_misleading
        Share of the days on which the last F1 lay outside the 95 % interval that this rung gave.
    """

    rung: str
    coverage: float
    positive_share: float | None
    f1: float | None
    f1_error: float | None
    days_misleading: float | None


class RuleStory(Struct, kw_only=True):
    """All episodes of one rule."""

    rule: str
    severity: str
    episodes: int
    still_firing: int
    segments: list[str]
    first_at: str
    last_at: str
    first_summary: str


class TargetStory(Struct, kw_only=True):
    """How often one target had drifted, and when most.

    Attributes
    ----------
    windows
        Windows with a verdict.
    no_verdict
        Why there was none in the others.
    """

    target: str
    windows: int
    notable: int
    strongest_effect: float | None
    strongest_method: str | None
    strongest_at: str | None
    no_verdict: list[str]


class Realised(Struct, kw_only=True):
    """What the recommended threshold did beside the old one in the first window after the
    recommendation's own.
    """

    window_start: str
    window_end: str
    from_: float = field(name="from")
    to: float
    relative_gain: float | None
    n: int


class Advice(Struct, kw_only=True):
    """One recommended threshold: what it promised and what it brought.

    Attributes
    ----------
    status
        What became of it: open, applied, superseded or expired.
    relative_gain
        What it promised, judged on rows that had no part in choosing it.
    realised
        None where no full window came after it.
    """

    recommendation_id: str
    at: str
    status: str
    metric: str
    threshold_in_force: float | None
    threshold: float | None
    from_: float | None = field(name="from")
    to: float | None
    relative_gain: float | None
    reason: str
    realised: Realised | None = None
    realised_reason: str = ""


class Summary(Struct, kw_only=True):
    """The story of one model version."""

    model_name: str
    model_version: str
    first_day: str
    last_day: str
    positive_label: str | None
    in_production_since: str | None
    before: Period | None
    production: Period
    periods: list[Period]
    f1_follows_positive_share: float | None
    auc_follows_positive_share: float | None
    maturities: list[Maturity]
    alerts: list[RuleStory]
    alerts_after_the_end: int
    drift: list[TargetStory]
    recommendations: list[Advice]
    registry: list[dict[str, Any]]
    refused_lines: dict[str, int]
    out: str


class NothingToTell(Exception):
    """The output holds no complete figure; the message says where it was looked for."""


def summarise(out: Path) -> Summary:
    """Read the output of a run and add it up.

    Raises
    ------
    NothingToTell
        If no window of the decisions lane is complete.
    driftline.agents.output_folder.ReadError
        If the folder is not the output of a run.
    """
    output = Output(out)
    daily = _daily(output)
    if not daily:
        raise NothingToTell(
            f"{out} holds no complete figures of the decisions lane; nothing can be said"
        )
    days = daily[max(daily, key=parse_duration)]
    scores = day_scores(
        output.histograms(
            Selection(segment="all", lane="decisions", window=days[0].window, final=True)
        )
    )
    name, version = days[0].model_name, days[0].model_version
    events = [event for event in output.registry_events() if event.event != "rejected"]
    promoted = next(
        (
            event.at
            for event in events
            if event.event == "promote" and event.model_version == version
        ),
        None,
    )
    start = promoted[:10] if promoted else ""
    end_ms = days[-1].window_end_ms
    production = [day for day in days if format_date(day.window_start_ms) >= start] or days
    return Summary(
        model_name=name,
        model_version=version,
        first_day=format_date(days[0].window_start_ms),
        last_day=format_date(days[-1].window_start_ms),
        positive_label=positive_label(days),
        in_production_since=promoted,
        before=period(
            "before", [day for day in days if format_date(day.window_start_ms) < start], scores
        )
        if start
        else None,
        production=period("production", production, scores),
        periods=periods(days, scores),
        f1_follows_positive_share=correlation(production, "f1"),
        auc_follows_positive_share=correlation(production, "roc_auc"),
        maturities=[
            maturity(rung, daily[rung], production) for rung in sorted(daily, key=parse_duration)
        ],
        alerts=alert_stories(alert for alert in output.alerts() if alert.starts_at_ms <= end_ms),
        alerts_after_the_end=len(
            {alert.alert_id for alert in output.alerts() if alert.starts_at_ms > end_ms}
        ),
        drift=drift_stories(
            result for result in output.drift(ALL_ROWS) if result.window_end_ms <= end_ms
        ),
        recommendations=advice(output.recommendations()),
        registry=[_plain_event(event) for event in events],
        refused_lines=output.dead_letters(),
        out=str(out),
    )


def _daily(output: Output) -> dict[str, list[WindowFigures]]:
    """By rung, the figures of the widest tumbling window over all rows, in the order of their
    windows.
    """
    found: dict[tuple[int, str], list[WindowFigures]] = {}
    for record in output.metrics(Selection(segment="all", lane="decisions")):
        if record.kind == "tumbling" and record.maturity is not None and not record.provisional:
            found.setdefault((parse_duration(record.window), record.maturity), []).append(record)
    if not found:
        return {}
    widest = max(size for size, _ in found)
    return {
        rung: latest(
            records,
            group=lambda record: record.window_start_ms,
            order=lambda record: record.revision,
        )
        for (size, rung), records in found.items()
        if size == widest
    }


def day_scores(histograms: Iterable[Histogram]) -> DayScores:
    """By start of the day, scores of actual negatives and positives, shape (2, B)."""
    found: DayScores = {}
    for histogram in histograms:
        counts = np.zeros((2, histogram.bins), dtype=np.int64)
        for half in (histogram.fit, histogram.holdout):
            for label, bins in half.items():
                counts[
                    int(label == histogram.positive_label), [int(number) for number in bins]
                ] += list(bins.values())
        found[histogram.window_start_ms] = counts
    return found


def roc_auc(counts: NDArray[np.int64]) -> float | None:
    """Area under the ROC curve from scores of negatives and positives, shape (2, B); scores in one
    bin count as ties.

    Examples
    --------
    >>> roc_auc(np.array([[2, 1, 0], [0, 1, 2]]))
    0.9444444444444444
    """
    negatives, positives = counts
    below = np.cumsum(negatives) - negatives
    return _ratio(
        float(positives @ (below + negatives / 2)), float(negatives.sum()) * float(positives.sum())
    )


def period(name: str, days: list[WindowFigures], scores: DayScores) -> Period:
    """The days' counts added up."""
    cells = _cells(days)
    counted = [scores[day.window_start_ms] for day in days if day.window_start_ms in scores]
    return Period(
        name=name,
        predictions=sum(day.n_predictions for day in days),
        labelled=sum(day.n for day in days),
        positive_share=_ratio(cells["tp"] + cells["fn"], sum(cells.values())),
        f1=f1(cells),
        precision=_ratio(cells["tp"], cells["tp"] + cells["fp"]),
        recall=_ratio(cells["tp"], cells["tp"] + cells["fn"]),
        roc_auc=roc_auc(np.sum(counted, axis=0)) if counted else None,
    )


def periods(days: list[WindowFigures], scores: DayScores) -> list[Period]:
    """The run by month, or by day where it is short."""
    length = len("2013-01") if len(days) >= MONTHS_FROM_DAYS else len("2013-01-01")
    groups: dict[str, list[WindowFigures]] = {}
    for day in days:
        groups.setdefault(format_date(day.window_start_ms)[:length], []).append(day)
    return [period(name, group, scores) for name, group in groups.items()]


def maturity(rung: str, days: list[WindowFigures], last: list[WindowFigures]) -> Maturity:
    """What a rung said about the days for which the last rung spoke."""
    final = {day.window_start_ms: day for day in last}
    same = [day for day in days if day.window_start_ms in final]
    cells = _cells(same)
    early, late = f1(cells), f1(_cells([final[day.window_start_ms] for day in same]))
    judged = [
        not low <= final_value <= high
        for day in same
        if (interval := day.ci.get("f1"))
        and (final_value := final[day.window_start_ms].metrics.get("f1")) is not None
        for low, high in [interval]
    ]
    return Maturity(
        rung=rung,
        coverage=_ratio(sum(day.n for day in same), sum(day.n_predictions for day in same)) or 0.0,
        positive_share=_ratio(cells["tp"] + cells["fn"], sum(cells.values())),
        f1=early,
        f1_error=None if early is None or late is None else early - late,
        days_misleading=_ratio(sum(judged), len(judged)),
    )


def correlation(days: list[WindowFigures], metric: str) -> float | None:
    """Pearson's correlation of a metric's daily values with the daily share of positives;

    None below three days.
    """
    pairs = [
        (day.metrics[metric], share)
        for day in days
        if day.metrics.get(metric) is not None
        and (share := _ratio((day.tp or 0) + (day.fn or 0), day.n)) is not None
    ]
    if len(pairs) < 3:
        return None
    values = np.array(pairs, dtype=np.float64)
    spread = values.std(axis=0)
    if not spread.all():
        return None
    return float(((values - values.mean(axis=0)) / spread).prod(axis=1).mean())


def positive_label(days: list[WindowFigures]) -> str | None:
    """The label that tp and fn count, read off the first day whose counts tell the two labels
    apart.
    """
    for day in days:
        if len(day.labels) == 2 and day.tp != day.tn:
            return day.labels[0] if day.matrix[0][0] == day.tp else day.labels[1]
    return None


def alert_stories(changes: Iterable[Alert]) -> list[RuleStory]:
    """Episodes by rule, the rule that fired first comes first."""
    seen: list[Alert] = list(changes)
    opening: dict[str, Alert] = {}
    for change in seen:
        opening.setdefault(change.alert_id, change)
    closing = {alert.alert_id: alert for alert in latest(seen, group=lambda alert: alert.alert_id)}
    by_rule: dict[str, list[Alert]] = {}
    for alert in opening.values():
        by_rule.setdefault(alert.rule, []).append(alert)
    return [
        RuleStory(
            rule=rule,
            severity=episodes[0].severity,
            episodes=len(episodes),
            still_firing=sum(closing[alert.alert_id].status != "resolved" for alert in episodes),
            segments=sorted({alert.segment for alert in episodes}),
            first_at=format_time(episodes[0].starts_at_ms),
            last_at=format_time(episodes[-1].starts_at_ms),
            first_summary=episodes[0].summary,
        )
        for rule, episodes in by_rule.items()
    ]


def drift_stories(results: Iterable[Drift]) -> list[TargetStory]:
    """By target the windows with a verdict, and how many of them were notable; the most notable
    comes first.
    """
    by_target: dict[str, list[Drift]] = {}
    for result in results:
        by_target.setdefault(result.target, []).append(result)
    stories = []
    for target, found in by_target.items():
        judged = [result for result in found if result.level != "insufficient_data"]
        strongest = max(
            (result for result in judged if result.effect is not None),
            key=lambda result: result.effect or 0.0,
            default=None,
        )
        stories.append(
            TargetStory(
                target=target,
                windows=len({result.window_start_ms for result in judged}),
                notable=len(
                    {result.window_start_ms for result in judged if result.level in NOTABLE}
                ),
                strongest_effect=strongest.effect if strongest else None,
                strongest_method=strongest.method if strongest else None,
                strongest_at=format_time(strongest.window_end_ms) if strongest else None,
                no_verdict=sorted(
                    {
                        result.reason
                        for result in found
                        if result.level == "insufficient_data" and result.reason
                    }
                ),
            )
        )
    return sorted(stories, key=lambda story: (-story.notable, story.target))


def advice(records: Iterable[Recommendation]) -> list[Advice]:
    """Recommendations in the order in which they were made, each with what came of it."""
    stories: dict[str, Advice] = {}
    for record in records:
        identity = record.recommendation_id
        if record.status == "open":
            stories[identity] = Advice(
                recommendation_id=identity,
                at=format_time(record.at_ms),
                status=record.status,
                metric=record.expected.metric,
                threshold_in_force=record.evidence.get("threshold_in_force"),
                threshold=record.params.get("threshold"),
                from_=record.expected.from_,
                to=record.expected.to,
                relative_gain=record.evidence.get("relative_gain"),
                reason=record.reason,
            )
        elif record.status == "outcome":
            stories[identity].realised = convert(record.evidence["realised"], Realised)
            stories[identity].realised_reason = record.reason
        else:
            stories[identity].status = record.status
    return list(stories.values())


def f1(cells: dict[str, int]) -> float | None:
    """2 tp / (2 tp + fp + fn)."""
    return _ratio(2 * cells["tp"], 2 * cells["tp"] + cells["fp"] + cells["fn"])


def _cells(days: list[WindowFigures]) -> dict[str, int]:
    return {cell: sum(getattr(day, cell) or 0 for day in days) for cell in ("tn", "fp", "fn", "tp")}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _plain_event(event: RegistryEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "event": event.event,
        "version": event.model_version,
        "by": event.requested_by,
        "reason": event.reason,
    }
