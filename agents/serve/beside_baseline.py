"""A metric beside its baseline: usual range, alert line, and the verdict that follows from both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from driftline.agents.read_model.figure_reads import Series, SeriesFilter
from driftline.agents.read_model.figure_reads import Span as Windows
from driftline.agents.serve.answers.answer import Span
from driftline.agents.serve.answers.figures import AlertLine, BaselineFigure, Figure, Verdict
from driftline.agents.serve.series_choice import name_of
from driftline.agents.serve.standing import Standing
from driftline.agents.serve.view import View
from driftline.schemas.results import (
    NO_MATURITY,
    WHOLE_SHARE,
    Interval,
    WindowFigures,
    describe_losses,
)
from driftline.schemas.times import DAY_MS, EpochMs, parse_duration
from driftline.streams.baseline import Baseline
from driftline.streams.decide.against_baseline import Spread, spread_of
from driftline.streams.decide.daily_variance import KEPT_DAYS, Days
from driftline.streams.decide.metric_info import higher_is_better, known_metrics
from driftline.streams.decide.rule import MetricRule
from driftline.streams.lanes import ALL

DIGITS: Final = 6
"""Decimals, as records have them."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """How one value lies."""

    usual: Interval | None
    line: AlertLine | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class BesideBaseline:
    """One metric of one series beside its baseline.

    Attributes
    ----------
    value
        The baseline; None without one.
    spread
        How far values lie from it by chance.
    rules
        Those that judge the series at its rung.
    """

    metric: str
    figure: BaselineFigure | None
    spread: Spread | None
    rules: list[MetricRule]

    def place(
        self,
        value: float | None,
        ci: Interval | None,
        *,
        window_ms: int,
        covered_share: float,
        provisional: bool,
    ) -> Placed:
        """How a value of a window lies to the baseline.

        Parameters
        ----------
        ci
            Its 95 % interval from counts.
        window_ms
            Length of the window; 0 where it has none.
        """
        usual = self._usual(ci, window_ms)
        line = None if value is None else self._line(value, ci, usual)
        return Placed(
            usual=usual,
            line=line,
            verdict=self._verdict(value, usual, covered_share, provisional),
        )

    def _usual(self, ci: Interval | None, window_ms: int) -> Interval | None:
        if self.figure is None or self.spread is None or window_ms <= 0:
            return None
        low, high = self.spread.around(self.figure.value, ci, window_ms=window_ms)
        return round(low, DIGITS), round(high, DIGITS)

    def _line(self, value: float, ci: Interval | None, usual: Interval | None) -> AlertLine | None:
        half = None
        if usual is not None and self.figure is not None:
            half = (self.figure.value, usual[1] - self.figure.value)
        for rule in self.rules:
            line = rule.alert_line(self.metric, value, ci, half)
            if line is not None:
                return AlertLine(
                    rule=rule.name,
                    severity=_severity(rule),
                    side=self._side(rule),
                    value=round(line, DIGITS),
                )
        return None

    def _side(self, rule: MetricRule) -> Literal["below", "above"]:
        if getattr(rule, "above", None) is not None:
            return "above"
        if getattr(rule, "below", None) is not None:
            return "below"
        return "below" if higher_is_better(self.metric) else "above"

    def _verdict(
        self, value: float | None, usual: Interval | None, covered_share: float, provisional: bool
    ) -> Verdict:
        if value is None:
            return "no_value"
        if provisional:
            return "provisional"
        if usual is None:
            return "no_baseline"
        if covered_share < WHOLE_SHARE:
            return "covered_in_part"
        if usual[0] <= value <= usual[1]:
            return "usual"
        plugin = known_metrics().get(self.metric)
        if plugin is None or plugin.higher_is_better is None:
            return "unusual"
        return "better" if (value > usual[1]) == plugin.higher_is_better else "worse"


def beside_baseline(
    view: View, standing: Standing, series: Series, metric: str, *, is_judged_rung: bool
) -> BesideBaseline:
    """A metric of a series beside its baseline.

    Parameters
    ----------
    is_judged_rung
        Whether rules that name no rung judge that of the series.
    """
    baseline = standing.baseline(series.maturity) if _has_baseline(series) else None
    value = None if baseline is None else _value(baseline, metric)
    rules = [
        rule
        for rule in standing.rules_on(series.lane, series.window, series.segment)
        if rule.maturity == series.maturity or (rule.maturity is None and is_judged_rung)
    ]
    if baseline is None or value is None:
        return BesideBaseline(metric=metric, figure=None, spread=None, rules=rules)
    limits = baseline.ci.get(metric)
    days = Days() if metric in baseline.daily_variance else _recent_days(view, series, metric)
    return BesideBaseline(
        metric=metric,
        figure=BaselineFigure(
            value=value,
            low=None if limits is None else limits[0],
            high=None if limits is None else limits[1],
            n=baseline.n,
            n_predictions=baseline.n_predictions,
            span=None
            if baseline.span is None
            else Span(start_ms=EpochMs.of(baseline.span[0]), end_ms=EpochMs.of(baseline.span[1])),
            recorded_by=baseline.recorded_by,
        ),
        spread=spread_of(baseline, days, metric),
        rules=rules,
    )


def _has_baseline(series: Series) -> bool:
    """Baselines are recorded for all rows, by rung and for traffic."""
    return series.segment == ALL and series.lane != "arrivals"


def figure_of(record: WindowFigures, series: Series, beside: BesideBaseline) -> Figure:
    """A metric of a record, with everything that it has to be shown with."""
    metric = beside.metric
    value, ci = record.metrics.get(metric), record.ci.get(metric)
    placed = beside.place(
        value,
        ci,
        window_ms=length_of(record),
        covered_share=record.covered_share,
        provisional=record.provisional,
    )
    return Figure(
        series=name_of(series),
        metric=metric,
        value=value,
        low=None if ci is None else ci[0],
        high=None if ci is None else ci[1],
        null_reason=null_reason(record, metric),
        n=record.n,
        n_predictions=record.n_predictions,
        window_start_ms=record.window_start_ms,
        window_end_ms=record.window_end_ms,
        complete_at_ms=record.complete_at_ms,
        final=record.final,
        provisional=record.provisional,
        covered_share=record.covered_share,
        label_coverage=record.label_coverage,
        completeness=record.completeness,
        baseline=beside.figure,
        usual_low=None if placed.usual is None else placed.usual[0],
        usual_high=None if placed.usual is None else placed.usual[1],
        alert_line=placed.line,
        verdict=placed.verdict,
        losses=describe_losses(record.losses) if record.losses else None,
    )


def null_reason(record: WindowFigures, metric: str) -> str | None:
    """Why a metric has no value; None if it has one."""
    if record.metrics.get(metric) is not None:
        return None
    if metric not in record.metrics:
        return "not computed for this series"
    return record.null_reasons.get(metric, "not defined")


def length_of(record: WindowFigures) -> int:
    """Length of a window in ms; 0 for one that has no fixed length."""
    regular = record.kind in ("tumbling", "sliding")
    return int(record.window_end_ms) - int(record.window_start_ms) if regular else 0


def _value(baseline: Baseline, metric: str) -> float | None:
    if metric == "label_coverage" and metric not in baseline.metrics:
        return baseline.label_coverage
    return baseline.metrics.get(metric)


def _severity(rule: MetricRule) -> str:
    return next(iter(rule.grades), getattr(rule, "severity", "warning"))


def _recent_days(view: View, series: Series, metric: str) -> Days:
    """The last days of a series, which the rules take where a baseline has no variance."""
    wanted = SeriesFilter(
        model_name=series.model_name,
        model_version=series.model_version,
        segment=series.segment,
        lane=series.lane,
        maturity=series.maturity or NO_MATURITY,
    )
    for each in view.reads.figures.series(wanted):
        if each.kind == "tumbling" and parse_duration(each.window) == DAY_MS:
            span = view.reads.figures.span(each)
            since_ms = 0 if span is None else span[1] - KEPT_DAYS * DAY_MS
            curve = view.reads.figures.curve(each, [metric], Windows(since_ms=since_ms))
            days = Days()
            values = curve.value[metric].tolist()
            for end_ms, value in zip(curve.end_ms.tolist(), values, strict=True):
                known = None if value != value else value
                days = days.with_day(end_ms, {metric: known}, [metric])
            return days
    return Days()
