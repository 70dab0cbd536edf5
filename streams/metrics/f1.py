"""F1: the harmonic mean of precision and recall."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from driftline.streams.intervals import (
    Floats,
    Interval,
    Ints,
    divided,
    wilson,
    wilson_from_variance,
)
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import UNKNOWN_POSITIVE, Metric


class F1(Metric, frozen=True, tag="f1"):
    """F1 of the positive label, 2 tp / (2 tp + fp + fn); macro-F1, the mean of the F1 of each
    label, for three or more labels.

    A label that neither occurs nor is predicted is left out of the mean. F1 depends on the base
    rate: where the base rate changes, compare windows by ROC AUC or balanced accuracy.

    Returns
    -------
    In [0, 1]; null without actual and predicted positives. With two labels the interval follows
    from Wilson's limits of the proportion J = tp / (tp + fp + fn), since F1 = 2 J / (1 + J)
    increases with J. For macro-F1 it is Wilson's form with the delta-method variance.

    Examples
    --------
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[50, 10], [5, 35]]]),
    ...     n_predictions=np.array([120]),
    ... )
    >>> F1().value(counts).round(4).tolist()
    [0.8235]

    References
    ----------
    K. Takahashi, K. Yamamoto, A. Kuchiba, T. Koyama (2022), Confidence interval for micro-averaged
    F1 and macro-averaged F1 scores, Applied Intelligence 52, for the delta method.
    """

    undefined: ClassVar[str] = "no positive yet"

    def null_reasons(self, counts: Counts, at: Ints) -> list[str]:
        """As `Metric.null_reasons`; two labels without a positive one are a reason."""
        reasons = super().null_reasons(counts, at)
        if len(counts.labels) == 2 and counts.positive is None:
            return [UNKNOWN_POSITIVE if each == self.undefined else each for each in reasons]
        return reasons

    def value(self, counts: Counts) -> Floats:
        """Shape (S,)."""
        if len(counts.labels) > 2:
            return _macro(counts)[0]
        _, fp, fn, tp = counts.binary_cells()
        return divided(2 * tp, 2 * tp + fp + fn)

    def interval(self, counts: Counts) -> Interval | None:
        """From Wilson's interval of J; for macro-F1 with the delta-method variance."""
        if len(counts.labels) > 2:
            return wilson_from_variance(*_macro(counts), counts.n)
        _, fp, fn, tp = counts.binary_cells()
        low, high = wilson(tp, tp + fp + fn)
        return 2 * low / (1 + low), 2 * high / (1 + high)


def _macro(counts: Counts) -> tuple[Floats, Floats]:
    """Macro-F1 and its variance, each of shape (S,)."""
    n = counts.n
    cells = divided(counts.matrix, n[:, np.newaxis, np.newaxis])
    right = np.diagonal(cells, axis1=1, axis2=2)
    either = cells.sum(axis=2) + cells.sum(axis=1)
    classes = (either > 0).sum(axis=1)
    macro = divided(np.nansum(divided(2 * right, either), axis=1), classes)
    # Derivative of 2 p_ii / (row_i + column_i) of each label by the cell (j, k), which is part of
    # row j and column k.
    slope = np.nan_to_num(divided(2 * right, either * either))
    steep = np.nan_to_num(divided(np.full(either.shape, 2.0), either))
    gradient = -(slope[:, :, np.newaxis] + slope[:, np.newaxis, :])
    gradient += steep[:, :, np.newaxis] * np.eye(len(counts.labels))
    gradient = divided(gradient, classes[:, np.newaxis, np.newaxis])
    mean = (cells * gradient).sum(axis=(1, 2))
    variance = divided((cells * gradient * gradient).sum(axis=(1, 2)) - mean * mean, n)
    return macro, np.maximum(variance, 0.0)
