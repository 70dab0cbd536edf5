"""Area under the ROC curve."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from driftline.streams.intervals import Floats, Interval, Ints, divided, wilson_from_variance
from driftline.streams.metrics.counts import Counts, ScoreCells
from driftline.streams.metrics.metric import Metric


class RocAuc(Metric, frozen=True, tag="roc_auc"):
    """Probability that a positive has a higher score than a negative, ties counting half. It does
    not depend on the base rate.

    It is computed from score histograms with 1,000 bins, with a straight curve within a bin. The
    binning error is at most half the share of pairs (positive, negative) in the same bin: below
    0.0005 for evenly spread scores.

    Returns
    -------
    In [0, 1]; null until there are scores of both labels. The interval is Wilson's form with
    DeLong's variance.

    Examples
    --------
    >>> histogram = np.zeros((1, 2, 1000), dtype=np.int64)
    >>> histogram[0, 0, [100, 200, 300]] = 1
    >>> histogram[0, 1, [150, 400]] = 1
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[3, 0], [2, 0]]]),
    ...     n_predictions=np.array([5]),
    ...     score_histogram=histogram,
    ... )
    >>> RocAuc().value(counts).round(4).tolist()
    [0.6667]

    References
    ----------
    E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson (1988), Comparing the areas under two or more
    correlated receiver operating characteristic curves, Biometrics 44.
    """

    binary: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("truth", "score")

    def value(self, counts: Counts) -> Floats:
        """Shape (S,)."""
        cells = counts.scores
        return divided(
            cells.sums(cells.positives * cells.negatives_beaten),
            2 * cells.n_negative * cells.n_positive,
        )

    def interval(self, counts: Counts) -> Interval | None:
        """Wilson's form with DeLong's variance."""
        cells, area = counts.scores, self.known_value(counts)
        n_negative, n_positive = (
            cells.n_negative.astype(np.float64),
            cells.n_positive.astype(np.float64),
        )
        # The placement of a positive is the share of negatives below it, that of a negative the
        # share of positives below it. DeLong uses the share above, which has the same variance. The
        # means are the area and 1 - area.
        variance = _mean_variance(
            cells, cells.positives, cells.negatives_beaten, n_positive, n_negative, area
        )
        variance = variance + _mean_variance(
            cells, cells.negatives, cells.positives_beaten, n_negative, n_positive, 1 - area
        )
        return wilson_from_variance(
            area, np.nan_to_num(variance), np.minimum(cells.n_negative, cells.n_positive)
        )


def _mean_variance(
    cells: ScoreCells, rows: Ints, beaten: Ints, n: Floats, n_others: Floats, mean: Floats
) -> Floats:
    """Variance of the mean placement of `rows`, shape (S,), from twice the number of rows that each
    cell beats, and the mean placement.
    """
    squares = cells.sums(rows * np.square(beaten, dtype=np.float64))
    return divided(
        np.maximum(divided(squares, 4 * n_others * n_others) - n * mean * mean, 0.0), n * (n - 1)
    )
