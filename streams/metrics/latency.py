"""Latency of predictions."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.lanes import TRAFFIC
from driftline.streams.metrics.counts import Counts, SparseHistogram
from driftline.streams.metrics.quantile import HistogramQuantile


class LatencyP50(HistogramQuantile, frozen=True, tag="latency_p50"):
    """Median latency of the predictions that have one.

    Returns
    -------
    In milliseconds, off by at most 1/128; null without latencies. The interval is that of
    order statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from driftline.streams.summaries import loglinear
    >>> latency = SparseHistogram(loglinear.bin_of(np.array([40, 100])), np.array([[3, 1]]))
    >>> counts = Counts(
    ...     labels=(),
    ...     positive=None,
    ...     matrix=np.zeros((1, 0, 0), dtype=np.int64),
    ...     n_predictions=np.array([4]),
    ...     latency=latency,
    ... )
    >>> LatencyP50().value(counts).tolist()
    [0.04]
    """

    lanes: ClassVar[tuple[int, ...]] = (TRAFFIC,)
    needs: ClassVar[tuple[str, ...]] = ("latency",)
    per_ms: ClassVar[int] = 1000

    def histogram(self, counts: Counts) -> SparseHistogram | None:
        """Latencies in microseconds."""
        return counts.latency


class LatencyP95(LatencyP50, frozen=True, tag="latency_p95"):
    """95 % quantile of the latency of the predictions that have one.

    Returns
    -------
    In milliseconds, off by at most 1/128; null without latencies. The interval is that of
    order statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from driftline.streams.summaries import loglinear
    >>> latency = SparseHistogram(loglinear.bin_of(np.array([40, 100])), np.array([[3, 1]]))
    >>> counts = Counts(
    ...     labels=(),
    ...     positive=None,
    ...     matrix=np.zeros((1, 0, 0), dtype=np.int64),
    ...     n_predictions=np.array([4]),
    ...     latency=latency,
    ... )
    >>> LatencyP95().value(counts).tolist()
    [0.1]
    """

    q: ClassVar[float] = 0.95


class LatencyP99(LatencyP50, frozen=True, tag="latency_p99"):
    """99 % quantile of the latency of the predictions that have one.

    Returns
    -------
    In milliseconds, off by at most 1/128; null without latencies. The interval is that of
    order statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from driftline.streams.summaries import loglinear
    >>> latency = SparseHistogram(loglinear.bin_of(np.array([40, 100])), np.array([[3, 1]]))
    >>> counts = Counts(
    ...     labels=(),
    ...     positive=None,
    ...     matrix=np.zeros((1, 0, 0), dtype=np.int64),
    ...     n_predictions=np.array([4]),
    ...     latency=latency,
    ... )
    >>> LatencyP99().value(counts).tolist()
    [0.1]
    """

    q: ClassVar[float] = 0.99
