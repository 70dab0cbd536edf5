"""Times of day on the clock of a time zone: quiet hours and the daily digest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from driftline.schemas.notification_settings import QuietHours

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def is_quiet(hours: QuietHours, zone: tzinfo, at_ms: int) -> bool:
    """Whether a time lies in the quiet hours.

    Examples
    --------
    >>> night = QuietHours(from_minute=22 * 60, to_minute=7 * 60)
    >>> [is_quiet(night, UTC, hour * 3_600_000) for hour in (21, 22, 30, 31)]
    [False, True, True, False]
    """
    local = _local(at_ms, zone)
    minute = 60 * local.hour + local.minute
    if hours.from_minute < hours.to_minute:
        return hours.from_minute <= minute < hours.to_minute
    return minute >= hours.from_minute or minute < hours.to_minute


def quiet_end_ms(hours: QuietHours, zone: tzinfo, at_ms: int) -> int:
    """When the quiet hours are over that a time lies in.

    Examples
    --------
    >>> night = QuietHours(from_minute=22 * 60, to_minute=7 * 60)
    >>> quiet_end_ms(night, UTC, 23 * 3_600_000) // 3_600_000
    31
    """
    quiet_ms, loud_ms = at_ms, at_ms
    while is_quiet(hours, zone, loud_ms):
        quiet_ms = loud_ms
        loud_ms = next_at_ms(hours.to_minute, zone, loud_ms)
    # A clock that jumps over the end, in spring, leaves the quiet hours before the time that
    # `next_at_ms` gives.
    while loud_ms - quiet_ms > 1:
        middle_ms = (quiet_ms + loud_ms) // 2
        if is_quiet(hours, zone, middle_ms):
            quiet_ms = middle_ms
        else:
            loud_ms = middle_ms
    return loud_ms


def next_at_ms(minute: int, zone: tzinfo, after_ms: int) -> int:
    """When the clock shows a time of day next, once for each date: where it jumps over that time,
    as much later as it jumps; where it shows it twice, at the first.

    Parameters
    ----------
    minute
        Minutes after midnight.

    Examples
    --------
    >>> from zoneinfo import ZoneInfo
    >>> berlin = ZoneInfo("Europe/Berlin")
    >>> spring_ms = 1_774_746_000_000  # 2026-03-29T01:00:00Z, when 02:00 becomes 03:00 there
    >>> [(next_at_ms(m, berlin, spring_ms - 1) - spring_ms) // 60_000 for m in (2 * 60, 8 * 60)]
    [0, 300]
    """
    date = _local(after_ms, zone).date()
    while True:
        local = datetime(date.year, date.month, date.day, minute // 60, minute % 60, tzinfo=zone)
        at_ms = (local.astimezone(UTC) - _EPOCH) // _MS
        if at_ms > after_ms:
            return at_ms
        date += timedelta(days=1)


def _local(at_ms: int, zone: tzinfo) -> datetime:
    return (_EPOCH + at_ms * _MS).astimezone(zone)
