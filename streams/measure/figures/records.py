"""From evaluated windows to the records of `metrics` and `histograms`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Self
from weakref import WeakKeyDictionary

import msgspec
import numpy as np

from driftline.schemas import results, topics
from driftline.schemas.times import EpochMs
from driftline.streams import lanes
from driftline.streams.lanes import ALL, COUNTERS, LANE_NAMES, NO_MODEL, SCORE_BINS
from driftline.streams.measure.counts.count_table import Ints
from driftline.streams.measure.counts.gather import CountBlock, WindowCounts
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.figures.completeness import Completeness
from driftline.streams.measure.figures.series_figures import SeriesFigures, compute_lane_figures
from driftline.streams.metrics.metric import Metric
from driftline.streams.stage import Record, State

_PREDICTIONS: Final = lanes.COUNTER_CODES["predictions"]
_BIN_TEXTS: Final = np.array([str(number) for number in range(SCORE_BINS)], object)


class RecordBuilder:
    """Makes records of evaluated windows.

    Parameters
    ----------
    metrics
        All metric plug-ins, in the order of their names.
    completeness
        What is known of completeness.
    """

    def __init__(self, metrics: Sequence[Metric], completeness: Completeness) -> None:
        self._metrics = metrics
        self._completeness = completeness
        # Forgotten with the block.
        self._said: WeakKeyDictionary[CountBlock, _Said] = WeakKeyDictionary()

    def draw(self, blocks: Sequence[tuple[CountBlock, MeasuredModel]]) -> None:
        """Work out the figures of blocks without histograms, those of several lanes together where
        they can; with a model of each block.
        """
        alike: dict[tuple[object, ...], list[tuple[CountBlock, MeasuredModel]]] = {}
        for block, model in blocks:
            layout = block.layout
            kind = (
                block.lane == lanes.TRAFFIC,
                layout.labels,
                layout.positive,
                layout.problem,
                model.config.metrics,
            )
            alike.setdefault(kind, []).append((block, model))
        for group in alike.values():
            self._draw(group)

    def _draw(self, group: Sequence[tuple[CountBlock, MeasuredModel]]) -> None:
        asked = [
            (chosen(self._metrics, block.lane, model), block.counts, block.lane == lanes.DECISIONS)
            for block, model in group
        ]
        drawn = compute_lane_figures(asked, problem=group[0][0].layout.problem)
        for (block, _), of_block in zip(group, drawn, strict=True):
            self._said[block] = _Said.of(block, of_block)

    def metrics(
        self,
        model: MeasuredModel,
        windows: Sequence[WindowCounts],
        state: State,
        *,
        provisional: bool = False,
    ) -> Iterator[Record]:
        """Metric records in the order of the windows, and of the series in each.

        `provisional` ones have no completeness, which is what experience says of a rung that is
        complete.
        """
        for window in windows:
            block, due, lane = window.block, window.job.due, window.block.lane
            if block not in self._said:
                self._draw([(block, model)])
            said = self._said[block]
            end, complete_at = EpochMs(due.end_ms), EpochMs(due.complete_at_ms)
            shares: Mapping[str, Sequence[float]] = {}
            if lane == lanes.DECISIONS and due.size_ms and not provisional:
                shares = self._completeness.shares(model, due.window, due.last_final_ms, state)
            starts = window.starts().tolist()
            for row, ((version, segment), start_ms) in enumerate(
                zip(window.series, starts, strict=True), window.first
            ):
                known, predictions = said.n[row], said.n_predictions[row]
                share = shares.get(segment)
                tn, fp, fn, tp = said.cells[row]
                metric = results.WindowFigures(
                    model_name=model.name,
                    model_version=version,
                    segment=segment,
                    lane=LANE_NAMES[lane],
                    window=due.window,
                    kind=due.kind,
                    window_start_ms=EpochMs(start_ms),
                    window_end_ms=end,
                    maturity=due.maturity,
                    final=due.final,
                    provisional=provisional,
                    revision=due.revision,
                    registry_revision=model.facts.revision,
                    n_predictions=predictions,
                    n=known,
                    label_coverage=round(known / predictions, 6)
                    if predictions and lane == lanes.DECISIONS
                    else None,
                    completeness=share[due.rung] if share is not None else None,
                    labels=said.labels,
                    matrix=said.matrices[row],
                    tn=tn,
                    fp=fp,
                    fn=fn,
                    tp=tp,
                    metrics=said.figures.values[row],
                    ci=said.figures.intervals[row],
                    bounds=said.figures.bounds[row],
                    counts=said.counters[row],
                    null_reasons=said.figures.null_reasons[row],
                    complete_at_ms=complete_at,
                )
                yield Record(topics.METRICS, metric)

    def histograms(
        self, model: MeasuredModel, name: str, windows: Sequence[WindowCounts]
    ) -> Iterator[Record]:
        """The score histograms of the segment "all" of the window of a name, where there are
        scores.
        """
        for window in windows:
            due, layout = window.job.due, window.layout
            if due.window != name or layout.positive_label is None:
                continue
            starts = window.starts().tolist()
            scored = np.any(
                window.block.layout.part(window.dense, lanes.SCORES_FIT), axis=1
            ).tolist()
            for row, (version, segment) in enumerate(window.series):
                if segment != ALL or not scored[row]:
                    continue
                fit, holdout = window.scores(window.numbers[row])
                histogram = results.Histogram(
                    model_name=model.name,
                    model_version=version,
                    segment=segment,
                    lane="decisions",
                    window=due.window,
                    window_start_ms=EpochMs(starts[row]),
                    window_end_ms=EpochMs(due.end_ms),
                    maturity=due.maturity,
                    final=due.final,
                    registry_revision=model.facts.revision,
                    labels=list(layout.labels),
                    positive_label=layout.positive_label,
                    fit=_sparse(layout.labels, fit),
                    holdout=_sparse(layout.labels, holdout),
                )
                yield Record(topics.HISTOGRAMS, histogram)


def chosen(metrics: Sequence[Metric], lane: int, model: MeasuredModel) -> tuple[Metric, ...]:
    """The metrics of a model that the lane's counts can give: there are no scores in the arrivals
    lane.
    """
    names = model.config.metrics
    if model.name == NO_MODEL:
        return ()
    return tuple(
        metric
        for metric in metrics
        if lane in metric.lanes
        and (names is None or metric.name in names)
        and not (lane == lanes.ARRIVALS and "score" in metric.needs)
    )


class _Said(msgspec.Struct):
    """What the records of one block say, lists of length S."""

    labels: list[str]
    matrices: Sequence[list[list[int]]]
    cells: Sequence[tuple[int | None, ...]]
    n: list[int]
    n_predictions: list[int]
    counters: list[dict[str, int]]
    figures: SeriesFigures

    @classmethod
    def of(cls, block: CountBlock, drawn: SeriesFigures) -> Self:
        """The counts of a block as plain lists, beside its figures."""
        counts, lane, problem = block.counts, block.lane, block.layout.problem
        told_apart = problem is None and lane != lanes.TRAFFIC and bool(counts.labels)
        cells: Sequence[tuple[int | None, ...]] = [(None,) * 4] * counts.series
        if counts.positive is not None and told_apart:
            cells = list(zip(*(cell.tolist() for cell in counts.binary_cells()), strict=True))
        return cls(
            labels=list(counts.labels) if told_apart else [],
            matrices=counts.matrix.tolist() if told_apart else [[]] * counts.series,
            cells=cells,
            n=counts.n.tolist(),
            n_predictions=counts.n_predictions.tolist(),
            counters=_counters(block.layout.part(block.dense, lanes.COUNT)),
            figures=drawn,
        )


def _counters(counts: Ints) -> list[dict[str, int]]:
    """What else happened to the rows of each series, by name."""
    happened: list[dict[str, int]] = [{} for _ in range(len(counts))]
    for series, counter in zip(*(at.tolist() for at in np.nonzero(counts)), strict=True):
        if counter != _PREDICTIONS:
            happened[series][COUNTERS[counter]] = int(counts[series, counter])
    return happened


def _sparse(labels: Sequence[str], by_label: Ints) -> dict[str, dict[str, int]]:
    """Counts by bin number of each label, from shape (K, bins)."""
    sparse = {}
    for label, counts in zip(labels, by_label, strict=True):
        filled = np.flatnonzero(counts)
        sparse[label] = dict(zip(_BIN_TEXTS[filled].tolist(), counts[filled].tolist(), strict=True))
    return sparse
