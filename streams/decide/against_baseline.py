"""Comparison of a figure with the baseline of its version, by an interval that includes the
variance between days.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from driftline.schemas.results import WHOLE_SHARE, WindowFigures
from driftline.schemas.times import format_time, parse_time
from driftline.streams.baseline import Baseline
from driftline.streams.decide.daily_variance import TAIL, Days, widened
from driftline.streams.decide.judgement import Judgement, Severity, Situation, judgement_of, rows_of
from driftline.streams.decide.metric_info import higher_is_better, unit_of
from driftline.streams.decide.wording import about, figure, headline, interval, share, span


class Drops(msgspec.Struct, frozen=True):
    """Limits of a relative change for the worse.

    Parameters
    ----------
    breached
        (severity, relative change), the less severe first.
    clear
        Largest change at which the alert resolves.
    tail
        Probability of a change by chance in one window at which a change counts at its size; None
        where a change counts at the least size that its 95 % interval allows.
    """

    breached: tuple[tuple[Severity, float], ...]
    clear: float
    tail: float | None = None


class Spread(msgspec.Struct, frozen=True):
    """How far values of a metric lie from the baseline by chance.

    Parameters
    ----------
    daily_variance, freedom
        Variance between days and its degrees of freedom; None where the counts alone decide.
    source
        Where the variance is from, in words.
    baseline_ci, baseline_ms
        Interval and span of the baseline.
    """

    daily_variance: float | None
    freedom: int
    source: str
    baseline_ci: tuple[float, float] | None
    baseline_ms: int | None

    def around(
        self,
        value: float,
        ci: tuple[float, float] | None,
        *,
        window_ms: int,
        tail: float = TAIL,
    ) -> tuple[float, float]:
        """The interval around a value of a window, as `daily_variance.widened`; around the baseline
        itself it is the usual range of a window with this interval from counts.
        """
        return widened(
            value,
            ci,
            window_ms=window_ms,
            baseline_ci=self.baseline_ci,
            baseline_ms=self.baseline_ms,
            daily_variance=self.daily_variance,
            freedom=self.freedom,
            tail=tail,
        )


def judge_against_baseline(
    figures: WindowFigures, situation: Situation, metrics: Sequence[str], drops: Drops
) -> Judgement:
    """Judge a breach where even the better end of the interval is worse than the baseline by more
    than a limit; with `Drops.tail`, where the value is, and chance is ruled out.

    The interval is `daily_variance.widened`: the variance of the counts, or that between days where
    it is greater, of window and baseline together. The variance between days is the baseline's if
    it has one, else that of the series' recent days; without either, the counts alone decide.

    Parameters
    ----------
    metrics
        Names in the order of preference; the first one that has a baseline is judged.

    Notes
    -----
    The verdict is "unclear" without a baseline at this maturity, without a value, for a baseline
    of 0, since no change is relative to it, and for a window that data cover only in part: its
    variance between days is not that of a whole one.
    """
    baseline = situation.standing.baselines.get(figures.maturity or "-")
    choice = None if baseline is None else judged_metric(baseline, metrics)
    value = None if choice is None else figures.metrics.get(choice[0])
    is_part = figures.covered_share < WHOLE_SHARE
    if baseline is None or choice is None or value is None or is_part:
        return judgement_of(figures, "unclear")
    metric, usual = choice
    plain = judgement_of(figures, "within")
    spread = spread_of(baseline, situation.days, metric)
    better = higher_is_better(metric)

    def interval_of(tail: float) -> tuple[float, float]:
        length_ms = plain.window_end_ms - plain.window_start_ms
        return spread.around(value, figures.ci.get(metric), window_ms=length_ms, tail=tail)

    def worse_by(level: float) -> float:
        return (usual - level if better else level - usual) / usual

    ci, change = interval_of(TAIL), worse_by(value)
    if drops.tail is None:
        surely = worse_by(ci[1] if better else ci[0])
    else:
        low, high = interval_of(drops.tail)
        surely = change if worse_by(high if better else low) > 0.0 else 0.0
    beyond = [(severity, drop) for severity, drop in drops.breached if surely > drop]
    severity, drop = beyond[-1] if beyond else drops.breached[0]
    unit = unit_of(metric)
    cleared = not beyond and change <= drops.clear
    if beyond:
        moved = "fell to" if better else "rose to"
    else:
        moved = "is back at" if cleared else "is at"
    direction = "below" if value < usual else "above"
    return msgspec.structs.replace(
        plain,
        verdict="breach" if beyond else "clear" if cleared else "within",
        severity=severity,
        finding=f"{headline(metric)} of {about(figures)} {moved} {figure(value, unit)}"
        f"{interval(ci, unit)} over {span(plain.window_start_ms, plain.window_end_ms)}: "
        f"{share(change)} {direction} its baseline {figure(usual, unit)}",
        metric=metric,
        value=value,
        baseline=usual,
        threshold=usual * (1 - drop if better else 1 + drop),
        comparator="<" if better else ">",
        n=rows_of(figures),
        ci=ci,
        details={"relative_change": -change if better else change, "interval": spread.source},
        usual_losses=baseline.losses,
    )


def level_of(figures: WindowFigures, situation: Situation, judged: Judgement) -> Baseline | None:
    """The level that a judgement found, as a baseline; None if it found none.

    The variance between days is that of the baseline it was compared with.
    """
    usual = situation.standing.baselines.get(figures.maturity or "-")
    if usual is None or judged.metric is None or judged.value is None:
        return None
    metric = judged.metric
    return Baseline(
        metrics={metric: judged.value},
        span=(format_time(judged.window_start_ms), format_time(judged.window_end_ms)),
        ci={metric: figures.ci[metric]} if metric in figures.ci else {},
        n=figures.n,
        n_predictions=figures.n_predictions,
        daily_variance={metric: usual.daily_variance[metric]}
        if metric in usual.daily_variance
        else {},
        days=usual.days,
        losses=figures.losses,
    )


def judged_metric(baseline: Baseline, metrics: Sequence[str]) -> tuple[str, float] | None:
    """The first of the metrics with a baseline above 0, and that baseline; None without one."""
    for metric in metrics:
        usual = _value(baseline, metric)
        if usual is not None and usual > 0:
            return metric, usual
    return None


def _value(baseline: Baseline, metric: str) -> float | None:
    if metric == "label_coverage" and metric not in baseline.metrics:
        return baseline.label_coverage
    return baseline.metrics.get(metric)


def spread_of(baseline: Baseline, days: Days, metric: str) -> Spread:
    """How far the values of a metric lie from a baseline by chance.

    Parameters
    ----------
    days
        The recent days of the series, for a baseline without a variance between days.
    """
    span = baseline.span
    length_ms = None if span is None else parse_time(span[1]) - parse_time(span[0])
    limits = baseline.ci.get(metric)
    if metric in baseline.daily_variance and baseline.days > 1:
        variance = baseline.daily_variance[metric]
        return Spread(
            variance, baseline.days - 1, "day-to-day variance of the baseline", limits, length_ms
        )
    recent = days.variance(metric)
    if recent is not None:
        return Spread(*recent, "day-to-day variance of the last 28 days", limits, length_ms)
    return Spread(None, 0, "counts alone", limits, length_ms)
