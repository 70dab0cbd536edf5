"""Event times of lines without decoding the rest of them.

They are those that the decoders of `driftline.schemas.decode` give, at a tenth of the cost: lines
in the plain form are read together, and texts of one form are parsed as columns. All others are
read one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.schemas.aliases import ALIASES, ConflictingFields, resolve_aliases
from driftline.schemas.envelope import read_event
from driftline.schemas.rejects import InvalidEvent
from driftline.schemas.times import (
    FIRST_EVENT_MS,
    HOUR_MS,
    MAX_TIME_MS,
    MINUTE_MS,
    SECOND_MS,
    parse_event_time,
    parse_time,
)

Ints = NDArray[np.int64]

NO_TIME: Final = -1
_SECOND_CHARACTERS: Final = 19  # 2026-01-05T10:00:00, what follows is a fraction and an offset
_OFFSET_CHARACTERS: Final = 6  # +05:30
_SEPARATORS: Final = {4: "-", 7: "-", 10: "T", 13: ":", 16: ":"}
_FRACTION_MS: Final = (100, 10, 1)


class _Fields(msgspec.Struct, gc=False):
    """Fields that may hold the time of an event, and the mark of an envelope."""

    timestamp: Any = None
    ts: Any = None
    event_time: Any = None
    timestamp_ms: Any = None
    specversion: Any = None


_decode = msgspec.json.Decoder(_Fields)
_TIMESTAMP, _ENVELOPE = attrgetter("timestamp"), attrgetter("specversion")


def event_times(values: Sequence[bytes], topic: str) -> Ints:
    """Event times of lines.

    Parameters
    ----------
    values
        Shape (N,), lines without their line feeds.
    topic
        PREDICTIONS or GROUND_TRUTH.

    Returns
    -------
    Ints
        Shape (N,), in ms since the epoch; NO_TIME for a line without a valid time. A line of which
        other fields are invalid has a time.

    Examples
    --------
    >>> lines = [b'{"ts": 1e9}', b'{"timestamp": "2001-09-09T01:46:40Z", "label": 1}', b"no"]
    >>> event_times(lines, "ground-truth").tolist()
    [1000000000000, 1000000000000, -1]
    """
    times = _sent_together(values)
    if times is None:
        return np.array([_time_of(value, topic) for value in values], np.int64)
    if set(map(type, times)) == {str} and (parsed := _parsed_together(times)) is not None:
        return parsed
    return np.array([_parsed(time) for time in times], np.int64)


def _sent_together(values: Sequence[bytes]) -> list[Any] | None:
    """What each line has as its time; None if a line is not in the plain form."""
    try:
        fields = _decode.decode_lines(b"\n".join(values))
    except (ValueError, RecursionError):
        return None
    if not len(values) == len(fields) == list(map(_ENVELOPE, fields)).count(None):
        return None
    times = list(map(_TIMESTAMP, fields))
    if None in times:
        times = [_first(line) for line in fields]
    return times


def _first(fields: _Fields) -> Any:
    """The time under the first of its names; a line with several that differ is rejected later."""
    for time in (fields.timestamp, fields.ts, fields.event_time, fields.timestamp_ms):
        if time is not None:
            return time
    return None


def _time_of(value: bytes, topic: str) -> int:
    """Event time of a line of any form."""
    try:
        event, _ = resolve_aliases(read_event(value, allow_non_finite=True), ALIASES[topic])
    except (InvalidEvent, ConflictingFields):
        return NO_TIME
    return _parsed(event.get("timestamp"))


def _parsed(time: Any) -> int:
    if isinstance(time, bool) or not isinstance(time, str | int | float):
        return NO_TIME
    try:
        return parse_event_time(time)
    except ValueError:
        return NO_TIME


def _parsed_together(texts: list[str]) -> Ints | None:
    """Times of texts in the forms 2026-01-05T10:00:00Z, with any fraction and offset; None if one
    has another form, or texts of one length have different offsets.
    """
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    times = np.empty(len(texts), np.int64)
    for length in np.unique(lengths).tolist():
        at = np.flatnonzero(lengths == length)
        same = texts if len(at) == len(texts) else [texts[i] for i in at.tolist()]
        joined = "".join(same)
        if not joined.isascii() or length <= _SECOND_CHARACTERS:
            return None
        parsed = _columns(np.frombuffer(joined.encode(), np.uint8).reshape(len(same), length))
        if parsed is None:
            return None
        times[at] = parsed
    return times


def _columns(letters: NDArray[np.uint8]) -> Ints | None:
    """Times of N texts of L characters, shape (N, L)."""
    end, offset_ms = _offset_of(letters)
    fraction = end - _SECOND_CHARACTERS - 1  # digits, after the point
    separators = _SEPARATORS | ({} if fraction < 0 else {_SECOND_CHARACTERS: "."})
    if end < _SECOND_CHARACTERS or fraction == 0:
        return None
    digits = letters[:, :end] - np.uint8(ord("0"))  # a character below "0" becomes a large number
    is_digit = np.ones(end, np.bool_)
    for i, separator in separators.items():
        is_digit[i] = False
        if not (letters[:, i] == ord(separator)).all():
            return None
    if not (digits[:, is_digit] <= 9).all():
        return None

    def number(first: int, characters: int) -> Ints:
        value = np.zeros(len(digits), np.int64)
        for i in range(first, first + characters):
            value = value * 10 + digits[:, i]
        return value

    hour, minute, second = (number(i, 2) for i in (11, 14, 17))
    if max(int(hour.max()) - 23, int(minute.max()) - 59, int(second.max()) - 59) > 0:
        return None
    day = (number(0, 4) * 100 + number(5, 2)) * 100 + number(8, 2)
    days, day_of = np.unique(day, return_inverse=True)
    day_ms = [_day_ms(day) for day in days.tolist()]
    if NO_TIME in day_ms:
        return None
    times = np.array(day_ms, np.int64)[day_of.reshape(-1)]
    times += hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS
    for i, part_ms in zip(range(_SECOND_CHARACTERS + 1, end), _FRACTION_MS, strict=False):
        times += digits[:, i] * np.int64(part_ms)
    times -= offset_ms
    return times if ((times >= FIRST_EVENT_MS) & (times <= MAX_TIME_MS)).all() else None


@lru_cache(maxsize=4096)
def _day_ms(day: int) -> int:
    """Start of the day that is written as the number 20260105; NO_TIME if there is no such day."""
    return _parsed(f"{day // 10_000:04d}-{day // 100 % 100:02d}-{day % 100:02d}T00:00:00Z")


def _offset_of(letters: NDArray[np.uint8]) -> tuple[int, int]:
    """Characters before the offset, and the offset in ms, if all texts have the same; 0 and 0
    otherwise.
    """
    length = letters.shape[1]
    if (letters[:, -1] == ord("Z")).all():
        return length - 1, 0
    start = length - _OFFSET_CHARACTERS
    if not (letters[:, start:] == letters[0, start:]).all():
        return 0, 0
    try:
        # The offset is what midnight is away from.
        offset = letters[0, start:].tobytes().decode()
        midnight = "2000-01-01T00:00:00"
        return start, parse_time(f"{midnight}Z") - parse_time(f"{midnight}{offset}")
    except ValueError:
        return 0, 0
