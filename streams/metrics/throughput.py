"""Throughput: predictions per second."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from driftline.streams.intervals import Floats, Interval, divided, poisson_score
from driftline.streams.lanes import TRAFFIC
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Metric


class Throughput(Metric, frozen=True, tag="throughput"):
    """Predictions of the window divided by its length in seconds.

    Returns
    -------
    At least 0; null for a window without a length ("last n"). The interval is the score interval of
    a Poisson count.

    Examples
    --------
    >>> counts = Counts(
    ...     labels=(),
    ...     positive=None,
    ...     matrix=np.zeros((1, 0, 0), dtype=np.int64),
    ...     n_predictions=np.array([7200]),
    ...     window_ms=np.array([3_600_000]),
    ... )
    >>> Throughput().value(counts).tolist()
    [2.0]

    References
    ----------
    L. Barker (2002), A comparison of nine confidence intervals for a Poisson parameter, The
    American Statistician 56.
    """

    lanes: ClassVar[tuple[int, ...]] = (TRAFFIC,)
    higher_is_better: ClassVar[bool | None] = None
    unit: ClassVar[str] = "1/s"
    needs: ClassVar[tuple[str, ...]] = ()
    undefined: ClassVar[str] = "window without length"

    def value(self, counts: Counts) -> Floats:
        """Shape (S,)."""
        return divided(counts.n_predictions, _seconds(counts))

    def interval(self, counts: Counts) -> Interval | None:
        """Poisson score interval."""
        low, high = poisson_score(counts.n_predictions)
        return divided(low, _seconds(counts)), divided(high, _seconds(counts))


def _seconds(counts: Counts) -> Floats:
    return counts.window_ms / 1000 if counts.window_ms is not None else np.zeros(counts.series)
