"""Balanced accuracy: the mean recall over labels."""

from __future__ import annotations

import numpy as np

from driftline.streams.intervals import Floats, Interval, divided, square_and_add, wilson
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Metric


class BalancedAccuracy(Metric, frozen=True, tag="balanced_accuracy"):
    """Mean over the actual labels of the share that is predicted correctly: each label has the same
    weight, however rare it is.

    Labels without a truth are left out. Unlike accuracy and F1 it does not depend on the base rate.

    Returns
    -------
    In [0, 1]; null until two labels have truths. The interval combines Wilson's limits of each
    recall (square and add).

    Examples
    --------
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[50, 10], [5, 35]]]),
    ...     n_predictions=np.array([120]),
    ... )
    >>> BalancedAccuracy().value(counts).round(4).tolist()
    [0.8542]

    References
    ----------
    G. Y. Zou, A. Donner (2008), Construction of confidence limits about effect measures, Statistics
    in Medicine 27.
    """

    def value(self, counts: Counts) -> Floats:
        """Shape (S,)."""
        recalls, weights = (
            divided(np.diagonal(counts.matrix, axis1=1, axis2=2), counts.actual),
            _weights(counts),
        )
        mean: Floats = np.where(weights > 0, recalls * weights, 0.0).sum(axis=1)
        return mean + _undefined(counts)

    def interval(self, counts: Counts) -> Interval | None:
        """Wilson's limits of the recalls, combined by square and add."""
        right, actual = np.diagonal(counts.matrix, axis1=1, axis2=2), counts.actual
        low, high = square_and_add(
            divided(right, actual), *wilson(right, actual), weights=_weights(counts)
        )
        undefined = _undefined(counts)
        return low + undefined, high + undefined


def _weights(counts: Counts) -> Floats:
    """Shape (S, K): equal weights for the labels with truths, 0 for the others."""
    occurs = counts.actual > 0
    weights: Floats = occurs / np.maximum(occurs.sum(axis=1, keepdims=True), 1)
    return weights


def _undefined(counts: Counts) -> Floats:
    """Shape (S,): NaN where fewer than two labels have truths, else 0."""
    return np.where((counts.actual > 0).sum(axis=1) < 2, np.nan, 0.0)
