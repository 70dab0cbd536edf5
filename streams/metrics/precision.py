"""Precision: the share of predicted positives that are positive."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.intervals import Ints
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Proportion


class Precision(Proportion, frozen=True, tag="precision"):
    """Share of the predicted positives that are positive: tp / (tp + fp).

    Returns
    -------
    In [0, 1], with Wilson's interval; null without predicted positives.

    Examples
    --------
    >>> import numpy as np
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[50, 10], [5, 35]]]),
    ...     n_predictions=np.array([120]),
    ... )
    >>> Precision().value(counts).round(4).tolist()
    [0.7778]
    """

    binary: ClassVar[bool] = True
    undefined: ClassVar[str] = "nothing predicted positive"

    def rows(self, counts: Counts) -> tuple[Ints, Ints]:
        """True positives out of predicted positives."""
        _, fp, _, tp = counts.binary_cells()
        return tp, tp + fp
