"""From gathered windows to the records of `metrics` and `histograms`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Self
from weakref import WeakKeyDictionary

import msgspec
import numpy as np

from driftline.schemas import results, topics
from driftline.schemas.times import EpochMs
from driftline.streams import lanes
from driftline.streams.lanes import ALL, COUNTERS, LANE_NAMES, NO_MODEL
from driftline.streams.measure.counts.dense_layout import LabelledBins
from driftline.streams.measure.counts.gather import CountBlock, WindowCounts
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.packed_key import Ints
from driftline.streams.measure.figures.completeness import Completeness
from driftline.streams.measure.figures.losses import Losses
from driftline.streams.measure.figures.series_figures import (
    FigureInputs,
    SeriesFigures,
    compute_lane_figures,
)
from driftline.streams.measure.timing.covered_span import covered_span
from driftline.streams.metrics.metric import Metric
from driftline.streams.score_bins import BIN_TEXTS
from driftline.streams.stage import Record, State

_OF_TIME: Final = ("tumbling", "sliding")
_PREDICTIONS: Final = lanes.COUNTER_CODES["predictions"]


class RecordBuilder:
    """Builds records of gathered windows.

    Parameters
    ----------
    metrics
        All metric plug-ins, in the order of their names.
    completeness
        Shares of the labels known at each rung.
    losses
        Rows that windows may lack.
    pane_ms
        Length of a pane.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        completeness: Completeness,
        losses: Losses,
        pane_ms: int,
    ) -> None:
        self._metrics = metrics
        self._completeness = completeness
        self._losses = losses
        self._pane_ms = pane_ms
        # An entry goes with its block.
        self._rows: WeakKeyDictionary[CountBlock, _BlockRows] = WeakKeyDictionary()

    def compute_figures(self, blocks: Sequence[tuple[CountBlock, MeasuredModel]]) -> None:
        """Compute the figures of blocks without histograms ahead of `metric_records`.

        Blocks of several lanes go together where they can. Each block comes with one of its models.
        """
        groups: dict[tuple[object, ...], list[tuple[CountBlock, MeasuredModel]]] = {}
        for block, model in blocks:
            layout = block.layout
            shape = (
                block.lane == lanes.TRAFFIC,
                layout.labels,
                layout.positive,
                layout.strays,
                layout.problem,
                model.config.metrics,
            )
            groups.setdefault(shape, []).append((block, model))
        for group in groups.values():
            self._compute_together(group)

    def _compute_together(self, group: Sequence[tuple[CountBlock, MeasuredModel]]) -> None:
        inputs = [
            FigureInputs(
                metrics_of_lane(self._metrics, block.lane, model),
                block.counts,
                block.lane == lanes.DECISIONS,
            )
            for block, model in group
        ]
        figures = compute_lane_figures(inputs, problem=group[0][0].layout.problem)
        for (block, _), of_block in zip(group, figures, strict=True):
            self._rows[block] = _BlockRows.of(block, of_block)

    def metric_records(
        self,
        model: MeasuredModel,
        windows: Sequence[WindowCounts],
        state: State,
        *,
        ended_ms: int | None = None,
        provisional: bool = False,
    ) -> Iterator[Record]:
        """Records of `metrics`, in the order of the windows and of the series in each.

        Parameters
        ----------
        ended_ms
            Time of the last prediction of a recorded log; None while it goes on.
        provisional
            Such records have no completeness, which applies to complete rungs.
        """
        for window in windows:
            block, due, lane = window.block, window.job.due, window.block.lane
            if block not in self._rows:
                self._compute_together([(block, model)])
            rows = self._rows[block]
            end_ms, complete_at_ms = EpochMs(due.end_ms), EpochMs(due.complete_at_ms)
            shares: Mapping[str, Sequence[float]] = {}
            if lane == lanes.DECISIONS and due.size_ms and not provisional:
                shares = self._completeness.shares(model, due.window, due.last_final_ms, state)
            for row, ((version, segment), start_ms) in enumerate(
                zip(window.series, window.starts_ms, strict=True), window.first
            ):
                n, n_predictions = rows.n[row], rows.n_predictions[row]
                share = shares.get(segment)
                tn, fp, fn, tp = rows.cells[row]
                metric = results.WindowFigures(
                    model_name=model.name,
                    model_version=version,
                    segment=segment,
                    lane=LANE_NAMES[lane],
                    window=due.window,
                    kind=due.kind,
                    window_start_ms=EpochMs(start_ms),
                    window_end_ms=end_ms,
                    maturity=due.maturity,
                    final=due.final,
                    provisional=provisional,
                    revision=due.revision,
                    registry_revision=model.registry.revision,
                    n_predictions=n_predictions,
                    n=n,
                    label_coverage=round(n / n_predictions, 6)
                    if n_predictions and lane == lanes.DECISIONS
                    else None,
                    completeness=share[due.rung] if share is not None else None,
                    covered_share=self._covered_share(window, version, model, ended_ms),
                    labels=rows.labels,
                    matrix=rows.matrices[row],
                    tn=tn,
                    fp=fp,
                    fn=fn,
                    tp=tp,
                    positive_label=window.layout.positive_label if rows.labels else None,
                    positive_basis=window.layout.positive_basis if rows.labels else None,
                    strays=rows.strays[row],
                    metrics=rows.figures.values[row],
                    ci=rows.figures.intervals[row],
                    bounds=rows.figures.bounds[row],
                    counts=rows.counters[row],
                    null_reasons=rows.figures.null_reasons[row],
                    losses=self._losses.of_window(
                        lane,
                        start_ms,
                        due.end_ms,
                        complete_at_ms=due.complete_at_ms,
                        horizon_ms=self._losses.horizon_ms(
                            model.name, model.config.label_horizon_ms
                        ),
                    ),
                    complete_at_ms=complete_at_ms,
                )
                yield Record(topics.METRICS, metric)

    def _covered_share(
        self, window: WindowCounts, version: str, model: MeasuredModel, ended_ms: int | None
    ) -> float:
        """As `WindowFigures.covered_share`."""
        due, known = window.job.due, model.facts.versions.get(version)
        if window.block.lane == lanes.ARRIVALS or due.kind not in _OF_TIME:
            return results.WHOLE
        # Traffic after the window may be known by now, or not yet: it must make no difference.
        if known is None or known.first_ms >= due.end_ms:
            return results.WHOLE
        share = covered_span(
            due.start_ms,
            due.end_ms,
            began_ms=known.began_ms(due.end_ms, ended_ms),
            ended_ms=ended_ms,
            grain_ms=self._pane_ms,
        ).share
        return results.WHOLE if share == results.WHOLE else share

    def histogram_records(
        self, model: MeasuredModel, name: str, windows: Sequence[WindowCounts]
    ) -> Iterator[Record]:
        """Records of `histograms`: scores of the segment "all" in the windows of a name."""
        for window in windows:
            due, layout = window.job.due, window.layout
            if due.window != name or layout.positive_label is None:
                continue
            scores = window.block.counts.scores
            for row, (version, segment) in enumerate(window.series):
                if segment != ALL or not scores.has_cells(window.first + row):
                    continue
                halves = window.scores(window.numbers[row])
                histogram = results.Histogram(
                    model_name=model.name,
                    model_version=version,
                    segment=segment,
                    lane="decisions",
                    window=due.window,
                    window_start_ms=EpochMs(window.starts_ms[row]),
                    window_end_ms=EpochMs(due.end_ms),
                    maturity=due.maturity,
                    final=due.final,
                    registry_revision=model.registry.revision,
                    labels=list(layout.labels),
                    positive_label=layout.positive_label,
                    fit=_sparse(layout.labels, halves.fit),
                    holdout=_sparse(layout.labels, halves.holdout),
                    losses=self._losses.of_window(
                        lanes.DECISIONS,
                        window.starts_ms[row],
                        due.end_ms,
                        complete_at_ms=due.complete_at_ms,
                        horizon_ms=self._losses.horizon_ms(
                            model.name, model.config.label_horizon_ms
                        ),
                    ),
                )
                yield Record(topics.HISTOGRAMS, histogram)


def metrics_of_lane(
    metrics: Sequence[Metric], lane: int, model: MeasuredModel
) -> tuple[Metric, ...]:
    """The metrics of a model for one lane; the arrivals lane has no scores."""
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


class _BlockRows(msgspec.Struct):
    """Contents of the records of one block, lists of length S."""

    labels: list[str]
    matrices: Sequence[list[list[int]]]
    cells: Sequence[tuple[int | None, ...]]
    n: list[int]
    n_predictions: list[int]
    strays: list[dict[str, int]]
    counters: list[dict[str, int]]
    figures: SeriesFigures

    @classmethod
    def of(cls, block: CountBlock, figures: SeriesFigures) -> Self:
        """The counts of a block as plain lists, beside its figures."""
        counts, lane, problem = block.counts, block.lane, block.layout.problem
        has_matrix = problem is None and lane != lanes.TRAFFIC and bool(counts.labels)
        cells: Sequence[tuple[int | None, ...]] = [(None,) * 4] * counts.series
        if counts.positive is not None and has_matrix:
            cells = list(zip(*(cell.tolist() for cell in counts.binary_cells()), strict=True))
        return cls(
            labels=list(counts.labels) if has_matrix else [],
            matrices=counts.matrix.tolist() if has_matrix else [[]] * counts.series,
            cells=cells,
            n=counts.n.tolist(),
            n_predictions=counts.n_predictions.tolist(),
            strays=_strays(block),
            counters=_counters(block.layout.part(block.dense, lanes.COUNT)),
            figures=figures,
        )


def _strays(block: CountBlock) -> list[dict[str, int]]:
    """Rows of each series with a stray label, by label."""
    named: list[dict[str, int]] = [{} for _ in range(block.counts.series)]
    counts = block.layout.stray_counts(block.dense)
    for series, place in zip(*(at.tolist() for at in np.nonzero(counts)), strict=True):
        named[series][block.layout.strays[place]] = int(counts[series, place])
    return named


def _counters(counts: Ints) -> list[dict[str, int]]:
    """Counters of each series by name, without "predictions" and zeros."""
    named: list[dict[str, int]] = [{} for _ in range(len(counts))]
    for series, counter in zip(*(at.tolist() for at in np.nonzero(counts)), strict=True):
        if counter != _PREDICTIONS:
            named[series][COUNTERS[counter]] = int(counts[series, counter])
    return named


def _sparse(labels: Sequence[str], cells: LabelledBins) -> dict[str, dict[str, int]]:
    """Counts of each label by the text of the bin."""
    sparse = {}
    for number, label in enumerate(labels):
        first, last = np.searchsorted(cells.label, (number, number + 1)).tolist()
        texts = BIN_TEXTS[cells.bins[first:last]].tolist()
        sparse[label] = dict(zip(texts, cells.counts[first:last].tolist(), strict=True))
    return sparse
