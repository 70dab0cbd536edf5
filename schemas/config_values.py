"""Readers of single values of the configuration: each gives the value as the settings want it, or
says what is wrong with it.

A reader raises ValueError with a message that goes on where the place in the file ended ("is 3, not
a string"); `InvalidValue` is for a place below the one that is read.
"""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from driftline.schemas.times import DAY_MS, format_duration, parse_duration

__all__ = [
    "InvalidValue",
    "bounded",
    "choice",
    "duration",
    "each",
    "flag",
    "integer",
    "only_known",
    "quoted",
    "share",
    "shown",
    "string",
    "table_of",
    "values_of",
]

# State and the time after the end of a log grow with the longest duration; ten years is beyond any
# real delay of a truth.
MAX_DURATION_MS = 3_660 * DAY_MS


class InvalidValue(Exception):
    """A value that cannot be taken, with its place below the table that is being read."""

    def __init__(self, where: str, message: str) -> None:
        self.where, self.message = where, message
        super().__init__(message)


def quoted(key: str) -> str:
    """A key as it stands in a TOML file."""
    return (
        key
        if re.fullmatch(r"[A-Za-z0-9_-]+", key)
        else '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )


def table_of(value: Any, where: str) -> dict[str, Any]:
    """A table; `where` is its place."""
    if not isinstance(value, dict):
        raise InvalidValue(where, f"is {shown(value)}, not a table")
    return value


def only_known(
    table: dict[str, Any],
    keys: tuple[str, ...],
    prefix: str,
    elsewhere: dict[str, str] | None = None,
) -> None:
    """Refuse a key that is not among `keys`.

    Parameters
    ----------
    prefix
        Place of the table, up to and with the dot before its keys.
    elsewhere
        Keys that are known in another table, and what is said of each.
    """
    for key in table:
        if key in keys:
            continue
        place = f"{prefix}{quoted(key)}"
        if elsewhere and key in elsewhere:
            raise InvalidValue(place, elsewhere[key])
        near = get_close_matches(key, keys, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(keys)}"
        raise InvalidValue(place, f"is not known; {hint}")


def values_of(
    table: dict[str, Any], keys: "dict[str, tuple[str, Callable[[Any], Any]]]", where: str
) -> dict[str, Any]:
    """What the table says of the keys: by attribute, read. Other keys are left alone."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in keys:
            continue
        attribute, read = keys[key]
        try:
            values[attribute] = read(value)
        except InvalidValue as refused:
            raise InvalidValue(f"{where}.{key}{refused.where}", refused.message) from refused
        except ValueError as error:
            raise InvalidValue(f"{where}.{key}", str(error)) from error
    return values


def shown(value: Any) -> str:
    """A value as a message shows it."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def string(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError(f"is {shown(value)}, not a string")
    return value


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"is {shown(value)}, not true or false")
    return value


def integer(least: int, most: int) -> Callable[[Any], int]:
    """Reader of a whole number from `least` to `most`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"{shown(value)} is not an integer from {least} to {most}")
        return value

    return read


def share(value: Any) -> float:
    """A number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"is {shown(value)}, not a number")
    if not 0 <= value <= 1:
        raise ValueError(f"is {value}, outside [0, 1]")
    return float(value)


def duration(value: Any) -> int:
    """Milliseconds of a duration such as "10m"."""
    return bounded(value, parse_duration(string(value)))


def bounded(value: Any, ms: int) -> int:
    """`ms`, which `value` says, if it is not beyond any use."""
    if ms > MAX_DURATION_MS:
        raise ValueError(f"is {shown(value)}, longer than {format_duration(MAX_DURATION_MS)}")
    return ms


def each(value: Any, read: Callable[[Any], Any], *, least: int = 0) -> tuple[Any, ...]:
    """Every element read, with its index in the message, and none twice."""
    if not isinstance(value, list):
        raise ValueError(f"is {shown(value)}, not a list")
    if len(value) < least:
        raise ValueError("is empty; one is needed")
    found: list[Any] = []
    for i, element in enumerate(value):
        try:
            result = read(element)
        except ValueError as error:
            raise InvalidValue(f"[{i}]", str(error)) from error
        if result in found:
            raise InvalidValue(
                f"[{i}]", f"{shown(element)} says the same as [{found.index(result)}]"
            )
        found.append(result)
    return tuple(found)


def choice(*choices: str) -> Callable[[Any], str]:
    """Reader of one word out of several."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"is {shown(value)}, not one of {', '.join(choices)}")
        return str(value)

    return read
