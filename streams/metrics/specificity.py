"""Specificity: the share of negatives that are predicted negative."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.intervals import Ints
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Proportion


class Specificity(Proportion, frozen=True, tag="specificity"):
    """Share of the negatives that are predicted negative: tn / (tn + fp). Also called true negative
    rate.

    Returns
    -------
    In [0, 1], with Wilson's interval; null while there is no negative.

    Examples
    --------
    >>> import numpy as np
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[50, 10], [5, 35]]]),
    ...     n_predictions=np.array([120]),
    ... )
    >>> Specificity().value(counts).round(4).tolist()
    [0.8333]
    """

    binary: ClassVar[bool] = True
    undefined: ClassVar[str] = "no negative yet"

    def rows(self, counts: Counts) -> tuple[Ints, Ints]:
        """True negatives out of actual negatives."""
        tn, fp, _, _ = counts.binary_cells()
        return tn, tn + fp
