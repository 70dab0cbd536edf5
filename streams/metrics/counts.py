"""The merged counts that every metric is a function of.

Stage 2 adds up panes and rungs and builds one `Counts` for all series of a model that share a label list, a window and a rung; the
leading axis S runs over those series. Nothing here knows how the counts came about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.lanes import SCORE_BINS

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SparseHistogram:
    """Histograms of all series on one list of log-linear bins (`streams.loglinear`).

    Parameters
    ----------
    bins
        Shape (M,), ascending bin numbers.
    counts
        Shape (S, M).
    """

    bins: Ints
    counts: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Merged integer counts of S series over one window. What a lane does not hold is None.

    Parameters
    ----------
    labels
        The K label texts, in sorted order.
    positive
        Index of the positive label where there are exactly two labels, else None.
    matrix
        Shape (S, K, K): actual label i predicted as j.
    n_predictions
        Shape (S,): all predictions of the window, those without truth too.
    errors
        Shape (S,): predictions with status "error" (traffic lane).
    score_fit, score_holdout
        Shape (S, K, 1000): score histograms by actual label, of the fit and the hold-out half.
    score_sum, score_squares
        Shape (S, K): sum of score and of score squared by actual label, in units of 1e-6.
    predicted_scores
        Shape (S, K, 1000): score histograms by predicted label (traffic lane).
    delay
        Label delay in milliseconds.
    latency
        Prediction latency in microseconds.
    window_ms
        Length of the window; None where a window has no length ("last n").

    Examples
    --------
    >>> counts = Counts(labels=("no", "yes"), positive=1, matrix=np.array([[[50, 10], [5, 35]]]), n_predictions=np.array([120]))
    >>> counts.n.tolist(), [cell.tolist() for cell in counts.binary_cells()]
    ([100], [[50], [10], [5], [35]])
    """

    labels: tuple[str, ...]
    positive: int | None
    matrix: Ints
    n_predictions: Ints
    errors: Ints | None = None
    score_fit: Ints | None = None
    score_holdout: Ints | None = None
    score_sum: Ints | None = None
    score_squares: Ints | None = None
    predicted_scores: Ints | None = None
    delay: SparseHistogram | None = None
    latency: SparseHistogram | None = None
    window_ms: int | None = None

    def __post_init__(self) -> None:
        series, k = len(self.n_predictions), len(self.labels)
        if self.matrix.shape != (series, k, k):
            raise ValueError(f"counts: {series} series and {k} labels need a matrix of shape ({series}, {k}, {k}), got {self.matrix.shape}")
        if self.positive is not None and k != 2:
            raise ValueError(f"counts: a positive label needs exactly two labels, got {k}: {', '.join(self.labels)}")

    @property
    def series(self) -> int:
        """S, the number of series."""
        return len(self.n_predictions)

    @property
    def n(self) -> Ints:
        """Shape (S,): predictions with a truth in force."""
        total: Ints = self.matrix.sum(axis=(1, 2))
        return total

    @property
    def correct(self) -> Ints:
        """Shape (S,): predictions that the truth bears out."""
        hits: Ints = np.trace(self.matrix, axis1=1, axis2=2)
        return hits

    @property
    def missing(self) -> Ints:
        """Shape (S,): predictions without a truth in force, at least 0."""
        without: Ints = np.maximum(self.n_predictions - self.n, 0)
        return without

    def binary_cells(self) -> tuple[Ints, Ints, Ints, Ints]:
        """tn, fp, fn, tp, each of shape (S,); all 0 where there is no positive label, so that every ratio of them is undefined."""
        if self.positive is None:
            nothing = np.zeros(self.series, dtype=np.int64)
            return nothing, nothing, nothing, nothing
        yes, no = self.positive, 1 - self.positive
        return self.matrix[:, no, no], self.matrix[:, no, yes], self.matrix[:, yes, no], self.matrix[:, yes, yes]

    def score_histograms(self) -> tuple[Ints, Ints]:
        """Score histograms of actual negatives and positives over both halves, two arrays of shape (S, 1000); all 0 without scores."""
        if self.positive is None or self.score_fit is None or self.score_holdout is None:
            nothing = np.zeros((self.series, SCORE_BINS), dtype=np.int64)
            return nothing, nothing
        both = self.score_fit + self.score_holdout
        return both[:, 1 - self.positive], both[:, self.positive]
