"""Label delay: the time from a prediction to its truth."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.lanes import DECISIONS
from driftline.streams.masks import all_true
from driftline.streams.metrics.counts import Counts, SparseHistogram
from driftline.streams.metrics.quantile import HistogramQuantile


class DelayP50(HistogramQuantile, frozen=True, tag="delay_p50"):
    """Median delay of the labels known at this maturity. It does not include labels that are still
    to come: read it at the last rung.

    Returns
    -------
    In milliseconds, off by at most 1/128; null without labels. The interval is that of order
    statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from driftline.streams.summaries import loglinear
    >>> delay = SparseHistogram(loglinear.bin_of(np.array([10, 20, 100])), np.array([[3, 4, 1]]))
    >>> counts = Counts(
    ...     labels=("a",),
    ...     positive=None,
    ...     matrix=np.array([[[8]]]),
    ...     n_predictions=np.array([8]),
    ...     delay=delay,
    ... )
    >>> DelayP50().value(counts).tolist()
    [20.0]
    """

    lanes: ClassVar[tuple[int, ...]] = (DECISIONS,)
    needs: ClassVar[tuple[str, ...]] = ("truth", "delay")
    by_label: ClassVar[bool] = False

    def histogram(self, counts: Counts) -> SparseHistogram | None:
        """Delays in milliseconds; none for series whose labels were all retracted."""
        delay, labelled = counts.delay, counts.n > 0
        return (
            delay
            if delay is None or all_true(labelled)
            else SparseHistogram(delay.bins, delay.counts * labelled[:, None])
        )


class DelayP95(DelayP50, frozen=True, tag="delay_p95"):
    """95 % quantile of the delay of the labels known at this maturity.

    Returns
    -------
    In milliseconds, off by at most 1/128; null without labels. The interval is that of order
    statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from driftline.streams.summaries import loglinear
    >>> delay = SparseHistogram(loglinear.bin_of(np.array([10, 20, 100])), np.array([[3, 4, 1]]))
    >>> counts = Counts(
    ...     labels=("a",),
    ...     positive=None,
    ...     matrix=np.array([[[8]]]),
    ...     n_predictions=np.array([8]),
    ...     delay=delay,
    ... )
    >>> DelayP95().value(counts).tolist()
    [100.0]
    """

    q: ClassVar[float] = 0.95
