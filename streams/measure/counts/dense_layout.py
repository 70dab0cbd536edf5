"""Layout of count arrays: from packed keys to columns, and from columns to `Counts`.

A layout belongs to one lane, and to the labels and octaves of log-linear bins seen so
far. When those grow, a new layout replaces it and all keys are unfolded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from driftline.streams import lanes
from driftline.streams.lanes import COUNTER_CODES, COUNTERS
from driftline.streams.masks import any_true
from driftline.streams.measure.counts.labels import MOST_STRAYS, ConfiguredLabels, LabelSet
from driftline.streams.measure.counts.packed_key import (
    CODES,
    MEASURES,
    Ints,
    a_of,
    b_of,
    measures_of,
    series_of,
    unpack_measure,
)
from driftline.streams.metrics.counts import Counts, SparseHistogram
from driftline.streams.metrics.score_cells import ScoreCells
from driftline.streams.score_bins import SCORE_BINS

# Label codes inside a model: one per label text, and at the top those without a text.
NEGATIVE: Final = CODES - 1  # derived from a score below the threshold
POSITIVE: Final = CODES - 2  # derived from a score at or above the threshold
NONE: Final = CODES - 3  # no label
ANOTHER: Final = CODES - 4  # a label beyond the limit of codes
NAMED: Final = ANOTHER  # number of codes with a text

UNKNOWN: Final = -(1 << 40)
OTHER_STRAYS: Final = "(other)"
_STRAYS: Final = MEASURES  # the columns of strays, beside those of the measures

LABEL_IN_A: Final = np.isin(np.arange(MEASURES), lanes.LABEL_MEASURES)
"""Shape (MEASURES,): whether `a` of a measure is the code of a label."""
PREDICTED_IN_A: Final = np.isin(np.arange(MEASURES), (lanes.PREDICTED_SCORES, lanes.PREDICTED))
"""Shape (MEASURES,): whether it is the code of a predicted label."""
ACTUAL_IN_A: Final = LABEL_IN_A & ~PREDICTED_IN_A
"""Shape (MEASURES,): whether it is the code of an actual label."""


class Unfolded(NamedTuple):
    """Series number and column of each key, shape (N,); a column below 0: new label or bin."""

    series: Ints
    column: Ints


class LabelledBins(NamedTuple):
    """Filled score bins, ascending by label and bin; columns of shape (N,).

    Attributes
    ----------
    label
        Index of the actual label.
    bins, counts
        The bin, and the number of rows in it, never 0.
    """

    label: Ints
    bins: Ints
    counts: Ints


class DenseLayout:
    """Columns of one lane of the models with the same labels.

    Parameters
    ----------
    number
        Identifies the layout.
    lane
        The lane.
    label_set, configured
        The labels so far, and those of the configuration.
    names
        Label text by code.
    bins
        Ascending log-linear bins, whole octaves, of the delay or the latency.
    counted_only
        Whether there are columns for counters and the confusion matrix only.

    Attributes
    ----------
    named
        Number of labels with a text.
    labels, positive
        As in `Counts`.
    problem
        Why rows are not counted by label; all labels count as one then. None if they are.
    positive_label, positive_basis
        Text of the positive label, and how it is known; None if it is not.
    strays
        Labels that belong to no class, by actual and predicted text; the last one, "", stands for
        all without a column of their own. A row with a stray label is in no cell of the matrix.
    width
        Number of dense columns; the last one takes the measures that no metric of this lane needs.
    score_width
        Number of columns behind them: those of the score bins, by actual label. Few of them are
        filled in one window, so they are not part of the dense arrays. 0 if the lane has none.
    """

    def __init__(
        self,
        number: int,
        lane: int,
        label_set: LabelSet,
        configured: ConfiguredLabels,
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
        classes = label_set.judged(configured)
        self.problem = label_set.problem(configured)
        self.labels: tuple[str, ...] = classes.names if self.problem is None else ("any",)
        positive, basis = label_set.positive_class(configured)
        self.positive = (
            self.labels.index(positive) if positive is not None and len(self.labels) == 2 else None
        )
        self.positive_label = positive if self.positive is not None else None
        self.positive_basis = basis if self.positive is not None else None
        k = len(self.labels)
        self.other_stray = k + len(classes.strays)
        self.strays: tuple[str, ...] = (
            (*classes.strays, OTHER_STRAYS) if self.problem is None else ()
        )
        self._actual = _numbers_of_side(
            0, [each.actual for each in classes.classes], label_set.actual, names, self
        )
        self._predicted = _numbers_of_side(
            1, [each.predicted for each in classes.classes], label_set.predicted, names, self
        )
        if label_set.derived:
            other = self.other_stray if self.problem is None else 0
            self._predicted[[POSITIVE, NEGATIVE]] = (
                other if self.positive is None else (self.positive, 1 - self.positive)
            )
        self._bin = np.full(CODES, UNKNOWN, np.int64)
        self._bin[bins] = np.arange(len(bins))

        sizes = {lanes.COUNT: len(COUNTERS)}
        if lane != lanes.TRAFFIC:
            sizes[lanes.CELLS] = k * k
            sizes[_STRAYS] = len(self.strays)
        if lane == lanes.DECISIONS and not counted_only:
            sizes[lanes.DELAY] = len(bins)
            if self.positive is not None:
                sizes |= {lanes.SCORE_SUM: k, lanes.SCORE_SQUARES: k}
        if lane == lanes.TRAFFIC and not counted_only:
            sizes[lanes.LATENCY] = len(bins)
        self.score_width = k * SCORE_BINS if lanes.SCORE_SUM in sizes else 0
        self.width = sum(sizes.values()) + 1
        self._slices: dict[int, slice] = {}
        self._base = np.full(_STRAYS + 1, self.width - 1, np.int64)
        self._stride = np.zeros(MEASURES, np.int64)
        begin = 0
        for measure, size in sizes.items():
            self._slices[measure] = slice(begin, begin + size)
            self._base[measure] = begin
            begin += size
        self._stride[lanes.SCORE_SUM] = self._stride[lanes.SCORE_SQUARES] = 1
        self._lacks_columns = np.ones(MEASURES, np.bool_)
        self._lacks_columns[[measure for measure in sizes if measure != _STRAYS]] = False
        if self.score_width:
            # Metrics read both halves of the scores as one histogram.
            for measure in (lanes.SCORES_FIT, lanes.SCORES_HOLDOUT):
                self._base[measure] = self.width
                self._stride[measure] = SCORE_BINS
                self._lacks_columns[measure] = False

    def unfold(self, keys: Ints) -> Unfolded:
        """Series number and column of each key."""
        measure, a, b = unpack_measure(keys)
        actual, k = self._actual[a], len(self.labels)
        column = self._base[measure] + self._stride[measure] * actual + b
        cells = np.flatnonzero(measure == lanes.CELLS)
        if len(cells):
            column[cells] = self._cell_columns(actual[cells], self._predicted[b[cells]])
        if any_true(actual >= k):
            # Scores of rows with a stray label have no column.
            column[ACTUAL_IN_A[measure] & (measure != lanes.CELLS) & (actual >= k)] = self.width - 1
        binned = np.flatnonzero((measure == lanes.DELAY) | (measure == lanes.LATENCY))
        if len(binned):
            column[binned] = self._base[measure[binned]] + self._bin[b[binned]]
        # The labels of a measure without columns may be new too.
        lacking = self._lacks_columns[measure]
        if any_true(lacking):
            known = (~ACTUAL_IN_A[measure] | (actual >= 0)) & (
                ~PREDICTED_IN_A[measure] | (self._predicted[a] >= 0)
            )
            column[lacking] = np.where(known[lacking], self.width - 1, UNKNOWN)
        return Unfolded(series_of(keys), column)

    def _cell_columns(self, actual: Ints, predicted: Ints) -> Ints:
        """Columns of cells by the numbers of their labels; a column below 0: new label."""
        k = len(self.labels)
        column: Ints = self._base[lanes.CELLS] + actual * k + predicted
        stray = np.flatnonzero((actual >= k) | (predicted >= k))
        if len(stray):
            of_stray = np.where(actual[stray] >= k, actual[stray], predicted[stray])
            is_new = (actual[stray] < 0) | (predicted[stray] < 0)
            column[stray] = np.where(is_new, UNKNOWN, self._base[_STRAYS] + of_stray - k)
        return column

    def errors(self, cells: Ints) -> Ints:
        """Of outcomes with packed labels, shape (N,): 1 if the predicted label is not the actual
        one, 0 if it is; -1 if one of them is none of the classes.
        """
        actual, predicted, k = (
            self._actual[a_of(cells)],
            self._predicted[b_of(cells)],
            len(self.labels),
        )
        is_known = (actual >= 0) & (actual < k) & (predicted >= 0) & (predicted < k)
        if self.problem is not None:
            is_known[:] = False
        return np.where(is_known, (actual != predicted).astype(np.int64), -1)

    def is_cell(self, column: Ints) -> NDArray[np.bool_]:
        """Which columns are cells of the confusion matrix."""
        cells = self._slices.get(lanes.CELLS, slice(0, 0))
        inside: NDArray[np.bool_] = (column >= cells.start) & (column < cells.stop)
        return inside

    def is_size(self, column: Ints) -> NDArray[np.bool_]:
        """Which columns add up to the size of a segment: its predictions (arrivals: outcomes)."""
        return (
            self.is_cell(column)
            if self.lane == lanes.ARRIVALS
            else np.equal(column, COUNTER_CODES["predictions"])
        )

    def scores(self, keys: Ints, column: Ints, counts: Ints, measure: int) -> LabelledBins:
        """The filled bins of the score histograms of one half.

        Parameters
        ----------
        keys, column, counts
            Shape (N,): rows, with their columns from `unfold`.
        measure
            SCORES_FIT or SCORES_HOLDOUT.
        """
        of_half = measures_of(keys) == measure
        cells, cell = np.unique(column[of_half] - self.width, return_inverse=True)
        summed = np.bincount(cell, weights=counts[of_half], minlength=len(cells)).astype(np.int64)
        filled = np.flatnonzero(summed)
        label, bins = np.divmod(cells[filled], SCORE_BINS)
        return LabelledBins(label, bins, summed[filled])

    def stray_counts(self, dense: Ints) -> Ints:
        """Rows with a stray label by the texts of `strays`, shape (S, len(strays))."""
        return self.part(dense, _STRAYS)

    def part(self, dense: Ints, measure: int) -> Ints:
        """Columns of one measure, shape (S, size); size 0 if the lane has none."""
        return dense[:, self._slices.get(measure, slice(0, 0))]

    def score_cells(self, series: int, place: Ints, counts: Ints) -> ScoreCells:
        """The filled score bins of `series` series.

        Parameters
        ----------
        series
            Number of series.
        place, counts
            Shape (N,): number of the series * score_width + column - width, in any order and
            repeated, and the count there.
        """
        if self.positive is None or not len(place):
            return ScoreCells.empty(series)
        row, rest = np.divmod(place, self.score_width)
        label, bins = np.divmod(rest, SCORE_BINS)
        return ScoreCells.of(series, row, bins, label == self.positive, counts)

    def counts(self, dense: Ints, window_ms: Ints, scores: ScoreCells | None = None) -> Counts:
        """Counts of S series for the metrics.

        Parameters
        ----------
        dense
            Shape (S, width).
        window_ms
            Shape (S,): length of the window; 0 where it has none.
        scores
            Their score bins, if the layout has some.
        """
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
            score_cells=scores,
            score_sum=self.part(dense, lanes.SCORE_SUM)
            if lanes.SCORE_SUM in self._slices
            else None,
            score_squares=self.part(dense, lanes.SCORE_SQUARES)
            if lanes.SCORE_SQUARES in self._slices
            else None,
            delay=self._binned(dense, lanes.DELAY),
            latency=self._binned(dense, lanes.LATENCY),
            window_ms=window_ms,
        )

    def _by_label(self, dense: Ints, measure: int) -> Ints | None:
        """Shape (S, K, size / K); None if the lane has no such measure."""
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


class SharedLayouts:
    """Layouts by what they are made from: models with the same labels share one.

    A layout takes 64 kB, and keys of several models are unfolded in one call.
    """

    def __init__(self) -> None:
        # A layout goes with the last model that uses it, and its bins with it.
        self._layouts: WeakValueDictionary[tuple[object, ...], DenseLayout] = WeakValueDictionary()
        self._made = 0

    def layout(
        self,
        lane: int,
        labels: tuple[LabelSet, ConfiguredLabels, Sequence[str]],
        bins: Ints,
        *,
        counted_only: bool = False,
    ) -> DenseLayout:
        """The layout of a lane, as `DenseLayout`.

        `labels` are the label set, the configured labels and the label texts; the same bins are the
        same object.
        """
        label_set, configured, names = labels
        key = (lane, label_set, configured, tuple(names), id(bins), counted_only)
        layout = self._layouts.get(key)
        if layout is None:
            self._made += 1
            layout = self._layouts[key] = DenseLayout(
                self._made, lane, label_set, configured, names, bins, counted_only=counted_only
            )
        return layout


def _numbers_of_side(
    side: int,
    classes: Sequence[str | None],
    seen: Sequence[str],
    names: Sequence[str],
    layout: DenseLayout,
) -> Ints:
    """Shape (CODES,): number of the class or of the stray by label code, of truths or of
    predictions; UNKNOWN for a new label.

    Parameters
    ----------
    side
        0 for truths, 1 for predictions.
    classes
        The text of each class.
    seen
        The texts of this side in the label set.
    names
        Label text by code.
    """
    label_set, k = layout.label_set, len(layout.labels)
    if label_set.many:
        return np.zeros(CODES, np.int64)
    other = layout.other_stray if layout.problem is None else 0
    is_full = label_set.settled is not None and len(seen) >= MOST_STRAYS
    new = other if is_full else UNKNOWN
    if layout.problem is not None:
        number_of = dict.fromkeys((*seen, *classes), 0)
    else:
        number_of = dict.fromkeys(seen, other)
        number_of |= {text: k + place for place, text in enumerate(layout.strays[:-1])}
        number_of |= {text: place for place, text in enumerate(classes)}
    if None in classes and label_set.settled is not None:
        # A class without a text on this side takes the first one that means the same.
        known = {*seen, *classes}
        number_of |= {
            name: UNKNOWN for name in names if name not in known and label_set.takes(name, side)
        }
    numbers = np.full(CODES, UNKNOWN, np.int64)
    numbers[: len(names)] = [number_of.get(name, new) for name in names[:NAMED]]
    if label_set.settled is not None:
        numbers[ANOTHER] = other
    return numbers
