"""From evaluated windows to the records of `metrics` and `histograms`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from schemas import results, topics
from schemas.times import DAY_MS, format_time
from streams import lanes
from streams.lanes import ALL, COUNTERS, LANE_NAMES, NO_MODEL, SCORE_BINS
from streams.measure.completeness import Completeness
from streams.measure.evaluate import Evaluated
from streams.measure.figures import figures
from streams.measure.model import Model
from streams.measure.tables import Ints
from streams.metrics.counts import Counts
from streams.metrics.metric import Metric
from streams.stage import Record, State

HISTOGRAM_FROM_MS: Final = DAY_MS
TAKEN_BACK: Final = "labels of earlier windows were taken back"

_PREDICTIONS: Final = lanes.COUNTER_CODES["predictions"]
_BIN_TEXTS: Final = np.array([str(number) for number in range(SCORE_BINS)], object)


class Announcer:
    """Makes records of evaluated windows.

    Parameters
    ----------
    metrics
        All metric plug-ins, in the order of their names.
    completeness
        What is known of completeness.
    """

    def __init__(self, metrics: Sequence[Metric], completeness: Completeness) -> None:
        self._metrics = {lane: metrics_of(lane, metrics) for lane in range(len(LANE_NAMES))}
        self._completeness = completeness

    def metrics(self, model: Model, lane: int, windows: Sequence[Evaluated], state: State) -> Iterator[Record]:
        """Metric records in the order of the windows, and of the series in each."""
        for group in _groups(windows):
            yield from self._group(model, lane, group, state)

    def _group(self, model: Model, lane: int, windows: Sequence[Evaluated], state: State) -> Iterator[Record]:
        """One call of each metric for the series of all these windows."""
        layout = windows[0].layout
        dense = windows[0].block
        sizes = np.array([len(window.series) for window in windows])
        starts = [_starts(window) for window in windows]
        ends = np.repeat([window.job.due.end_ms for window in windows], sizes)
        has_length = np.repeat([window.job.due.kind != "last_n" for window in windows], sizes)
        window_ms = np.where(has_length, ends - np.concatenate(starts), 0)
        counts = layout.counts(dense, window_ms)
        metrics = self._metrics[lane] if model.name != NO_MODEL else ()
        drawn = figures(metrics, _given(counts), problem=layout.problem, bounded=lane == lanes.DECISIONS)
        for series in np.flatnonzero((counts.matrix < 0).any(axis=(1, 2))).tolist():
            drawn.null_reasons[series] = dict.fromkeys(drawn.null_reasons[series], TAKEN_BACK)
        told_apart = layout.problem is None and lane != lanes.TRAFFIC and counts.labels
        matrices = counts.matrix.tolist() if told_apart else [[]] * len(dense)
        labels = list(counts.labels) if told_apart else []
        cells: Iterable[tuple[int | None, ...]] = [(None,) * 4] * len(dense)
        if counts.positive is not None and told_apart:
            cells = zip(*(cell.tolist() for cell in counts.binary_cells()), strict=True)
        n, n_predictions = counts.n.tolist(), counts.n_predictions.tolist()
        counters = _counters(layout.part(dense, lanes.COUNT))
        rows = zip(
            matrices, cells, n, n_predictions, counters, drawn.values, drawn.intervals, drawn.bounds, drawn.null_reasons, strict=True
        )
        for window, window_starts in zip(windows, starts, strict=True):
            due = window.job.due
            end, complete_at = _time(due.end_ms), _time(due.complete_at_ms)
            shares: Mapping[str, Sequence[float]] = {}
            if lane == lanes.DECISIONS and due.size_ms:
                shares = self._completeness.shares(model, due.window, due.last_final_ms, state)
            for (version, segment), start_ms in zip(window.series, window_starts.tolist(), strict=True):
                matrix, cell, known, predictions, counter, values, ci, bounds, null_reasons = next(rows)
                coverage = round(known / predictions, 6) if predictions and lane == lanes.DECISIONS else None
                share = shares.get(segment)
                metric = results.Metric(
                    model_name=model.name,
                    model_version=version,
                    segment=segment,
                    lane=LANE_NAMES[lane],
                    window=due.window,
                    kind=due.kind,
                    window_start=_time(start_ms),
                    window_end=end,
                    maturity=due.maturity,
                    final=due.final,
                    provisional=False,
                    revision=due.revision,
                    registry_revision=model.facts.revision,
                    n_predictions=predictions,
                    n=known,
                    label_coverage=coverage,
                    completeness=share[due.rung] if share is not None else None,
                    labels=labels,
                    matrix=matrix,
                    tn=cell[0],
                    fp=cell[1],
                    fn=cell[2],
                    tp=cell[3],
                    metrics=values,
                    ci=ci,
                    bounds=bounds,
                    counts=counter,
                    null_reasons=null_reasons,
                    complete_at=complete_at,
                )
                yield Record(topics.METRICS, metric.key(), metric)

    def histograms(self, model: Model, windows: Sequence[Evaluated]) -> Iterator[Record]:
        """The score histograms of the segment "all" of windows of at least a day, where there are scores."""
        for window in windows:
            due, layout = window.job.due, window.layout
            if layout.positive_label is None or 0 < due.size_ms < HISTOGRAM_FROM_MS:
                continue
            starts = _starts(window).tolist()
            fit, holdout = layout.part(window.dense, lanes.SCORES_FIT), layout.part(window.dense, lanes.SCORES_HOLDOUT)
            for row, (version, segment) in enumerate(window.series):
                if segment != ALL or not (fit[row].any() or holdout[row].any()):
                    continue
                histogram = results.Histogram(
                    model_name=model.name,
                    model_version=version,
                    segment=segment,
                    lane="decisions",
                    window=due.window,
                    window_start=_time(starts[row]),
                    window_end=_time(due.end_ms),
                    maturity=due.maturity,
                    final=due.final,
                    registry_revision=model.facts.revision,
                    labels=list(layout.labels),
                    positive_label=layout.positive_label,
                    fit=_sparse(layout.labels, fit[row]),
                    holdout=_sparse(layout.labels, holdout[row]),
                )
                yield Record(topics.HISTOGRAMS, histogram.key(), histogram)


def _given(counts: Counts) -> Counts:
    """The counts without the matrices that metrics cannot be made of: a window of arrivals may take back labels of an earlier one."""
    negative = (counts.matrix < 0).any(axis=(1, 2))
    if not negative.any():
        return counts
    matrix, n_predictions = counts.matrix.copy(), counts.n_predictions.copy()
    matrix[negative] = n_predictions[negative] = 0
    return dataclasses.replace(counts, matrix=matrix, n_predictions=n_predictions)


def metrics_of(lane: int, metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Those that the lane's counts can give: there are no scores in the arrivals lane."""
    return tuple(metric for metric in metrics if lane in metric.lanes and not (lane == lanes.ARRIVALS and "score" in metric.needs))


def _groups(windows: Sequence[Evaluated]) -> Iterator[list[Evaluated]]:
    """Neighbouring windows that share a block."""
    group: list[Evaluated] = []
    for window in windows:
        if group and window.block is not group[0].block:
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def _counters(counts: Ints) -> list[dict[str, int]]:
    """What else happened to the rows of each series, by name."""
    happened: list[dict[str, int]] = [{} for _ in range(len(counts))]
    for series, counter in zip(*(at.tolist() for at in np.nonzero(counts)), strict=True):
        if counter != _PREDICTIONS:
            happened[series][COUNTERS[counter]] = int(counts[series, counter])
    return happened


def _starts(window: Evaluated) -> Ints:
    """Start of the window for each of its series, shape (S,)."""
    job = window.job
    if job.starts is None:
        return np.full(len(window.series), job.start_ms, np.int64)
    return np.array([job.starts.get(number, job.start_ms) for number in window.numbers], np.int64)


def _sparse(labels: Sequence[str], row: Ints) -> dict[str, dict[str, int]]:
    """Counts by bin number of each label, from shape (K * bins,)."""
    by_label = row.reshape(len(labels), SCORE_BINS)
    sparse = {}
    for label, counts in zip(labels, by_label, strict=True):
        filled = np.flatnonzero(counts)
        sparse[label] = dict(zip(_BIN_TEXTS[filled].tolist(), counts[filled].tolist(), strict=True))
    return sparse


_time = lru_cache(maxsize=4096)(format_time)
