"""Merged counts, the input of every metric.

Stage 2 adds up panes and rungs and builds one `Counts` for all series of a model that share a label
list, a window and a rung. The first axis, S, runs over those series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from driftline.streams.metrics.score_cells import ScoreCells
from driftline.streams.summaries.loglinear import bin_bounds

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SparseHistogram:
    """Histograms of all series on the same log-linear bins
    (`driftline.streams.summaries.loglinear`).

    Parameters
    ----------
    bins
        Shape (M,), ascending bin numbers.
    counts
        Shape (S, M).
    """

    bins: Ints
    counts: Ints

    @cached_property
    def cumulative(self) -> Ints:
        """Shape (S, M): counts up to and including each bin."""
        return np.cumsum(self.counts, axis=1)

    @property
    def total(self) -> Ints:
        """Shape (S,): sum of the counts of each series."""
        return (
            self.cumulative[:, -1] if len(self.bins) else np.zeros(len(self.counts), dtype=np.int64)
        )

    def quantiles(self, q: Floats) -> Floats:
        """Quantile `q`, shape (S,), of each series, as
        `driftline.streams.summaries.loglinear.quantiles`, with one search for all series.

        Examples
        --------
        >>> histogram = SparseHistogram(np.array([5, 7]), np.array([[9, 1], [0, 0]]))
        >>> histogram.quantiles(np.array([0.95, 0.95])).tolist()
        [7.0, nan]
        """
        if not len(self.bins):
            return np.full(len(self.counts), np.nan)
        total, series = self.total, np.arange(len(self.counts))
        # q is NaN only for an empty histogram, whose quantile is NaN anyway.
        ranks = np.fmax(np.fmin(np.ceil(q * total), total), 1).astype(np.int64)
        place = np.searchsorted(self._stacked, ranks + series * self._apart) - series * len(
            self.bins
        )
        return np.where(total > 0, self._middles[np.minimum(place, len(self.bins) - 1)], np.nan)

    @cached_property
    def _middles(self) -> Floats:
        low, high = bin_bounds(self.bins)
        return (low + high) / 2

    @cached_property
    def _apart(self) -> int:
        return int(self.total.max(initial=0)) + 2

    @cached_property
    def _stacked(self) -> Ints:
        """The cumulative counts of all series in one ascending array, shape (S * M,)."""
        lifted: Ints = self.cumulative + np.arange(len(self.counts))[:, np.newaxis] * self._apart
        return lifted.ravel()


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Merged integer counts of S series over one window; None for what the lane does not count.

    Parameters
    ----------
    labels
        The K label texts, in sorted order.
    positive
        Index of the positive label where there are exactly two labels, else None.
    matrix
        Shape (S, K, K): actual label i predicted as j.
    n_predictions
        Shape (S,): all predictions of the window, with or without truth.
    errors
        Shape (S,): predictions with status "error" (traffic lane).
    score_cells
        Score histograms of the actual negatives and positives, of all S series.
    score_sum, score_squares
        Shape (S, K): sum of score and of score squared by actual label, in units of 1e-6.
    delay
        Label delay in milliseconds.
    latency
        Prediction latency in microseconds.
    window_ms
        Shape (S,): length of the window; 0 where it has none ("last n").

    Examples
    --------
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[50, 10], [5, 35]]]),
    ...     n_predictions=np.array([120]),
    ... )
    >>> counts.n.tolist(), [cell.tolist() for cell in counts.binary_cells()]
    ([100], [[50], [10], [5], [35]])
    """

    labels: tuple[str, ...]
    positive: int | None
    matrix: Ints
    n_predictions: Ints
    errors: Ints | None = None
    score_cells: ScoreCells | None = None
    score_sum: Ints | None = None
    score_squares: Ints | None = None
    delay: SparseHistogram | None = None
    latency: SparseHistogram | None = None
    window_ms: Ints | None = None

    def __post_init__(self) -> None:
        series, k = len(self.n_predictions), len(self.labels)
        if self.matrix.shape != (series, k, k):
            raise ValueError(
                f"counts: {series} series and {k} labels need a matrix of shape"
                f" ({series}, {k}, {k}), got {self.matrix.shape}"
            )
        if self.positive is not None and k != 2:
            raise ValueError(
                f"counts: a positive label needs exactly two labels, got {k}:"
                f" {', '.join(self.labels)}"
            )

    @property
    def series(self) -> int:
        """S, the number of series."""
        return len(self.n_predictions)

    @cached_property
    def n(self) -> Ints:
        """Shape (S,): predictions with a truth in force."""
        total: Ints = self.actual.sum(axis=1)
        return total

    @cached_property
    def actual(self) -> Ints:
        """Shape (S, K): predictions with a truth in force, by actual label."""
        rows: Ints = self.matrix.sum(axis=2)
        return rows

    @cached_property
    def predicted(self) -> Ints:
        """Shape (S, K): predictions with a truth in force, by predicted label."""
        columns: Ints = self.matrix.sum(axis=1)
        return columns

    @cached_property
    def correct(self) -> Ints:
        """Shape (S,): predictions whose label is the actual one."""
        hits: Ints = np.trace(self.matrix, axis1=1, axis2=2)
        return hits

    @cached_property
    def missing(self) -> Ints:
        """Shape (S,): predictions without a truth in force, at least 0."""
        without: Ints = np.maximum(self.n_predictions - self.n, 0)
        return without

    def binary_cells(self) -> tuple[Ints, Ints, Ints, Ints]:
        """tn, fp, fn, tp, each of shape (S,); all 0 without a positive label, so that their ratios
        are undefined.
        """
        if self.positive is None:
            nothing = np.zeros(self.series, dtype=np.int64)
            return nothing, nothing, nothing, nothing
        yes, no = self.positive, 1 - self.positive
        return (
            self.matrix[:, no, no],
            self.matrix[:, no, yes],
            self.matrix[:, yes, no],
            self.matrix[:, yes, yes],
        )

    @cached_property
    def scores(self) -> ScoreCells:
        """`score_cells`; no cells without scores or a positive label."""
        if self.positive is None or self.score_cells is None:
            return ScoreCells.empty(self.series)
        return self.score_cells

    @cached_property
    def memo(self) -> dict[str, Floats]:
        """Values computed so far, by metric; see `Metric.known_value`."""
        return {}

    @cached_property
    def lacking(self) -> dict[str, tuple[list[bool], str]]:
        """Which series lack which need, as far as computed; see
        `driftline.streams.metrics.metric.lacks`.
        """
        return {}


def joined_counters(parts: Sequence[Counts]) -> Counts:
    """The series of several counts with the same labels, one after another, without histograms."""
    return Counts(
        labels=parts[0].labels,
        positive=parts[0].positive,
        matrix=np.concatenate([part.matrix for part in parts]),
        n_predictions=np.concatenate([part.n_predictions for part in parts]),
        errors=_joined([part.errors for part in parts]),
        window_ms=_joined([part.window_ms for part in parts]),
    )


def _joined(columns: Sequence[Ints | None]) -> Ints | None:
    present = [column for column in columns if column is not None]
    return np.concatenate(present) if len(present) == len(columns) else None
