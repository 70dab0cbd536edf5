"""Label coverage: the share of predictions with a truth."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.intervals import Ints
from driftline.streams.lanes import DECISIONS
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Proportion


class LabelCoverage(Proportion, frozen=True, tag="label_coverage"):
    """Share of the predictions of the window that have a truth in force at this maturity.

    Returns
    -------
    In [0, 1], with Wilson's interval; null without predictions.

    Examples
    --------
    >>> import numpy as np
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[50, 10], [5, 35]]]),
    ...     n_predictions=np.array([125]),
    ... )
    >>> LabelCoverage().value(counts).tolist()
    [0.8]
    """

    lanes: ClassVar[tuple[int, ...]] = (DECISIONS,)
    needs: ClassVar[tuple[str, ...]] = ()

    def rows(self, counts: Counts) -> tuple[Ints, Ints]:
        """Predictions with a truth out of all."""
        return counts.n, counts.n_predictions
