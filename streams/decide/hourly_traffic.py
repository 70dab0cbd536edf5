"""Predictions of a series by hour, and how many are usual at a time of the week."""

from __future__ import annotations

from statistics import median
from typing import Final, NamedTuple

import msgspec
import numpy as np

from driftline.schemas.times import DAY_MS, HOUR_MS
from driftline.streams.intervals import poisson_score

WEEK_MS: Final = 7 * DAY_MS
WEEKS: Final = 4
"""Weeks whose median is the usual number."""
LEAST_WEEKS: Final = 3
"""Weeks without which nothing is usual yet: one odd week of three does not move the median far."""
_KEPT_HOURS: Final = (WEEKS + 1) * WEEK_MS // HOUR_MS


class Usual(NamedTuple):
    """Predictions that are usual in a span.

    Attributes
    ----------
    median
        The median of the weeks.
    low, high
        95 % interval of as many predictions in each of the weeks, if these are a Poisson count:
        what is usual of a few predictions is hardly known.
    """

    median: float
    low: float
    high: float


class HourlyTraffic(msgspec.Struct, frozen=True, array_like=True):
    """Predictions by hour, of the newest five weeks.

    Parameters
    ----------
    first_hour
        Number of the first hour since the epoch; -1 before the first window.
    counts
        Predictions of each hour from there on. Hours after the last one had none so far.
    end_ms
        End of the newest window that was counted.
    """

    first_hour: int = -1
    counts: tuple[int, ...] = ()
    end_ms: int = -1

    def with_window(self, start_ms: int, end_ms: int, n: int) -> HourlyTraffic:
        """Add the `n` predictions of a window that lies within an hour, and after all before it;
        any other changes nothing.

        The first hour is the one after that of the first window, which may have begun before it.

        Examples
        --------
        >>> traffic = HourlyTraffic()
        >>> for hour, n in ((7, 3), (8, 5), (10, 4), (10, 9)):
        ...     traffic = traffic.with_window(hour * HOUR_MS, (hour + 1) * HOUR_MS, n)
        >>> traffic.first_hour, traffic.counts
        (8, (5, 0, 4))
        """
        if start_ms < self.end_ms:
            return self
        hour = start_ms // HOUR_MS
        if self.first_hour < 0:
            return HourlyTraffic(hour + 1, (), end_ms)
        counts, first = list(self.counts), self.first_hour
        if hour >= first:
            silent = hour - first - len(counts) + 1
            if silent >= _KEPT_HOURS:
                counts, first = [0] * _KEPT_HOURS, hour - _KEPT_HOURS + 1
            elif silent > 0:
                counts += [0] * silent
            counts[hour - first] += n
            dropped = max(len(counts) - _KEPT_HOURS, 0)
            counts, first = counts[dropped:], first + dropped
        return HourlyTraffic(first, tuple(counts), end_ms)

    def usual(self, start_ms: int, end_ms: int) -> Usual | None:
        """The predictions of the same span of the four weeks before. An hour that lies in the span
        in part counts by that part. None for fewer than three weeks.

        Examples
        --------
        >>> week = WEEK_MS // HOUR_MS
        >>> traffic = HourlyTraffic(0, tuple(n for n in (60, 90, 600) for _ in range(week)))
        >>> monday = 3 * WEEK_MS
        >>> usual = traffic.usual(monday, monday + HOUR_MS)
        >>> usual.median, round(usual.low, 1), round(usual.high, 1)
        (90.0, 79.9, 101.4)
        >>> traffic.usual(monday, monday + HOUR_MS // 60).median
        1.5
        >>> traffic.usual(monday - 1, monday) is None
        True
        """
        if self.first_hour < 0:
            return None
        begin_ms = self.first_hour * HOUR_MS
        shifts_ms = [week * WEEK_MS for week in range(1, WEEKS + 1)]
        counts = [
            self._count(start_ms - shift_ms, end_ms - shift_ms)
            for shift_ms in shifts_ms
            if start_ms - shift_ms >= begin_ms
        ]
        if len(counts) < LEAST_WEEKS:
            return None
        count, weeks = median(counts), len(counts)
        low, high = (float(limit[0]) for limit in poisson_score(np.array([count * weeks])))
        return Usual(count, low / weeks, high / weeks)

    def _count(self, start_ms: int, end_ms: int) -> float:
        hours = range(start_ms // HOUR_MS, (end_ms - 1) // HOUR_MS + 1)
        parts_ms = [
            min(end_ms, (hour + 1) * HOUR_MS) - max(start_ms, hour * HOUR_MS) for hour in hours
        ]
        counts = [self._of_hour(hour) for hour in hours]
        # Whole numbers until the one division, so that no order of addition matters.
        return sum(n * ms for n, ms in zip(counts, parts_ms, strict=True)) / HOUR_MS

    def _of_hour(self, hour: int) -> int:
        place = hour - self.first_hour
        return self.counts[place] if 0 <= place < len(self.counts) else 0
