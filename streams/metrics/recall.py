"""Recall: the share of positives that are predicted positive."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.intervals import Ints
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Proportion


class Recall(Proportion, frozen=True, tag="recall"):
    """Share of the positives that are predicted positive: tp / (tp + fn). Also called sensitivity
    or true positive rate.

    Returns
    -------
    In [0, 1], with Wilson's interval; null while there is no positive.

    Examples
    --------
    >>> import numpy as np
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[50, 10], [5, 35]]]),
    ...     n_predictions=np.array([120]),
    ... )
    >>> Recall().value(counts).round(4).tolist()
    [0.875]
    """

    binary: ClassVar[bool] = True
    undefined: ClassVar[str] = "no positive yet"

    def rows(self, counts: Counts) -> tuple[Ints, Ints]:
        """True positives out of actual positives."""
        _, _, fn, tp = counts.binary_cells()
        return tp, tp + fn
