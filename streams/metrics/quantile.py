"""Base class of quantile metrics: a quantile of a log-linear histogram and its interval."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from driftline.streams.intervals import Floats, Interval, quantile_ranks
from driftline.streams.metrics.counts import Counts, SparseHistogram
from driftline.streams.metrics.metric import Metric


class HistogramQuantile(Metric, frozen=True):
    """A quantile in milliseconds with a relative error of at most 1/128; the interval is that of
    order statistics.

    Attributes
    ----------
    q
        The share of rows at or below the value, in [0, 1].
    per_ms
        Units of the histogram per millisecond.

    References
    ----------
    W. J. Conover (1999), Practical Nonparametric Statistics, 3rd ed., section 3.2, for the
    interval.
    """

    q: ClassVar[float] = 0.5
    per_ms: ClassVar[int] = 1
    higher_is_better: ClassVar[bool | None] = False
    unit: ClassVar[str] = "ms"

    def histogram(self, counts: Counts) -> SparseHistogram | None:
        """The histogram, None if the counts have none."""
        raise NotImplementedError(f"{type(self).__name__} needs a method histogram(counts)")

    def value(self, counts: Counts) -> Floats:
        """Shape (S,), in ms; NaN for an empty histogram."""
        return self._read(counts, np.full(counts.series, self.q))

    def interval(self, counts: Counts) -> Interval | None:
        """The order statistics that enclose the true quantile with 95 % confidence."""
        histogram = self.histogram(counts)
        n = histogram.total if histogram is not None else np.zeros(counts.series, dtype=np.int64)
        low, high = quantile_ranks(self.q, n)
        return self._read(counts, low), self._read(counts, high)

    def _read(self, counts: Counts, q: Floats) -> Floats:
        histogram = self.histogram(counts)
        if histogram is None:
            return np.full(counts.series, np.nan)
        return histogram.quantiles(q) / self.per_ms
