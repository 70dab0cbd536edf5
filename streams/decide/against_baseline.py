"""Judges a figure against the baseline of its version, with intervals that know how much days
differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.times import parse_time
from driftline.streams.decide.daily_variance import widened
from driftline.streams.decide.judgement import Judgement, Severity, Situation, judgement_of, rows_of
from driftline.streams.decide.metric_info import higher_is_better, unit_of
from driftline.streams.decide.wording import about, figure, headline, interval, share, span
from driftline.streams.registry.command_params import Baseline


class Drops(msgspec.Struct, frozen=True):
    """Relative changes for the worse.

    Parameters
    ----------
    breached
        (severity, relative change), the less severe first.
    clear
        The change that the value may still have when the alert ends.
    """

    breached: tuple[tuple[Severity, float], ...]
    clear: float


def judge_against_baseline(
    seen: WindowFigures, situation: Situation, metrics: Sequence[str], drops: Drops
) -> Judgement:
    """Breach where even the better side of the interval is worse than the baseline by more than a
    drop.

    The interval is `days.widened`: of the counts, or of the day-to-day variance where that is
    greater, for the window and for the baseline together. Where the baseline says how much its days
    differed, that is used; else the series' own recent days; else the counts alone.

    Parameters
    ----------
    metrics
        Names in the order of preference; the first one that has a baseline is judged.

    Notes
    -----
    Unclear without a baseline at this maturity, without a value, and for a baseline of 0, which
    nothing can be relative to.
    """
    baseline = situation.standing.baselines.get(seen.maturity or "-")
    held = (
        None
        if baseline is None
        else next(
            ((m, v) for m in metrics if (v := _value(baseline, m)) is not None and v > 0), None
        )
    )
    if baseline is None or held is None or (value := seen.metrics.get(held[0])) is None:
        return judgement_of(seen, "unclear")
    metric, usual = held
    plain = judgement_of(seen, "within")
    variance, freedom, source = _daily_variance(baseline, situation, metric)
    ci = widened(
        value,
        seen.ci.get(metric),
        window_ms=plain.window_end_ms - plain.window_start_ms,
        baseline_ci=baseline.ci.get(metric),
        baseline_ms=parse_time(baseline.span[1]) - parse_time(baseline.span[0])
        if baseline.span
        else None,
        daily_variance=variance,
        freedom=freedom,
    )
    better = higher_is_better(metric)

    def worse_by(figure: float) -> float:
        return (usual - figure if better else figure - usual) / usual

    surely = worse_by(ci[1] if better else ci[0])
    beyond = [(severity, drop) for severity, drop in drops.breached if surely > drop]
    severity, drop = beyond[-1] if beyond else drops.breached[0]
    change, unit = worse_by(value), unit_of(metric)
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
        said=f"{headline(metric)} of {about(seen)} {moved} {figure(value, unit)}{interval(ci, unit)} over "
        f"{span(plain.window_start_ms, plain.window_end_ms)}: {share(change)} {direction} its baseline {figure(usual, unit)}",
        metric=metric,
        value=value,
        baseline=usual,
        threshold=usual * (1 - drop if better else 1 + drop),
        comparator="<" if better else ">",
        n=rows_of(seen),
        ci=ci,
        details={"relative_change": -change if better else change, "interval": source},
    )


def _value(baseline: Baseline, metric: str) -> float | None:
    if metric == "label_coverage" and metric not in baseline.metrics:
        return baseline.label_coverage
    return baseline.metrics.get(metric)


def _daily_variance(
    baseline: Baseline, situation: Situation, metric: str
) -> tuple[float | None, int, str]:
    """Variance between days, its degrees of freedom, and where it is from."""
    if metric in baseline.daily_variance and baseline.days > 1:
        return (
            baseline.daily_variance[metric],
            baseline.days - 1,
            "day-to-day variance of the baseline",
        )
    recent = situation.days.variance(metric)
    if recent is not None:
        return *recent, "day-to-day variance of the last 28 days"
    return None, 0, "counts alone"
