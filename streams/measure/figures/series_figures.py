"""From counts of many series to one mapping of figures per series: values, intervals, bounds, and
reasons for nulls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.streams.intervals import Floats, Interval, divided, wilson
from driftline.streams.masks import all_true, any_true
from driftline.streams.metrics.counts import Counts, joined_counters
from driftline.streams.metrics.metric import Metric, Proportion, lacks

DECIMALS = 6


@dataclass(frozen=True, slots=True)
class SeriesFigures:
    """Lists of length S, one mapping by metric name per series."""

    values: list[dict[str, float | None]]
    intervals: list[dict[str, tuple[float, float]]]
    bounds: list[dict[str, tuple[float, float]]]
    null_reasons: list[dict[str, str]]


def compute_figures(
    metrics: Sequence[Metric], counts: Counts, *, problem: str | None, bounded: bool
) -> SeriesFigures:
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
    refused = [metric for metric in metrics if problem is not None and "truth" in metric.needs]
    asked = [metric for metric in metrics if metric not in refused]
    known = _known([metric for metric in asked if not _lacking(metric, counts)], counts)
    undefined = np.full(s, np.nan)
    for metric in metrics:
        value, interval = known.get(metric.name, (undefined, None))
        values.append(value)
        if interval is not None:
            intervals.append((metric, interval))
        if bounded and metric in asked and (limits := metric.bounds(counts)) is not None:
            bounds.append((metric, limits))
    # One table for everything, so that it is rounded and made into plain numbers at once.
    pairs = [*intervals, *bounds]
    columns = [*values, *(low for _, (low, _) in pairs), *(high for _, (_, high) in pairs)]
    owners = [*metrics, *(metric for metric, _ in pairs), *(metric for metric, _ in pairs)]
    table = _rounded(owners, columns, s)
    missing = np.isnan(table)
    first, second = len(metrics), len(metrics) + len(pairs)
    names = [metric.name for metric in metrics]
    rows: list[dict[str, float | None]] = [
        dict(zip(names, row, strict=True)) for row in table[:, :first].tolist()
    ]
    null_reasons: list[dict[str, str]] = [{} for _ in range(s)]
    for place in np.flatnonzero(missing[:, :first].any(axis=0)).tolist():
        metric, name, at = metrics[place], names[place], np.flatnonzero(missing[:, place])
        reasons = metric.null_reasons(counts, at)
        for series, known, reason in zip(
            at.tolist(), (counts.n[at] > 0).tolist(), reasons, strict=True
        ):
            rows[series][name] = None
            null_reasons[series][name] = (
                problem if problem is not None and known and "truth" in metric.needs else reason
            )
    unknown = missing[:, first:second] | missing[:, second:]
    low, high, split = table[:, first:second], table[:, second:], len(intervals)
    return SeriesFigures(
        rows,
        _pairs(intervals, low[:, :split], high[:, :split], unknown[:, :split]),
        _pairs(bounds, low[:, split:], high[:, split:], unknown[:, split:]),
        null_reasons,
    )


def compute_lane_figures(
    lanes: Sequence[tuple[Sequence[Metric], Counts, bool]], *, problem: str | None
) -> list[SeriesFigures]:
    """`figures` of lanes that tell rows apart by the same labels, worked out together: for few
    series a call costs more than its numbers.

    Parameters
    ----------
    lanes
        Metrics, counts without histograms, and whether to ask for bounds; the counts of all lanes
        have the same columns.
    problem
        As for `figures`, the same for all lanes.

    Returns
    -------
    list
        The figures of each lane, in the order of the lanes.
    """
    if len(lanes) < 2:
        return [
            compute_figures(metrics, counts, problem=problem, bounded=bounded)
            for metrics, counts, bounded in lanes
        ]
    by_name = {metric.name: metric for metrics, _, _ in lanes for metric in metrics}
    every = [metric for _, metric in sorted(by_name.items())]
    together = joined_counters([counts for _, counts, _ in lanes])
    drawn = compute_figures(
        every, together, problem=problem, bounded=any(bounded for _, _, bounded in lanes)
    )
    found, begin = [], 0
    for metrics, counts, bounded in lanes:
        rows = slice(begin, begin + counts.series)
        begin += counts.series
        parts: list[list[dict[str, Any]]] = [
            drawn.values[rows],
            drawn.intervals[rows],
            drawn.bounds[rows],
            drawn.null_reasons[rows],
        ]
        if len(metrics) < len(every):
            others = by_name.keys() - {metric.name for metric in metrics}
            parts = [
                [{name: row[name] for name in row if name not in others} for row in part]
                for part in parts
            ]
        values, intervals, bounds, null_reasons = parts
        found.append(
            SeriesFigures(
                values, intervals, bounds if bounded else [{} for _ in bounds], null_reasons
            )
        )
    return found


def _known(metrics: Sequence[Metric], counts: Counts) -> dict[str, tuple[Floats, Interval | None]]:
    """Value and interval of each metric, by name."""
    known: dict[str, tuple[Floats, Interval | None]] = {}
    shares: list[Proportion] = []
    for metric in metrics:
        if (
            isinstance(metric, Proportion)
            and type(metric).value is Proportion.value
            and type(metric).interval is Proportion.interval
        ):
            shares.append(metric)
        else:
            known[metric.name] = (metric.known_value(counts), metric.interval(counts))
    if shares:
        # All plain shares in one go: half of the metrics are, and for few series a call costs more
        # than the numbers in it.
        rows = [metric.rows(counts) for metric in shares]
        hits, trials = np.array([hit for hit, _ in rows]), np.array([trial for _, trial in rows])
        value, (low, high) = divided(hits, trials), wilson(hits, trials)
        known |= {
            metric.name: (value[place], (low[place], high[place]))
            for place, metric in enumerate(shares)
        }
    return known


def _lacking(metric: Metric, counts: Counts) -> bool:
    """Whether no series has what the metric needs, so that it need not be asked."""
    if metric.binary and counts.positive is None:
        return True
    for need in metric.needs:
        if need == "truth" and all(lacks(need, counts)[0]):
            return True
        if need == "score" and not len(counts.scores.series):
            return True
        histogram = counts.delay if need == "delay" else counts.latency
        if need in ("delay", "latency") and (histogram is None or not any_true(histogram.counts)):
            return True
    return False


def _rounded(metrics: Sequence[Metric], columns: Sequence[Floats], s: int) -> Floats:
    """Shape (S, M): six decimals for shares, six digits for what has a unit, below any interval's
    width and short to write.
    """
    if not columns:
        return np.zeros((s, 0))
    # A third of the time of np.stack.
    table = np.array(columns).T
    plain = np.array([metric.unit in ("share", "") for metric in metrics], np.bool_)
    rounded: Floats = table.round(DECIMALS)
    if not all_true(plain):
        with_unit = table[:, ~plain]
        with np.errstate(divide="ignore", invalid="ignore"):
            digits = np.floor(np.log10(np.abs(with_unit)))
        scale = 10.0 ** np.where(np.isfinite(digits), np.maximum(DECIMALS - 1 - digits, 0), 0)
        rounded[:, ~plain] = np.round(with_unit * scale) / scale
    # Adding 0 makes 0 of -0.
    return rounded + 0.0


def _pairs(
    columns: Sequence[tuple[Metric, Interval]],
    low: Floats,
    high: Floats,
    unknown: NDArray[np.bool_],
) -> list[dict[str, tuple[float, float]]]:
    """Both limits of each metric that has them, by series."""
    names = [metric.name for metric, _ in columns]
    if not names:
        return [{} for _ in range(len(low))]
    rows = [
        dict(zip(names, zip(*pair, strict=True), strict=True))
        for pair in zip(low.tolist(), high.tolist(), strict=True)
    ]
    for series, place in zip(*(at.tolist() for at in np.nonzero(unknown)), strict=True):
        del rows[series][names[place]]
    return rows
