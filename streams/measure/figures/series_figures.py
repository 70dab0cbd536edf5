"""Figures of many series: values, intervals, bounds and reasons for nulls, from their counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.streams.intervals import Floats, Interval, divided, wilson
from driftline.streams.masks import all_true, any_true
from driftline.streams.metrics.counts import Counts, joined_counters
from driftline.streams.metrics.metric import Metric, Proportion, lacks

DECIMALS = 6


@dataclass(frozen=True, slots=True)
class SeriesFigures:
    """Lists of length S: one mapping by metric name for each series.

    Attributes
    ----------
    values
        The value, None where it is undefined.
    intervals
        Lower and upper 95 % limit.
    bounds
        The value if all missing labels went against the model and if all went for it.
    null_reasons
        Why a value is None.
    """

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
        Why rows cannot be counted by label; metrics that depend on labels are null then.
    bounded
        Whether to compute the bounds over missing labels.
    """
    s = counts.series
    values: list[Floats] = []
    intervals: list[tuple[Metric, Interval]] = []
    bounds: list[tuple[Metric, Interval]] = []
    computed = [metric for metric in metrics if problem is None or not _depends_on_labels(metric)]
    known = _values(
        [metric for metric in computed if not _lacks_everywhere(metric, counts)], counts
    )
    undefined = np.full(s, np.nan)
    for metric in metrics:
        value, interval = known.get(metric.name, (undefined, None))
        values.append(value)
        if interval is not None:
            intervals.append((metric, interval))
        if bounded and metric in computed and (limits := metric.bounds(counts)) is not None:
            bounds.append((metric, limits))
    # One table for everything: it is rounded and converted to plain numbers in one call.
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
        for series, has_truth, reason in zip(
            at.tolist(), (counts.n[at] > 0).tolist(), reasons, strict=True
        ):
            rows[series][name] = None
            null_reasons[series][name] = (
                problem
                if problem is not None and has_truth and _depends_on_labels(metric)
                else reason
            )
    unknown = missing[:, first:second] | missing[:, second:]
    low, high, split = table[:, first:second], table[:, second:], len(intervals)
    return SeriesFigures(
        rows,
        _pairs(intervals, low[:, :split], high[:, :split], unknown[:, :split]),
        _pairs(bounds, low[:, split:], high[:, split:], unknown[:, split:]),
        null_reasons,
    )


class FigureInputs(NamedTuple):
    """Metrics and counts of a lane, and whether to compute bounds."""

    metrics: Sequence[Metric]
    counts: Counts
    bounded: bool


def compute_lane_figures(
    lanes: Sequence[FigureInputs], *, problem: str | None
) -> list[SeriesFigures]:
    """`compute_figures` for lanes with the same labels, in one call.

    For few series a call costs more than its numbers.

    Parameters
    ----------
    lanes
        The counts of all lanes, without histograms and with the same columns.
    problem
        As in `compute_figures`, the same for all lanes.

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
    all_metrics = [metric for _, metric in sorted(by_name.items())]
    together = joined_counters([counts for _, counts, _ in lanes])
    figures = compute_figures(
        all_metrics, together, problem=problem, bounded=any(bounded for _, _, bounded in lanes)
    )
    figures_of_lane, begin = [], 0
    for metrics, counts, bounded in lanes:
        rows = slice(begin, begin + counts.series)
        begin += counts.series
        parts: list[list[dict[str, Any]]] = [
            figures.values[rows],
            figures.intervals[rows],
            figures.bounds[rows],
            figures.null_reasons[rows],
        ]
        if len(metrics) < len(all_metrics):
            foreign = by_name.keys() - {metric.name for metric in metrics}
            parts = [
                [{name: row[name] for name in row if name not in foreign} for row in part]
                for part in parts
            ]
        values, intervals, bounds, null_reasons = parts
        figures_of_lane.append(
            SeriesFigures(
                values, intervals, bounds if bounded else [{} for _ in bounds], null_reasons
            )
        )
    return figures_of_lane


def _values(metrics: Sequence[Metric], counts: Counts) -> dict[str, tuple[Floats, Interval | None]]:
    """Value and interval of each metric, by name."""
    values: dict[str, tuple[Floats, Interval | None]] = {}
    shares: list[Proportion] = []
    for metric in metrics:
        if (
            isinstance(metric, Proportion)
            and type(metric).value is Proportion.value
            and type(metric).interval is Proportion.interval
        ):
            shares.append(metric)
        else:
            values[metric.name] = (metric.known_value(counts), metric.interval(counts))
    if shares:
        # All plain shares in one call: half of the metrics are, and for few series a call costs
        # more than its numbers.
        rows = [metric.rows(counts) for metric in shares]
        hits, trials = np.array([hit for hit, _ in rows]), np.array([trial for _, trial in rows])
        value, (low, high) = divided(hits, trials), wilson(hits, trials)
        values |= {
            metric.name: (value[place], (low[place], high[place]))
            for place, metric in enumerate(shares)
        }
    return values


def _depends_on_labels(metric: Metric) -> bool:
    return metric.by_label and "truth" in metric.needs


def _lacks_everywhere(metric: Metric, counts: Counts) -> bool:
    """Whether no series has what the metric needs, so that it need not be computed."""
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
    """Shape (S, M): six decimals for shares, six digits for values with a unit.

    That is finer than the width of any interval, and short to write.
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
    # Adding 0 turns -0 into 0.
    return rounded + 0.0


def _pairs(
    columns: Sequence[tuple[Metric, Interval]],
    low: Floats,
    high: Floats,
    is_unknown: NDArray[np.bool_],
) -> list[dict[str, tuple[float, float]]]:
    """Both limits of each metric, by series; left out where one of them is unknown."""
    names = [metric.name for metric, _ in columns]
    if not names:
        return [{} for _ in range(len(low))]
    rows = [
        dict(zip(names, zip(*pair, strict=True), strict=True))
        for pair in zip(low.tolist(), high.tolist(), strict=True)
    ]
    for series, place in zip(*(at.tolist() for at in np.nonzero(is_unknown)), strict=True):
        del rows[series][names[place]]
    return rows
