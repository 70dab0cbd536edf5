"""From counts of many series to one mapping of figures per series: values, intervals, bounds, and reasons for nulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streams.intervals import Floats, Interval
from streams.metrics.counts import Counts
from streams.metrics.metric import Metric

DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Figures:
    """Lists of length S, one mapping by metric name per series."""

    values: list[dict[str, float | None]]
    intervals: list[dict[str, tuple[float, float]]]
    bounds: list[dict[str, tuple[float, float]]]
    null_reasons: list[dict[str, str]]


def figures(metrics: Sequence[Metric], counts: Counts, *, problem: str | None, bounded: bool) -> Figures:
    """All metrics of all series.

    Parameters
    ----------
    metrics
        Those of the lane, in the order of their names.
    problem
        Why rows cannot be told apart by label; metrics that need truths are null then.
    bounded
        Whether to ask for the bounds over missing labels.
    """
    s = counts.series
    values: list[Floats] = []
    intervals: list[tuple[Metric, Interval]] = []
    bounds: list[tuple[Metric, Interval]] = []
    for metric in metrics:
        if problem is not None and "truth" in metric.needs:
            values.append(np.full(s, np.nan))
            continue
        if _lacking(metric, counts):
            values.append(np.full(s, np.nan))
        else:
            values.append(metric.value(counts))
            if (interval := metric.interval(counts)) is not None:
                intervals.append((metric, interval))
        if bounded and (limits := metric.bounds(counts)) is not None:
            bounds.append((metric, limits))
    names = [metric.name for metric in metrics]
    table = _rounded(metrics, values, s)
    rows: list[dict[str, float | None]] = [dict(zip(names, row, strict=True)) for row in table.tolist()]
    null_reasons: list[dict[str, str]] = [{} for _ in range(s)]
    missing = np.isnan(table)
    for place in np.flatnonzero(missing.any(axis=0)).tolist():
        metric, name, at = metrics[place], names[place], np.flatnonzero(missing[:, place])
        reasons = metric.null_reasons(counts, at)
        for series, known, reason in zip(at.tolist(), (counts.n[at] > 0).tolist(), reasons, strict=True):
            rows[series][name] = None
            null_reasons[series][name] = problem if problem is not None and known and "truth" in metric.needs else reason
    return Figures(rows, _pairs(intervals, s), _pairs(bounds, s), null_reasons)


def _lacking(metric: Metric, counts: Counts) -> bool:
    """Whether no series has what the metric needs, so that it need not be asked."""
    if metric.binary and counts.positive is None:
        return True
    for need in metric.needs:
        if need == "truth" and not counts.n.any():
            return True
        if need == "score" and not len(counts.scores.series):
            return True
        histogram = counts.delay if need == "delay" else counts.latency
        if need in ("delay", "latency") and (histogram is None or not histogram.counts.any()):
            return True
    return False


def _rounded(metrics: Sequence[Metric], columns: Sequence[Floats], s: int) -> Floats:
    """Shape (S, M): six decimals for shares, six digits for what has a unit, below any interval's width and short to write."""
    if not columns:
        return np.zeros((s, 0))
    table = np.stack(columns, axis=1)
    plain = np.array([metric.unit in ("share", "") for metric in metrics], np.bool_)
    rounded: Floats = np.round(table, DECIMALS)
    if not plain.all():
        with_unit = table[:, ~plain]
        with np.errstate(divide="ignore", invalid="ignore"):
            digits = np.floor(np.log10(np.abs(with_unit)))
        scale = 10.0 ** np.where(np.isfinite(digits), np.maximum(DECIMALS - 1 - digits, 0), 0)
        rounded[:, ~plain] = np.round(with_unit * scale) / scale
    # Adding 0 makes 0 of -0.
    return rounded + 0.0


def _pairs(columns: Sequence[tuple[Metric, Interval]], s: int) -> list[dict[str, tuple[float, float]]]:
    """Both limits of each metric that has them, by series."""
    metrics = [metric for metric, _ in columns]
    names = [metric.name for metric in metrics]
    low, high = (_rounded(metrics, [interval[side] for _, interval in columns], s) for side in (0, 1))
    rows = [dict(zip(names, zip(*pair, strict=True), strict=True)) for pair in zip(low.tolist(), high.tolist(), strict=True)]
    undefined = np.isnan(low) | np.isnan(high)
    for series in np.flatnonzero(undefined.any(axis=1)).tolist():
        for place in np.flatnonzero(undefined[series]).tolist():
            del rows[series][names[place]]
    return rows
