"""Error rate: the share of predictions that failed."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from driftline.streams.intervals import Ints
from driftline.streams.lanes import TRAFFIC
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Proportion


class ErrorRate(Proportion, frozen=True, tag="error_rate"):
    """Share of the predictions of the window with status "error". It does not depend on labels.

    Returns
    -------
    In [0, 1], with Wilson's interval; null without predictions.

    Examples
    --------
    >>> counts = Counts(
    ...     labels=(),
    ...     positive=None,
    ...     matrix=np.zeros((1, 0, 0), dtype=np.int64),
    ...     n_predictions=np.array([200]),
    ...     errors=np.array([5]),
    ... )
    >>> ErrorRate().value(counts).tolist()
    [0.025]
    """

    lanes: ClassVar[tuple[int, ...]] = (TRAFFIC,)
    higher_is_better: ClassVar[bool | None] = False
    needs: ClassVar[tuple[str, ...]] = ()

    def rows(self, counts: Counts) -> tuple[Ints, Ints]:
        """Errors out of all predictions."""
        return counts.errors if counts.errors is not None else np.zeros_like(
            counts.n_predictions
        ), counts.n_predictions
