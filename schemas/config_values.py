"""Readers of single configuration values: each converts a value for the settings, or raises.

The message of a reader's ValueError continues the key's path in the file ("is 3, not a string");
`InvalidValue` names a place below that key.
"""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import msgspec

from driftline.schemas.times import DAY_MS, format_duration, parse_duration

__all__ = [
    "InvalidValue",
    "check_duration",
    "check_keys",
    "describe",
    "integer_between",
    "one_of",
    "read_duration",
    "read_flag",
    "read_list",
    "read_share",
    "read_string",
    "read_table",
    "read_values",
    "toml_key",
]

# State, and the event time that a replay runs on after the end of a log, grow with the longest
# duration. Ten years is beyond any real delay of a truth.
MAX_DURATION_MS = 3_660 * DAY_MS


class InvalidValue(Exception):
    """An invalid value, with its place relative to the table that is being read."""

    def __init__(self, where: str, message: str) -> None:
        self.where, self.message = where, message
        super().__init__(message)


def toml_key(key: str) -> str:
    """A key as written in a TOML file."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_string(key)


def toml_string(text: str) -> str:
    """A string as written in a TOML file.

    Examples
    --------
    >>> print(toml_string('say "no"'))
    "say \\"no\\""
    """
    # As in JSON, except that TOML has DEL escaped too.
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


def read_table(value: Any, where: str) -> dict[str, Any]:
    """The table at `where`."""
    if not isinstance(value, dict):
        raise InvalidValue(where, f"is {describe(value)}, not a table")
    return value


def check_keys(
    table: dict[str, Any],
    keys: tuple[str, ...],
    prefix: str,
    elsewhere: dict[str, str] | None = None,
) -> None:
    """Raise `InvalidValue` for a key that is not among `keys`.

    Parameters
    ----------
    prefix
        Path of the table, including the dot before its keys.
    elsewhere
        Keys that belong in another table: key -> message.
    """
    for key in table:
        if key in keys:
            continue
        place = f"{prefix}{toml_key(key)}"
        if elsewhere and key in elsewhere:
            raise InvalidValue(place, elsewhere[key])
        near = get_close_matches(key, keys, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(keys)}"
        raise InvalidValue(place, f"is not known; {hint}")


def read_values(
    table: dict[str, Any], keys: "dict[str, tuple[str, Callable[[Any], Any]]]", where: str
) -> dict[str, Any]:
    """Converted values of the table by attribute name; keys outside `keys` are ignored."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in keys:
            continue
        attribute, read = keys[key]
        try:
            values[attribute] = read(value)
        except InvalidValue as error:
            raise InvalidValue(f"{where}.{key}{error.where}", error.message) from error
        except ValueError as error:
            raise InvalidValue(f"{where}.{key}", str(error)) from error
    return values


def describe(value: Any) -> str:
    """A value in words for a message."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def read_string(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError(f"is {describe(value)}, not a string")
    return value


def read_flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"is {describe(value)}, not true or false")
    return value


def integer_between(least: int, most: int) -> Callable[[Any], int]:
    """Reader of an integer from `least` to `most`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"{describe(value)} is not an integer from {least} to {most}")
        return value

    return read


def read_number(value: Any) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"is {describe(value)}, not a number")
    return float(value)


def read_share(value: Any) -> float:
    """A number in [0, 1]."""
    read_number(value)
    if not 0 <= value <= 1:
        raise ValueError(f"is {value}, outside [0, 1]")
    return float(value)


def read_duration(value: Any) -> int:
    """Milliseconds of a duration such as "10m"."""
    return check_duration(value, parse_duration(read_string(value)))


def check_duration(value: Any, ms: int) -> int:
    """`ms`, the duration that `value` means, unless it is longer than ten years."""
    if ms > MAX_DURATION_MS:
        raise ValueError(f"is {describe(value)}, longer than {format_duration(MAX_DURATION_MS)}")
    return ms


def read_list(value: Any, read: Callable[[Any], Any], *, least: int = 0) -> tuple[Any, ...]:
    """The converted elements of a list, which must differ; messages name the index."""
    if not isinstance(value, list):
        raise ValueError(f"is {describe(value)}, not a list")
    if not value and least:
        raise ValueError("is empty; at least one element is needed")
    if len(value) < least:
        raise ValueError(f"has {len(value)} of at least {least} elements")
    elements: list[Any] = []
    for i, element in enumerate(value):
        try:
            result = read(element)
        except ValueError as error:
            raise InvalidValue(f"[{i}]", str(error)) from error
        if result in elements:
            raise InvalidValue(f"[{i}]", f"{describe(element)} repeats [{elements.index(result)}]")
        elements.append(result)
    return tuple(elements)


def one_of(*choices: str) -> Callable[[Any], str]:
    """Reader of one of several strings."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"is {describe(value)}, not one of {', '.join(choices)}")
        return str(value)

    return read
