"""Times at which something came, predictions or labels, and which silence is no longer usual."""

from __future__ import annotations

from typing import Final

import msgspec

from driftline.schemas.times import DAY_MS, HOUR_MS

WEEK_MS: Final = 7 * DAY_MS
KEPT_WEEKS: Final = 13
LEARNING_MS: Final = 28 * DAY_MS
LONGEST_PAUSE_MS: Final = 3 * DAY_MS
"""Silence that may be usual for a version that has not been seen for a whole week: a weekend."""


class Activity(msgspec.Struct, frozen=True, array_like=True):
    """Windows with rows of a series, and the silences between them.

    A silence that was too long is an outage and does not count as usual, unless another one follows
    within four weeks.

    Parameters
    ----------
    first_ms, last_ms
        Start of the first and end of the newest window with rows.
    weeks
        (number of the week since the epoch, longest usual silence that ended in it, in ms), of the
        newest 13 weeks.
    outage_ms
        Length of the newest outage, or of the longest of several within four weeks; 0 without one.
    resumed_ms
        End of the newest outage; -1 without one.
    """

    first_ms: int
    last_ms: int
    weeks: tuple[tuple[int, int], ...] = ()
    outage_ms: int = 0
    resumed_ms: int = -1

    @property
    def usual_ms(self) -> int:
        """The longest usual silence of the newest 13 weeks with one."""
        return max((silence_ms for _, silence_ms in self.weeks), default=0)

    @property
    def span_ms(self) -> int:
        """Time over which the series has been seen."""
        return self.last_ms - self.first_ms

    def with_window(self, start_ms: int, end_ms: int, limit_ms: int) -> Activity:
        """Add a window with rows; a silence of `limit_ms` before it was an outage.

        Examples
        --------
        >>> day = DAY_MS
        >>> activity = Activity(0, day).with_window(3 * day, 4 * day, 3 * day)
        >>> activity.usual_ms // day, activity.last_ms // day
        (2, 4)

        A silence of 9 days is an outage at first, and usual when it comes back:

        >>> once = activity.with_window(13 * day, 14 * day, 6 * day)
        >>> twice = once.with_window(23 * day, 24 * day, 6 * day)
        >>> once.usual_ms // day, once.outage_ms // day, twice.usual_ms // day
        (2, 9, 9)
        """
        silence_ms = start_ms - self.last_ms
        after = msgspec.structs.replace(self, last_ms=max(self.last_ms, end_ms))
        if silence_ms <= 0:
            return after
        if silence_ms < limit_ms:
            return after._with_usual(start_ms, silence_ms)
        outage_ms = silence_ms
        if self.outage_ms and self.last_ms - self.resumed_ms < LEARNING_MS:
            after = after._with_usual(start_ms, min(silence_ms, self.outage_ms))
            outage_ms = max(silence_ms, self.outage_ms)
        return msgspec.structs.replace(after, outage_ms=outage_ms, resumed_ms=start_ms)

    def _with_usual(self, end_ms: int, silence_ms: int) -> Activity:
        week = end_ms // WEEK_MS
        weeks = {number: ms for number, ms in self.weeks if number > week - KEPT_WEEKS}
        weeks[week] = max(weeks.get(week, 0), silence_ms)
        return msgspec.structs.replace(self, weeks=tuple(weeks.items()))


def silence_limit_ms(activity: Activity, window_ms: int) -> int:
    """Silence of predictions from which on it is an outage.

    Twice the longest usual silence and a window, since the windows tell a silence to a window; at
    least an hour. Three times as much in the first four weeks, and at least three days in the first
    one.

    Examples
    --------
    >>> night = ((2950, 10 * HOUR_MS),)
    >>> days = (3, 20, 60)
    >>> seen = [Activity(0, day * DAY_MS, night) for day in days]
    >>> [silence_limit_ms(each, HOUR_MS) // HOUR_MS for each in seen]
    [72, 33, 22]
    """
    usual_ms = activity.usual_ms + window_ms
    if activity.span_ms >= LEARNING_MS:
        return max(2 * usual_ms, HOUR_MS)
    least_ms = LONGEST_PAUSE_MS if activity.span_ms < WEEK_MS else HOUR_MS
    return max(3 * usual_ms, least_ms)


def label_limit_ms(
    activity: Activity, window_ms: int, *, delay_ms: int | None, horizon_ms: int
) -> int:
    """Silence of labels from which on it is an outage.

    Twice the longest usual silence, and the time in which 95 % of the labels are known; of the
    latter at most as much as another silence, so that one batch may be left out. At least the label
    horizon while labels have been seen for less than four weeks.

    Parameters
    ----------
    delay_ms
        95 % quantile of the delay of labels; None if it is not known.

    Examples
    --------
    >>> nightly = Activity(0, 60 * DAY_MS, ((5, 23 * HOUR_MS),))
    >>> limits = [
    ...     label_limit_ms(nightly, HOUR_MS, delay_ms=delay, horizon_ms=30 * DAY_MS)
    ...     for delay in (7 * DAY_MS, 2 * HOUR_MS, None)
    ... ]
    >>> [limit // HOUR_MS for limit in limits]
    [72, 50, 72]
    """
    usual_ms = activity.usual_ms + window_ms
    limit_ms = 2 * usual_ms + (usual_ms if delay_ms is None else min(delay_ms, usual_ms))
    return limit_ms if activity.span_ms >= LEARNING_MS else max(limit_ms, horizon_ms)
