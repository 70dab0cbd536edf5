"""From packed keys to columns of a dense array, and from that array to the `Counts` that metrics
are functions of.

A layout belongs to one model and lane and to the labels and octaves of log-linear bins seen so far;
when those grow, a new layout takes its place and everything is unfolded anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftline.streams import lanes
from driftline.streams.lanes import COUNTER_CODES, COUNTERS, SCORE_BINS
from driftline.streams.masks import any_true
from driftline.streams.measure.counts.count_table import (
    A_SHIFT,
    CODES,
    MAX_SERIES,
    MEASURE_BITS,
    MEASURE_SHIFT,
    SERIES_SHIFT,
    Ints,
)
from driftline.streams.measure.counts.labels import LabelSet
from driftline.streams.metrics.counts import Counts, SparseHistogram

# Label codes inside a model: one per name, and at the top what has no name.
NEGATIVE: Final = CODES - 1
POSITIVE: Final = CODES - 2
NONE: Final = CODES - 3
ANOTHER: Final = CODES - 4
NAMED: Final = ANOTHER

UNKNOWN: Final = -(1 << 40)

LABEL_IN_A: Final = np.isin(
    np.arange(1 << MEASURE_BITS),
    (
        lanes.CELLS,
        lanes.SCORES_FIT,
        lanes.SCORES_HOLDOUT,
        lanes.SCORE_SUM,
        lanes.SCORE_SQUARES,
        lanes.PREDICTED_SCORES,
        lanes.PREDICTED,
    ),
)


class DenseLayout:
    """Columns of one lane of one model.

    Parameters
    ----------
    number
        Tells layouts apart.
    lane
        The lane.
    label_set, configured
        The labels so far, and the positive label of the configuration.
    names
        Label text by code.
    bins
        Ascending log-linear bins, whole octaves, that columns are wanted for (of the delay or of
        the latency).
    counted_only
        Whether there are columns for counters and the confusion matrix alone.

    Attributes
    ----------
    labels, positive
        As in `Counts`.
    problem
        Why rows are not told apart by label; all labels count as one then.
    width
        Number of columns; the last one holds what this lane's metrics do not need.
    """

    def __init__(
        self,
        number: int,
        lane: int,
        label_set: LabelSet,
        configured: str | None,
        names: Sequence[str],
        bins: Ints,
        *,
        counted_only: bool = False,
    ) -> None:
        self.number = number
        self.lane = lane
        self.label_set = label_set
        self.named = len(names)
        self.bins = bins
        labels = label_set.labels(configured)
        self.problem = label_set.problem(configured)
        positive, _ = label_set.pair(configured)
        self.labels = labels if self.problem is None else ("any",)
        self.positive = (
            labels.index(positive) if positive is not None and len(self.labels) == 2 else None
        )
        self.positive_label = positive if self.positive is not None else None
        k = len(self.labels)
        self._label = _label_numbers(label_set, configured, names, self.problem is not None)
        self._bin = np.full(CODES, UNKNOWN, np.int64)
        self._bin[bins] = np.arange(len(bins))

        sizes = {lanes.COUNT: len(COUNTERS)}
        if lane != lanes.TRAFFIC:
            sizes[lanes.CELLS] = k * k
        if lane == lanes.DECISIONS and not counted_only:
            sizes[lanes.DELAY] = len(bins)
            if self.positive is not None:
                sizes |= {
                    lanes.SCORES_FIT: k * SCORE_BINS,
                    lanes.SCORE_SUM: k,
                    lanes.SCORE_SQUARES: k,
                }
        if lane == lanes.TRAFFIC and not counted_only:
            sizes[lanes.LATENCY] = len(bins)
            if self.positive is not None:
                sizes[lanes.PREDICTED_SCORES] = k * SCORE_BINS
        self.width = sum(sizes.values()) + 1
        self._slices: dict[int, slice] = {}
        self._base = np.full(1 << MEASURE_BITS, self.width - 1, np.int64)
        self._stride = np.zeros(1 << MEASURE_BITS, np.int64)
        begin = 0
        for measure, size in sizes.items():
            self._slices[measure] = slice(begin, begin + size)
            self._base[measure] = begin
            begin += size
        # Metrics take both halves of the scores together.
        self._base[lanes.SCORES_HOLDOUT] = self._base[lanes.SCORES_FIT]
        for measure in (lanes.SCORES_FIT, lanes.SCORES_HOLDOUT, lanes.PREDICTED_SCORES):
            self._stride[measure] = SCORE_BINS
        self._stride[lanes.SCORE_SUM] = self._stride[lanes.SCORE_SQUARES] = 1
        self._outside = np.ones(1 << MEASURE_BITS, np.bool_)
        self._outside[list(sizes)] = False
        self._outside[lanes.SCORES_HOLDOUT] = self._outside[lanes.SCORES_FIT]

    def unfold(self, keys: Ints) -> tuple[Ints, Ints]:
        """Series number and column of each key, two arrays of shape (N,); a column below 0 means a
        label or bin that is new.
        """
        measure = keys >> MEASURE_SHIFT & (1 << MEASURE_BITS) - 1
        a, b = keys >> A_SHIFT & CODES - 1, keys & CODES - 1
        column = self._base[measure] + self._stride[measure] * self._label[a] + b
        cells = np.flatnonzero(measure == lanes.CELLS)
        if len(cells):
            column[cells] = (
                self._base[lanes.CELLS]
                + self._label[a[cells]] * len(self.labels)
                + self._label[b[cells]]
            )
        binned = np.flatnonzero((measure == lanes.DELAY) | (measure == lanes.LATENCY))
        if len(binned):
            column[binned] = self._base[measure[binned]] + self._bin[b[binned]]
        # A measure without columns still tells of labels that nobody knew.
        outside = self._outside[measure]
        if any_true(outside):
            known = ~LABEL_IN_A[measure] | (self._label[a] >= 0)
            column[outside] = np.where(known[outside], self.width - 1, UNKNOWN)
        return keys >> SERIES_SHIFT & MAX_SERIES - 1, column

    def is_cell(self, column: Ints) -> NDArray[np.bool_]:
        """Which columns are cells of the confusion matrix."""
        cells = self._slices.get(lanes.CELLS, slice(0, 0))
        inside: NDArray[np.bool_] = (column >= cells.start) & (column < cells.stop)
        return inside

    def weighs(self, column: Ints) -> NDArray[np.bool_]:
        """Which columns count predictions (or outcomes, where a lane has no predictions), for
        ranking segments by size.
        """
        return (
            self.is_cell(column)
            if self.lane == lanes.ARRIVALS
            else np.equal(column, COUNTER_CODES["predictions"])
        )

    def scores(self, keys: Ints, column: Ints, counts: Ints, measure: int) -> Ints:
        """Score histograms of one half by actual label, shape (K, 1000), of rows of shape (N,) that
        `unfold` gave the columns of.
        """
        part, k = self._slices[lanes.SCORES_FIT], len(self.labels)
        of_half = keys >> MEASURE_SHIFT & (1 << MEASURE_BITS) - 1 == measure
        counted = np.bincount(
            column[of_half] - part.start, weights=counts[of_half], minlength=k * SCORE_BINS
        )
        return counted.astype(np.int64).reshape(k, SCORE_BINS)

    def part(self, dense: Ints, measure: int) -> Ints:
        """Columns of one measure, shape (S, size); no columns where the lane has none."""
        return dense[:, self._slices.get(measure, slice(0, 0))]

    def counts(self, dense: Ints, window_ms: Ints) -> Counts:
        """The counts of S series, from an array of shape (S, width)."""
        s, k = len(dense), len(self.labels)
        count = self.part(dense, lanes.COUNT)
        matrix = self._by_label(dense, lanes.CELLS)
        if matrix is None:
            matrix = np.zeros((s, k, k), np.int64)
        return Counts(
            labels=self.labels,
            positive=self.positive,
            matrix=matrix,
            n_predictions=matrix.sum(axis=(1, 2))
            if self.lane == lanes.ARRIVALS
            else count[:, COUNTER_CODES["predictions"]],
            errors=count[:, COUNTER_CODES["errors"]],
            score_histogram=self._by_label(dense, lanes.SCORES_FIT),
            score_sum=self.part(dense, lanes.SCORE_SUM)
            if lanes.SCORE_SUM in self._slices
            else None,
            score_squares=self.part(dense, lanes.SCORE_SQUARES)
            if lanes.SCORE_SQUARES in self._slices
            else None,
            predicted_scores=self._by_label(dense, lanes.PREDICTED_SCORES),
            delay=self._binned(dense, lanes.DELAY),
            latency=self._binned(dense, lanes.LATENCY),
            window_ms=window_ms,
        )

    def _by_label(self, dense: Ints, measure: int) -> Ints | None:
        """Shape (S, K, size / K); None where the lane has no such measure."""
        if measure not in self._slices:
            return None
        part, k = self.part(dense, measure), len(self.labels)
        return part.reshape(len(dense), k, part.shape[1] // k if k else 0)

    def _binned(self, dense: Ints, measure: int) -> SparseHistogram | None:
        return (
            SparseHistogram(self.bins, self.part(dense, measure))
            if measure in self._slices
            else None
        )


def _label_numbers(
    label_set: LabelSet, configured: str | None, names: Sequence[str], problem: bool
) -> Ints:
    """Index into the labels by label code, UNKNOWN for a label that was not seen yet."""
    if label_set.many:
        return np.zeros(CODES, np.int64)
    labels = label_set.labels(configured)
    place = {label: 0 if problem else number for number, label in enumerate(labels)}
    numbers = np.full(CODES, UNKNOWN, np.int64)
    numbers[: len(names)] = [place.get(name, UNKNOWN) for name in names[:NAMED]]
    if label_set.derived:
        positive, negative = label_set.pair(configured)
        numbers[POSITIVE] = 0 if problem or positive is None else place[positive]
        numbers[NEGATIVE] = 0 if problem or negative is None else place[negative]
    return numbers
