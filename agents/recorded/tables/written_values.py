"""What a text of a table is: a missing value, a number, true or false, a time, or just a text.

Whether a *column* is numbers is decided over all its values, by `ColumnFacts`: one ZIP code with a
leading zero makes all of them texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from math import inf, isfinite, isnan
from typing import Any, Final

from msgspec import Raw, Struct, field

from driftline.schemas.labels import MISSING_LABELS
from driftline.schemas.times import (
    DAY_MS,
    FIRST_EVENT_MS,
    LAST_PLAIN_MS,
    MAX_TIME_MS,
    format_time,
    parse_event_time,
)

MISSING: Final = frozenset(
    {*MISSING_LABELS, "N/A", "n/a", "#N/A", "<NA>", "NULL", "NaT", "-nan", "-NaN"}
)
"""Texts that stand for a missing number or feature, as blanks alone do."""
BOOLEANS: Final = {"true": True, "false": False}
MOST_DISTINCT: Final = 64

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_EXPONENT: Final = r"(?:[eE][-+]?[0-9]+)?"
_BLANKS: Final = r"[ \t\u00a0]*"
# "007" is a name, not a number.
_NUMBER: Final = re.compile(
    rf"{_BLANKS}[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+){_EXPONENT}{_BLANKS}"
)
_COMMA_NUMBER: Final = re.compile(rf"{_BLANKS}[-+]?(0|[1-9][0-9]*),([0-9]+){_EXPONENT}{_BLANKS}")
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9][0-9.,]*")
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_INFINITE: Final = re.compile(rf"{_BLANKS}[-+]?inf(?:inity)?{_BLANKS}", re.IGNORECASE)
# JSON has no infinity; a number beyond a 64-bit float is decoded as one, and counted as such.
_BEYOND: Final = {inf: Raw(b"1e999"), -inf: Raw(b"-1e999")}
_GROUP: Final = 3


def is_missing(text: str) -> bool:
    """Whether a text stands for a missing value."""
    return text in MISSING or text.isspace()


class ColumnFacts(Struct):
    """What the values of a column are, all of them together.

    Attributes
    ----------
    present
        Number of values that are not missing.
    low, high
        Least and greatest number.
    inside
        Number of values in [0, 1], with the tolerance of scores.
    texts
        Distinct values as text, None once there are more than MOST_DISTINCT.
    odd
        A value that is no number, the first that was seen; None without one.
    comma
        A number with a comma, the first that was seen; None without one.
    is_whole, all_booleans, any_point, is_comma_sure
        Whether every number is whole, every value is true or false, a number has a point, and a
        comma can only be a decimal comma.
    """

    present: int = 0
    low: float = inf
    high: float = -inf
    inside: int = 0
    texts: set[str] | None = field(default_factory=set)
    odd: str | None = None
    comma: str | None = None
    is_whole: bool = True
    all_booleans: bool = True
    any_point: bool = False
    is_comma_sure: bool = False

    @property
    def is_number(self) -> bool:
        """Whether every value is a number, with points or with commas, of which one at least."""
        return self.present > 0 and self.odd is None and not (self.comma and self.any_point)

    @property
    def is_boolean(self) -> bool:
        """Whether every value is true or false, in any case."""
        return self.present > 0 and self.all_booleans

    @property
    def has_points(self) -> bool:
        """Whether the values are numbers with decimal points."""
        return self.is_number and self.any_point

    @property
    def has_commas(self) -> bool:
        """Whether the values are numbers whose commas can only be decimal commas."""
        return self.is_number and self.is_comma_sure

    @property
    def unclear(self) -> str | None:
        """A number whose comma could be that of decimals or of thousands, if no other value of the
        column tells.
        """
        return self.comma if self.is_number and not self.is_comma_sure else None

    def why_text(self) -> str:
        """Why the column is text, with the value that decided."""
        odd = self.odd
        if odd is None:
            return f"{_shown(self.comma or '')} has a comma, others have points"
        if _LEADING_ZERO.fullmatch(odd.strip()):
            return f"{_shown(odd)} begins with 0"
        return f"{_shown(odd)} is no number"

    def add_texts(self, values: Iterable[str | None], *, ranges: bool) -> None:
        """Add values as written.

        Parameters
        ----------
        values
            N values; None is missing.
        ranges
            Whether range and distinct values are needed too.
        """
        if not ranges:
            self._add_kinds({value for value in values if value})
            return
        present = [value for value in values if value is not None and not is_missing(value)]
        distinct = set(present)
        self._add_kinds(distinct)
        self.present += len(present) - len(distinct)
        if self.texts is not None:
            self.texts |= distinct
            if len(self.texts) > MOST_DISTINCT:
                self.texts = None
        if self.odd is None:
            self._add_range(numbers_of(present, comma=self.comma is not None))

    def add_numbers(self, values: Iterable[float | int | None]) -> None:
        """Add numbers; None and NaN are missing."""
        present = [value for value in values if value is not None and value == value]
        self.present += len(present)
        self.all_booleans = False
        self._add_range(present)
        if self.texts is not None:
            self.texts |= set(map(str, present))
            if len(self.texts) > MOST_DISTINCT:
                self.texts = None

    def _add_range(self, numbers: Sequence[Any]) -> None:
        numbers = [number for number in numbers if isinstance(number, int | float)]
        if numbers:
            self.low, self.high = min(self.low, *numbers), max(self.high, *numbers)
            self.is_whole = self.is_whole and all(
                isfinite(number) and number == int(number) for number in numbers
            )
            self.inside += sum(-1e-6 <= number <= 1 + 1e-6 for number in numbers)

    def _add_kinds(self, distinct: set[str]) -> None:
        """Add distinct values of a batch; each counts once."""
        distinct = {value for value in distinct if not is_missing(value)}
        self.present += len(distinct)
        if self.all_booleans and distinct:
            self.all_booleans = all(value.strip().lower() in BOOLEANS for value in distinct)
        if self.odd is not None:
            return
        if all(map(_NUMBER.fullmatch, distinct)):
            self.any_point = self.any_point or "." in "".join(distinct)
            return
        # The least of the odd values, so that the message does not depend on the order of a set.
        odd = None
        for value in sorted(distinct):
            if _NUMBER.fullmatch(value):
                self.any_point = self.any_point or "." in value
            elif comma := _COMMA_NUMBER.fullmatch(value):
                self.comma = self.comma or value.strip()
                whole, decimals = comma[1], comma[2]
                self.is_comma_sure = self.is_comma_sure or (
                    whole == "0" or len(whole) > _GROUP or len(decimals) != _GROUP
                )
            elif not _INFINITE.fullmatch(value):
                odd = value if odd is None or _LEADING_ZERO.fullmatch(value.strip()) else odd
        self.odd = odd


def number_of(text: str, *, comma: bool = False) -> Any:
    """The number that a text is; the text itself if it is none.

    Parameters
    ----------
    comma
        Whether a comma is a decimal comma.

    Examples
    --------
    >>> [number_of(text) for text in ("31", " 0.5", "-1e3", "007", "0,5", "12abc")]
    [31, 0.5, -1000.0, '007', '0,5', '12abc']
    >>> number_of("0,5", comma=True)
    0.5
    """
    if comma and _COMMA_NUMBER.fullmatch(text):
        text = text.replace(",", ".")
    if _NUMBER.fullmatch(text):
        return int(text) if _INTEGER.fullmatch(text) else beyond_float(float(text))
    if _INFINITE.fullmatch(text):
        return beyond_float(float(text))
    return text


def numbers_of(values: Sequence[str | None], *, comma: bool) -> list[Any]:
    """Numbers of a column of which every value is one or missing; None where it is missing.

    Parameters
    ----------
    values
        N values as written.
    comma
        Whether the commas are decimal commas.
    """
    if comma:
        values = [value and value.replace(",", ".") for value in values]
    numbers: list[Any]
    try:
        numbers = list(map(float, values))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        missing = {value for value in set(values) if value is None or is_missing(value)}
        numbers = [None if value in missing else float(value) for value in values]  # type: ignore[arg-type]
    if not all(map(isfinite, filter(None, numbers))):
        return [None if number is None else beyond_float(number) for number in numbers]
    return numbers


def beyond_float(number: float) -> Any:
    """A float as JSON can hold it: NaN is missing, an infinity a number that is too large."""
    if isfinite(number):
        return number
    return None if isnan(number) else _BEYOND[number]


def time_of(text: str) -> Any:
    """The time of an event, as `event_time`, if a text is one; else the text, which decoding
    rejects with a precise message.

    Examples
    --------
    >>> time_of("2026-01-05 00:00:01.2345"), time_of("1767571200"), time_of("soon")
    (1767571201234, 1767571200000, 'soon')
    >>> time_of("9999-12-31")  # as an integer it would be microseconds of 1978
    '9999-12-31T00:00:00Z'
    """
    try:
        return event_time(parse_event_time(text))
    except ValueError:
        return text


def json_time(moment: date) -> Any:
    """A date or time as an event has it; UTC if it has no offset."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001  made UTC below
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return event_time(since.days * DAY_MS + since.seconds * 1_000 + since.microseconds // 1_000)


def event_time(ms: int) -> int | str:
    """Milliseconds since the epoch as the time of an event: a text where an integer would have
    another unit, or be a date. Decoding rejects times outside the range of events.

    Examples
    --------
    >>> event_time(1_767_571_200_000), event_time(1_767_571_200), event_time(-1)
    (1767571200000, '1970-01-21T10:59:31.200Z', -1)
    """
    if FIRST_EVENT_MS <= ms <= LAST_PLAIN_MS or ms < 0:
        return ms
    return format_time(ms) if ms <= MAX_TIME_MS else f"{ms} ms"


def _shown(text: str) -> str:
    short = text if len(text) <= 24 else f"{text[:21]}..."
    return repr(short)
