"""Area under the ROC curve."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from driftline.streams.intervals import Floats, Interval, Ints, divided, wilson_from_variance
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Metric
from driftline.streams.metrics.score_cells import ScoreCells

MOST_ERROR: Final = 0.005
"""Largest error of binning with which the area is given."""


class RocAuc(Metric, frozen=True, tag="roc_auc"):
    """Probability that a positive has a higher score than a negative, ties counting half. It does
    not depend on the base rate.

    It is computed from score histograms, with a straight curve within a bin. The error of binning
    is at most half the share of pairs (positive, negative) whose scores are in one bin and may
    differ: 0.0003 for evenly spread scores. It widens the interval; above MOST_ERROR there is no
    value.

    Returns
    -------
    In [0, 1]; null until there are scores of both labels, and where too many scores are too close
    together. The interval is Wilson's form with DeLong's variance, and the error of binning on
    either side.

    Examples
    --------
    >>> scores = np.array([0.1, 0.2, 0.3, 0.15, 0.4])
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[3, 0], [2, 0]]]),
    ...     n_predictions=np.array([5]),
    ...     score_cells=ScoreCells.of_scores(scores, np.array([0, 0, 0, 1, 1]) == 1),
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
        area = divided(
            cells.sums(cells.positives * cells.negatives_beaten),
            2 * cells.n_negative * cells.n_positive,
        )
        return np.where(_error(cells) > MOST_ERROR, np.nan, area)

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
        low, high = wilson_from_variance(
            area, np.nan_to_num(variance), np.minimum(cells.n_negative, cells.n_positive)
        )
        error = _error(cells)
        return np.maximum(low - error, 0.0), np.minimum(high + error, 1.0)

    def null_reasons(self, counts: Counts, at: Ints) -> list[str]:
        """As in `Metric`; names the share of pairs in one bin where that is the reason."""
        error = _error(counts.scores)
        return [
            f"scores are too close together: {2 * error[series]:.1%} of the pairs of a positive "
            f"and a negative share a score bin, the error could be {error[series]:.3f}, more than "
            f"{MOST_ERROR}"
            if error[series] > MOST_ERROR
            else reason
            for series, reason in zip(at.tolist(), super().null_reasons(counts, at), strict=True)
        ]


def _error(cells: ScoreCells) -> Floats:
    """Largest error of binning, shape (S,)."""
    return cells.tied_pairs / 2


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
