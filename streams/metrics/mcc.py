"""Matthews correlation coefficient."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from driftline.streams.intervals import Z95, Floats, Interval, divided
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Metric


class MatthewsCorrelation(Metric, frozen=True, tag="mcc"):
    """Correlation between actual and predicted labels: Matthews' for two labels, Gorodkin's R_K,
    which generalises it, for three or more.

    Returns
    -------
    In [-1, 1], 0 for guessing; null while only one label occurs or only one is predicted. The
    interval is the delta method on Fisher's z scale; null where the correlation is exactly 1 or -1,
    for which the method does not apply.

    Examples
    --------
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[50, 10], [5, 35]]]),
    ...     n_predictions=np.array([120]),
    ... )
    >>> MatthewsCorrelation().value(counts).round(4).tolist()
    [0.6975]

    References
    ----------
    J. Gorodkin (2004), Comparing two K-category assignments by a K-category correlation
    coefficient, Comput. Biol. Chem. 28. Y. M. M. Bishop, S. E. Fienberg, P. W. Holland (1975),
    Discrete Multivariate Analysis, chapter 14, for the delta method.
    """

    unit: ClassVar[str] = ""
    undefined: ClassVar[str] = "one class only"

    def value(self, counts: Counts) -> Floats:
        """Shape (S,)."""
        # In integers: squares of counts below 2**31 are exact.
        n, actual, predicted = counts.n, counts.actual, counts.predicted
        covariance = counts.correct * n - (actual * predicted).sum(axis=1)
        spread_actual, spread_predicted = (
            n * n - (actual * actual).sum(axis=1),
            n * n - (predicted * predicted).sum(axis=1),
        )
        return divided(
            covariance,
            np.sqrt(spread_actual.astype(np.float64))
            * np.sqrt(spread_predicted.astype(np.float64)),
        )

    def interval(self, counts: Counts) -> Interval | None:
        """Delta method on Fisher's z scale."""
        n, estimate = counts.n, self.known_value(counts)
        cells = divided(counts.matrix, n[:, np.newaxis, np.newaxis])
        actual, predicted = cells.sum(axis=2), cells.sum(axis=1)
        spread_actual, spread_predicted = (
            1 - (actual * actual).sum(axis=1),
            1 - (predicted * predicted).sum(axis=1),
        )
        # Derivatives of the covariance and of half the logarithm of each spread by the cell (j, k).
        covariance = (
            np.eye(len(counts.labels)) - predicted[:, :, np.newaxis] - actual[:, np.newaxis, :]
        )
        by_actual = divided(actual, spread_actual[:, np.newaxis])[:, :, np.newaxis]
        by_predicted = divided(predicted, spread_predicted[:, np.newaxis])[:, np.newaxis, :]
        root = np.sqrt(np.maximum(spread_actual * spread_predicted, 0.0))
        gradient = divided(covariance, root[:, np.newaxis, np.newaxis]) + estimate[
            :, np.newaxis, np.newaxis
        ] * (by_actual + by_predicted)
        mean = (cells * gradient).sum(axis=(1, 2))
        variance = divided(
            np.maximum((cells * gradient * gradient).sum(axis=(1, 2)) - mean * mean, 0.0), n
        )
        inside = np.where(np.abs(estimate) < 1, estimate, np.nan)
        reach = Z95 * np.sqrt(variance) / (1 - inside * inside)
        return np.tanh(np.arctanh(inside) - reach), np.tanh(np.arctanh(inside) + reach)
