"""Area under the ROC curve."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from streams.intervals import Floats, Interval, divided, wilson_from_variance
from streams.metrics.counts import Counts
from streams.metrics.metric import Metric


class RocAuc(Metric, frozen=True, tag="roc_auc"):
    """Probability that a positive scores above a negative, ties counting half; does not follow the base rate.

    From score histograms with 1,000 bins, the curve straight within a bin. The binning error is at most half the share of pairs
    (positive, negative) that fall into the same bin: below 0.0005 for evenly spread scores.

    Returns
    -------
    In [0, 1]; null until there are scores of both labels. The interval is Wilson's form with DeLong's variance.

    Examples
    --------
    >>> histogram = np.zeros((1, 2, 1000), dtype=np.int64)
    >>> histogram[0, 0, [100, 200, 300]] = 1
    >>> histogram[0, 1, [150, 400]] = 1
    >>> counts = Counts(labels=("no", "yes"), positive=1, matrix=np.array([[[3, 0], [2, 0]]]), n_predictions=np.array([5]),
    ...                 score_fit=histogram, score_holdout=np.zeros_like(histogram))
    >>> RocAuc().value(counts).round(4).tolist()
    [0.6667]

    References
    ----------
    E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson (1988), Comparing the areas under two or more correlated receiver operating
    characteristic curves, Biometrics 44.
    """

    binary: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("truth", "score")

    def value(self, counts: Counts) -> Floats:
        """Shape (S,)."""
        negatives, positives = counts.score_histograms()
        pairs = negatives.sum(axis=1) * positives.sum(axis=1)
        # Whole numbers up to here: twice the pairs in order, a tie counting one.
        ordered = (positives * (2 * np.cumsum(negatives, axis=1) - negatives)).sum(axis=1)
        return divided(ordered, 2 * pairs)

    def interval(self, counts: Counts) -> Interval | None:
        """Wilson's form with DeLong's variance."""
        negatives, positives = counts.score_histograms()
        n_negative, n_positive = negatives.sum(axis=1), positives.sum(axis=1)
        # Placements: the share of the other class that a row of this bin is on the right side of.
        below = divided(np.cumsum(negatives, axis=1) - negatives / 2, n_negative[:, np.newaxis])
        above = divided(n_positive[:, np.newaxis] - np.cumsum(positives, axis=1) + positives / 2, n_positive[:, np.newaxis])
        area = self.value(counts)
        variance = _mean_variance(below, positives, n_positive, area) + _mean_variance(above, negatives, n_negative, area)
        return wilson_from_variance(area, np.nan_to_num(variance), np.minimum(n_negative, n_positive))


def _mean_variance(placements: Floats, weights: np.ndarray[tuple[int, ...], np.dtype[np.int64]], n: Floats, area: Floats) -> Floats:
    """Variance of the mean placement, shape (S,), from placements and counts of shape (S, B)."""
    distance = placements - area[:, np.newaxis]
    return divided((weights * distance * distance).sum(axis=1), n * (n - 1))
