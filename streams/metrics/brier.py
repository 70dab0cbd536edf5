"""Brier score: the mean squared distance between score and outcome."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from driftline.streams.intervals import Floats, Interval, divided, wilson_from_variance
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Metric
from driftline.streams.score_bins import SUM_UNITS


class Brier(Metric, frozen=True, tag="brier"):
    """Mean of (score - outcome) squared over the rows with a score and a truth; the outcome is 1
    for the positive label and 0 otherwise.

    It is computed from exact sums of score and score squared in units of 1e-6: the error is at most
    1e-6.

    Returns
    -------
    In [0, 1], lower is better; a constant score equal to the base rate r gives r (1 - r). The
    interval is Wilson's form with the variance of the squared distances from the score histograms.

    Examples
    --------
    >>> from driftline.streams.metrics.score_cells import ScoreCells
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[1, 0], [0, 1]]]),
    ...     n_predictions=np.array([2]),
    ...     score_cells=ScoreCells.of_scores(np.array([0.2, 0.6]), np.array([False, True])),
    ...     score_sum=np.array([[200_000, 600_000]]),
    ...     score_squares=np.array([[40_000, 360_000]]),
    ... )
    >>> Brier().value(counts).round(6).tolist()
    [0.1]

    References
    ----------
    G. W. Brier (1950), Verification of forecasts expressed in terms of probability, Monthly Weather
    Review 78.
    """

    higher_is_better: ClassVar[bool | None] = False
    binary: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("truth", "score")
    unit: ClassVar[str] = ""

    def value(self, counts: Counts) -> Floats:
        """Shape (S,)."""
        if counts.positive is None or counts.score_sum is None or counts.score_squares is None:
            return np.full(counts.series, np.nan)
        cells = counts.scores
        n = cells.n_negative + cells.n_positive
        squares = (
            counts.score_squares.sum(axis=1)
            - 2 * counts.score_sum[:, counts.positive]
            + cells.n_positive * SUM_UNITS
        )
        return np.clip(divided(squares, n * SUM_UNITS), 0.0, 1.0)

    def interval(self, counts: Counts) -> Interval | None:
        """Wilson's form with the variance of the squared distances."""
        cells = counts.scores
        n = cells.n_negative + cells.n_positive
        of_negative, of_positive = np.square(cells.middle), np.square(1 - cells.middle)
        mean = divided(cells.sums(cells.negatives * of_negative + cells.positives * of_positive), n)
        fourth = divided(
            cells.sums(
                cells.negatives * np.square(of_negative) + cells.positives * np.square(of_positive)
            ),
            n,
        )
        return wilson_from_variance(
            self.known_value(counts),
            np.nan_to_num(divided(np.maximum(fourth - mean * mean, 0.0), n)),
            n,
        )
