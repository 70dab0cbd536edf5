"""Conversion of times and durations between text and milliseconds.

Inside the program a time is an integer, milliseconds since 1970-01-01T00:00:00Z; text appears only
at the edges. Nothing here reads a clock.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final, Self

__all__ = [
    "DAY_MS",
    "FIRST_EVENT_MS",
    "HOUR_MS",
    "LAST_PLAIN_MS",
    "MAX_TIME_MS",
    "MINUTE_MS",
    "SECOND_MS",
    "EpochMs",
    "format_date",
    "format_duration",
    "format_time",
    "parse_duration",
    "parse_event_time",
    "parse_time",
]

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
MAX_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, the latest time in RFC 3339."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# fromisoformat accepts more than RFC 3339: bare dates, weeks, times without an offset.
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_UNIT_MS = {"w": 7 * DAY_MS, "d": DAY_MS, "h": HOUR_MS, "m": MINUTE_MS, "s": SECOND_MS, "ms": 1}
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_COMPACT = "19730304000000"
# Numbers below each limit have a unit of which so many are a millisecond.
_UNITS = (
    (Decimal(10**11), Decimal("0.001")),
    (Decimal(10**14), Decimal(1)),
    (Decimal(10**17), Decimal(1_000)),
    (Decimal(10**20), Decimal(1_000_000)),
)
_DURATION = re.compile(r"(\d{1,15})(ms|[smhdw])", re.ASCII)
# Weeks are read but not written: people look for "7d" in a key.
_WRITTEN_UNITS = ("d", "h", "m", "s", "ms")


class EpochMs(int):
    """A time of a record: milliseconds since the epoch inside the program, RFC 3339 on a topic.

    A type of its own so that the encoder knows a time from a number; otherwise an `int`. The
    encoder and decoders of `driftline.schemas.results` convert it.
    """

    __slots__ = ()

    @classmethod
    def of(cls, text: str) -> Self:
        """The time that `parse_time` reads.

        Examples
        --------
        >>> EpochMs.of("1970-01-01T00:00:01Z") - EpochMs(400)
        600
        """
        return cls(parse_time(text))


def parse_time(value: str | int) -> int:
    """Milliseconds since the epoch of an RFC 3339 time, or of an integer that already is that.

    Digits beyond the millisecond are cut off, so that a time never moves into the next pane.

    Parameters
    ----------
    value
        A string with date, time of day and offset ("Z" or "+05:30"), or milliseconds since the
        epoch.

    Raises
    ------
    ValueError
        If it is neither, has no offset, is not a real date or time, or is outside 1970 to 9999.

    Examples
    --------
    >>> parse_time("1970-01-02T01:00:00.5+01:00")
    86400500
    >>> parse_time(86400500)
    86400500

    References
    ----------
    RFC 3339, section 5.6. The leap second ":60" is an error: epoch milliseconds cannot express it.
    """
    ms = value if isinstance(value, int) else _parse_text(value)
    if isinstance(value, bool) or not 0 <= ms <= MAX_TIME_MS:
        raise ValueError(
            f"{value!r} is not a time between 1970-01-01T00:00:00Z and the end of the year 9999"
        )
    return ms


def _parse_text(text: str) -> int:
    if _RFC3339.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time such as 2026-11-21T10:00:00Z")
    try:
        since = datetime.fromisoformat(text.upper()) - _EPOCH
    except ValueError as error:
        raise ValueError(f"{text!r} names no real date or time: {error}") from error
    return since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000


FIRST_EVENT_MS: Final = 100_000_000 * SECOND_MS
"""Earliest event time, 1973-03-03T09:46:40Z. From it on, integers in seconds, milliseconds,
microseconds and nanoseconds do not overlap.
"""


LAST_PLAIN_MS: Final = 19_730_304_000_000 - 1
"""Integers from FIRST_EVENT_MS to this are milliseconds; the greater ones may have other units."""


def parse_event_time(value: str | float) -> int:
    """Milliseconds since the epoch of an event time, in one of the forms that senders use.

    Digits beyond the millisecond are cut off, so that a time never moves into the next pane.

    Parameters
    ----------
    value
        - A date and time of day with an offset ("Z" or "+05:30"), or without one: then it is UTC.
          "T" or a blank between them; the form without separators is read too.
        - A date: its beginning in UTC. 20260105 is one, and 20260105103000 a date and time, as a
          text and as an integer.
        - A number since the epoch, also as a text, whose size tells the unit: seconds below 1e11,
          milliseconds below 1e14, microseconds below 1e17, else nanoseconds.

    Raises
    ------
    ValueError
        If it is none of these, is not a real date or time, or is before 1973-03-03T09:46:40Z or
        after the year 9999. The text says which, without the value.

    Examples
    --------
    >>> [parse_event_time(t) for t in (1767571200, 1767571200.5, 1767571200000000000)]
    [1767571200000, 1767571200500, 1767571200000]
    >>> {parse_event_time(t) for t in ("2026-01-05", "20260105", 20260105, "2026-01-05 00:00:00")}
    {1767571200000}
    >>> parse_event_time("2026-01-05T05:30:00+05:30")
    1767571200000
    >>> parse_event_time(0)
    Traceback (most recent call last):
    ...
    ValueError: before 1973-03-03T09:46:40Z, where no event can lie; a time that was never set?
    """
    if isinstance(value, str):
        number = _NUMBER.fullmatch(value.strip())
        ms = _parse_any_text(value.strip()) if number is None else _of_number(number[0])
    else:
        ms = _of_number(repr(value))
    if ms < FIRST_EVENT_MS:
        raise ValueError(
            f"before {format_time(FIRST_EVENT_MS)}, where no event can lie; a time that was never "
            "set?"
        )
    if ms > MAX_TIME_MS:
        raise ValueError("after the year 9999")
    return ms


def _of_number(text: str) -> int:
    try:
        number = Decimal(text)
    except InvalidOperation:  # NaN and infinity of a float have other spellings
        raise ValueError("not a finite number") from None
    if not number.is_finite():
        raise ValueError("not a finite number")
    if number == int(number):
        digits = str(int(number))
        if len(digits) == 8 and digits >= _COMPACT[:8]:
            return _parse_any_text(digits)
        if len(digits) == 14 and digits >= _COMPACT:
            return _parse_any_text(f"{digits[:8]}T{digits[8:]}")
    for limit, per_ms in _UNITS:
        if number < limit:
            return int(number / per_ms)
    raise ValueError("after the year 9999")


def _parse_any_text(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(
            "no date and time such as 2026-11-21T10:00:00Z, and no number since the epoch: "
            f"{_cause(error)}"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000


def _cause(error: ValueError) -> str:
    text = str(error)
    return "an unknown form" if text.startswith("Invalid isoformat") else text


def format_time(ms: int) -> str:
    """RFC 3339 in UTC, with milliseconds only where they are not zero.

    Raises
    ------
    ValueError
        If the time is outside 1970 to 9999.

    Examples
    --------
    >>> format_time(1_795_255_200_000)
    '2026-11-21T10:00:00Z'
    >>> format_time(123)
    '1970-01-01T00:00:00.123Z'
    """
    if not 0 <= ms <= MAX_TIME_MS:
        raise ValueError(
            f"{ms} ms is not a time between 1970-01-01T00:00:00Z and the end of the year 9999"
        )
    seconds, rest = divmod(ms, SECOND_MS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:03d}Z" if rest else f"{text}Z"


def format_date(ms: int) -> str:
    """The date in UTC.

    Examples
    --------
    >>> format_date(1_795_255_200_000)
    '2026-11-21'
    """
    return format_time(ms)[:10]


def parse_duration(text: str) -> int:
    """Milliseconds of a duration: a whole number and one unit out of ms, s, m, h, d and w.

    Raises
    ------
    ValueError
        If the text has another form.

    Examples
    --------
    >>> parse_duration("10m")
    600000
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(
            f'{text!r} is not a duration such as "10m", "6h" or "7d" (units: ms, s, m, h, d, w)'
        )
    return int(match[1]) * _UNIT_MS[match[2]]


def format_duration(ms: int) -> str:
    """The duration in the largest unit up to days that expresses it exactly.

    Raises
    ------
    ValueError
        If the duration is negative.

    Examples
    --------
    >>> format_duration(86_400_000), format_duration(5_400_000), format_duration(0)
    ('1d', '90m', '0s')
    """
    if ms < 0:
        raise ValueError(f"a duration of {ms} ms is negative")
    if ms == 0:
        return "0s"
    unit = next(unit for unit in _WRITTEN_UNITS if ms % _UNIT_MS[unit] == 0)
    return f"{ms // _UNIT_MS[unit]}{unit}"
