"""False positive rate: the share of negatives that are predicted positive."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.intervals import Ints
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Proportion


class FalsePositiveRate(Proportion, frozen=True, tag="fpr"):
    """Share of the negatives that are predicted positive: fp / (tn + fp), that is 1 - specificity.

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
    >>> FalsePositiveRate().value(counts).round(4).tolist()
    [0.1667]
    """

    binary: ClassVar[bool] = True
    higher_is_better: ClassVar[bool | None] = False
    undefined: ClassVar[str] = "no negative yet"

    def rows(self, counts: Counts) -> tuple[Ints, Ints]:
        """False positives out of actual negatives."""
        tn, fp, _, _ = counts.binary_cells()
        return fp, tn + fp
