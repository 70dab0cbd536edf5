"""The summary of a run, computed from its output folder.

Figures of longer periods are exact: the counts and score histograms of the days are added up.
Printing the summary is `words.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, convert, field
from numpy.typing import NDArray

from driftline.agents.output_folder import latest
from driftline.agents.results import Results
from driftline.schemas.results import (
    Alert,
    Drift,
    Histogram,
    Recommendation,
    RegistryEvent,
    WindowFigures,
)
from driftline.schemas.times import format_date, format_time, parse_duration
from driftline.streams.decide.judgement import SEVERITIES
from driftline.streams.score_bins import SCORE_BINS, bin_numbers

MIN_DAYS_FOR_MONTHS = 60  # a longer run is summarised by month, a shorter one by day
NOTABLE = ("moderate", "severe")
DayScores = dict[int, NDArray[np.int64]]


class Period(Struct, kw_only=True):
    """Figures of a day, a month or a longer span, at the last rung of the ladder."""

    name: str
    predictions: int
    labelled: int
    positive_share: float | None
    f1: float | None
    precision: float | None
    recall: float | None
    roc_auc: float | None


class RungSummary(Struct, kw_only=True):
    """Figures at one rung of the ladder, over the days that have figures at the last rung.

    Attributes
    ----------
    days_misleading
        Share of the days whose F1 at the last rung lies outside the 95 % interval of this rung.
    """

    rung: str
    coverage: float
    positive_share: float | None
    f1: float | None
    f1_error: float | None
    days_misleading: float | None


class RuleSummary(Struct, kw_only=True):
    """All alert episodes of one rule.

    Attributes
    ----------
    severities
        Number of episodes by the highest severity that each reached, in falling order.
    """

    rule: str
    severities: dict[str, int]
    episodes: int
    still_firing: int
    segments: list[str]
    first_at: str
    last_at: str
    first_summary: str


class TargetSummary(Struct, kw_only=True):
    """The drift results of one target.

    Attributes
    ----------
    windows
        Number of windows with a verdict.
    notable
        Number of windows with moderate or severe drift.
    no_verdict
        Reasons of the windows without a verdict.
    """

    target: str
    windows: int
    notable: int
    strongest_effect: float | None
    strongest_method: str | None
    strongest_at: str | None
    no_verdict: list[str]


class Realised(Struct, kw_only=True):
    """The metric with the recommended and with the old threshold, in the first full window after
    the recommendation.
    """

    window_start: str
    window_end: str
    from_: float = field(name="from")
    to: float
    relative_gain: float | None
    n: int


class RecommendationSummary(Struct, kw_only=True):
    """One recommended threshold: its expected gain and its outcome.

    Attributes
    ----------
    status
        open, applied, superseded or expired.
    relative_gain
        Expected gain, measured on held-out rows.
    realised
        None if no full window has followed.
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
    """The summary of a run with one model version."""

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
    maturities: list[RungSummary]
    alerts: list[RuleSummary]
    alerts_after_the_end: int
    drift: list[TargetSummary]
    recommendations: list[RecommendationSummary]
    registry: list[dict[str, Any]]
    rejected_rows: dict[str, int]
    out: str


class NoFigures(Exception):
    """The output folder has no complete figures of the decisions lane."""


def summarise(out: Path) -> Summary:
    """Summarise the output folder of a run.

    Raises
    ------
    NoFigures
        If no window of the decisions lane is complete.
    driftline.agents.output_folder.ReadError
        If the folder is not the output of a run.
    """
    results = Results(out)
    daily = _daily_figures(results)
    if not daily:
        raise NoFigures(
            f"{out} has no complete figures of the decisions lane, so there is nothing to summarise"
        )
    days = daily[max(daily, key=parse_duration)]
    scores = daily_scores(
        results.histograms.where(
            segment="all", lane="decisions", window=days[0].window, final=True
        ).structs()
    )
    name, version = days[0].model_name, days[0].model_version
    events = [
        event
        for event in results.registry_events.structs()
        if event.event != "rejected" and not event.dry_run
    ]
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
        before=summarise_days(
            "before", [day for day in days if format_date(day.window_start_ms) < start], scores
        )
        if start
        else None,
        production=summarise_days("production", production, scores),
        periods=summarise_periods(days, scores),
        f1_follows_positive_share=correlation(production, "f1"),
        auc_follows_positive_share=correlation(production, "roc_auc"),
        maturities=[
            summarise_rung(rung, daily[rung], production)
            for rung in sorted(daily, key=parse_duration)
        ],
        alerts=summarise_alerts(
            alert for alert in results.alerts.structs() if alert.starts_at_ms <= end_ms
        ),
        alerts_after_the_end=len(
            {alert.alert_id for alert in results.alerts.structs() if alert.starts_at_ms > end_ms}
        ),
        drift=summarise_drift(
            result
            for result in results.drift.where(segment="all").structs()
            if result.window_end_ms <= end_ms
        ),
        recommendations=summarise_recommendations(results.recommendations.structs()),
        registry=[_event_document(event) for event in events],
        rejected_rows=results.rejected,
        out=str(out),
    )


def _daily_figures(results: Results) -> dict[str, list[WindowFigures]]:
    """The figures of the widest tumbling window for segment "all", by rung, in window order."""
    records_by_rung: dict[tuple[int, str], list[WindowFigures]] = {}
    for record in results.metrics.where(segment="all", lane="decisions").structs():
        if record.kind == "tumbling" and record.maturity is not None and not record.provisional:
            records_by_rung.setdefault((parse_duration(record.window), record.maturity), []).append(
                record
            )
    if not records_by_rung:
        return {}
    widest = max(size for size, _ in records_by_rung)
    return {
        rung: latest(
            records,
            group=lambda record: record.window_start_ms,
            order=lambda record: record.revision,
        )
        for (size, rung), records in records_by_rung.items()
        if size == widest
    }


def daily_scores(histograms: Iterable[Histogram]) -> DayScores:
    """By start of the day, score histograms of negatives and positives, shape (2, B)."""
    scores: DayScores = {}
    for histogram in histograms:
        counts = np.zeros((2, SCORE_BINS), dtype=np.int64)
        for half in (histogram.fit, histogram.holdout):
            for label, bins in half.items():
                counts[int(label == histogram.positive_label), bin_numbers(bins)] += list(
                    bins.values()
                )
        scores[histogram.window_start_ms] = counts
    return scores


def roc_auc(counts: NDArray[np.int64]) -> float | None:
    """Area under the ROC curve from score histograms of negatives and positives, shape (2, B).

    Scores in one bin count as ties.

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


def summarise_days(name: str, days: list[WindowFigures], scores: DayScores) -> Period:
    """Figures from the sums of the days' counts."""
    cells = _confusion_counts(days)
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


def summarise_periods(days: list[WindowFigures], scores: DayScores) -> list[Period]:
    """Figures by month, or by day if the run is short."""
    length = len("2013-01") if len(days) >= MIN_DAYS_FOR_MONTHS else len("2013-01-01")
    groups: dict[str, list[WindowFigures]] = {}
    for day in days:
        groups.setdefault(format_date(day.window_start_ms)[:length], []).append(day)
    return [summarise_days(name, group, scores) for name, group in groups.items()]


def summarise_rung(rung: str, days: list[WindowFigures], last: list[WindowFigures]) -> RungSummary:
    """Compare the figures of a rung with those of the last rung on the same days."""
    final = {day.window_start_ms: day for day in last}
    same = [day for day in days if day.window_start_ms in final]
    cells = _confusion_counts(same)
    early, late = f1(cells), f1(_confusion_counts([final[day.window_start_ms] for day in same]))
    outside = [
        not interval[0] <= final_f1 <= interval[1]
        for day in same
        if (interval := day.ci.get("f1"))
        and (final_f1 := final[day.window_start_ms].metrics.get("f1")) is not None
    ]
    return RungSummary(
        rung=rung,
        coverage=_ratio(sum(day.n for day in same), sum(day.n_predictions for day in same)) or 0.0,
        positive_share=_ratio(cells["tp"] + cells["fn"], sum(cells.values())),
        f1=early,
        f1_error=None if early is None or late is None else early - late,
        days_misleading=_ratio(sum(outside), len(outside)),
    )


def correlation(days: list[WindowFigures], metric: str) -> float | None:
    """Pearson's correlation of a metric with the share of positives over the days.

    None if fewer than three days have values, or if one of the two is constant.
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
    """The positive label, inferred from the first day on which tp and tn differ."""
    for day in days:
        if len(day.labels) == 2 and day.tp != day.tn:
            return day.labels[0] if day.matrix[0][0] == day.tp else day.labels[1]
    return None


def summarise_alerts(changes: Iterable[Alert]) -> list[RuleSummary]:
    """Summarise alert episodes by rule, in the order in which the rules first fired."""
    records: list[Alert] = list(changes)
    opening: dict[str, Alert] = {}
    for change in records:
        opening.setdefault(change.alert_id, change)
    closing = {
        alert.alert_id: alert for alert in latest(records, group=lambda alert: alert.alert_id)
    }
    by_rule: dict[str, list[Alert]] = {}
    for alert in opening.values():
        by_rule.setdefault(alert.rule, []).append(alert)
    return [
        RuleSummary(
            rule=rule,
            severities=_severities(closing[alert.alert_id] for alert in episodes),
            episodes=len(episodes),
            still_firing=sum(closing[alert.alert_id].status != "resolved" for alert in episodes),
            segments=sorted({alert.segment for alert in episodes}),
            first_at=format_time(episodes[0].starts_at_ms),
            last_at=format_time(episodes[-1].starts_at_ms),
            first_summary=episodes[0].summary,
        )
        for rule, episodes in by_rule.items()
    ]


def _severities(closing: Iterable[Alert]) -> dict[str, int]:
    """Number of episodes by severity, the highest first; an episode never becomes less severe."""
    counts = Counter(alert.severity for alert in closing)
    return {severity: counts[severity] for severity in reversed(SEVERITIES) if counts[severity]}


def summarise_drift(results: Iterable[Drift]) -> list[TargetSummary]:
    """Summarise drift results by target, the target with most drifted windows first."""
    by_target: dict[str, list[Drift]] = {}
    for result in results:
        by_target.setdefault(result.target, []).append(result)
    summaries = []
    for target, results_of_target in by_target.items():
        with_verdict = [
            result for result in results_of_target if result.level != "insufficient_data"
        ]
        strongest = max(
            (result for result in with_verdict if result.effect is not None),
            key=lambda result: result.effect or 0.0,
            default=None,
        )
        summaries.append(
            TargetSummary(
                target=target,
                windows=len({result.window_start_ms for result in with_verdict}),
                notable=len(
                    {result.window_start_ms for result in with_verdict if result.level in NOTABLE}
                ),
                strongest_effect=strongest.effect if strongest else None,
                strongest_method=strongest.method if strongest else None,
                strongest_at=format_time(strongest.window_end_ms) if strongest else None,
                no_verdict=sorted(
                    {
                        result.reason
                        for result in results_of_target
                        if result.level == "insufficient_data" and result.reason
                    }
                ),
            )
        )
    return sorted(summaries, key=lambda summary: (-summary.notable, summary.target))


def summarise_recommendations(records: Iterable[Recommendation]) -> list[RecommendationSummary]:
    """Summarise recommendations with their outcome, in the order in which they were made."""
    summaries: dict[str, RecommendationSummary] = {}
    for record in records:
        identity = record.recommendation_id
        if record.status == "open":
            summaries[identity] = RecommendationSummary(
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
            summaries[identity].realised = convert(record.evidence["realised"], Realised)
            summaries[identity].realised_reason = record.reason
        else:
            summaries[identity].status = record.status
    return list(summaries.values())


def f1(cells: dict[str, int]) -> float | None:
    """2 tp / (2 tp + fp + fn)."""
    return _ratio(2 * cells["tp"], 2 * cells["tp"] + cells["fp"] + cells["fn"])


def _confusion_counts(days: list[WindowFigures]) -> dict[str, int]:
    return {cell: sum(getattr(day, cell) or 0 for day in days) for cell in ("tn", "fp", "fn", "tp")}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _event_document(event: RegistryEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "event": event.event,
        "version": event.model_version,
        "by": event.requested_by,
        "reason": event.reason,
    }
