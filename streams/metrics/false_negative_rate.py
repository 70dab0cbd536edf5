"""False negative rate: the share of positives that are missed."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.intervals import Ints
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Proportion


class FalseNegativeRate(Proportion, frozen=True, tag="fnr"):
    """Share of the positives that are predicted negative: fn / (tp + fn), that is 1 - recall.

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
    >>> FalseNegativeRate().value(counts).round(4).tolist()
    [0.125]
    """

    binary: ClassVar[bool] = True
    higher_is_better: ClassVar[bool | None] = False
    undefined: ClassVar[str] = "no positive yet"

    def rows(self, counts: Counts) -> tuple[Ints, Ints]:
        """False negatives out of actual positives."""
        _, _, fn, tp = counts.binary_cells()
        return fn, tp + fn
