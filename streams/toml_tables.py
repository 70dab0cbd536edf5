"""Conversion of tables of `driftline.toml` to the structs of plug-ins, with errors that name the
place in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

_T = TypeVar("_T")


def convert_table(
    table: object,
    kind: type[_T] | Any,
    where: str,
    dec_hook: Callable[[type, Any], Any] | None = None,
) -> _T:
    """Convert a table of the configuration to a struct.

    Parameters
    ----------
    table
        The table as read from the file.
    kind
        A struct, or a union of tagged structs.
    where
        Path of the table in the file, such as "models.churn.rules[0]".
    dec_hook
        Converts a value to a type that msgspec does not know, or raises ValueError.

    Raises
    ------
    ValueError
        If a key is unknown or a value is wrong; the message begins with the path of the key.

    Examples
    --------
    >>> class Limits(msgspec.Struct, forbid_unknown_fields=True):
    ...     low: float
    >>> convert_table({"low": "a"}, Limits, "models.churn.limits")
    Traceback (most recent call last):
    ...
    ValueError: models.churn.limits.low: has to be a number, not a string
    """
    try:
        converted: _T = msgspec.convert(table, kind, dec_hook=dec_hook)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$")
        raise ValueError(f"{where}{place.rstrip('`')}: {_in_words(text)}") from error
    return converted


def _in_words(text: str) -> str:
    """The message of msgspec about a wrong value, in the words of TOML."""
    if match := _WRONG_TYPE.fullmatch(text):
        wanted, bound, got = match.groups()
        needed = f"has to be {_types(wanted)}{bound}"
        return needed if got is None else f"{needed}, not {_types(got)}"
    for pattern, words in _OTHERS:
        if match := pattern.fullmatch(text):
            return words.format(*match.groups())
    return f"{text[:1].lower()}{text[1:]}"


def _types(names: str) -> str:
    return " or ".join(_TOML.get(name, name) for name in names.split(" | ") if name != "null")


_WRONG_TYPE: Final = re.compile(r"Expected `([^`]+)`((?: [<>]=? [^,]+)?)(?:, got `([^`]+)`)?")
_OTHERS: Final = (
    (re.compile(r"Object contains unknown field `([^`]+)`"), 'the key "{}" is not known here'),
    (re.compile(r"Object missing required field `([^`]+)`"), 'the key "{}" is missing'),
    (
        re.compile(r"Invalid (?:enum )?value '(.*)'"),
        '"{}" is none of the words that are known here',
    ),
)
_TOML: Final = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "a table",
    "date": "a date",
    "time": "a time",
    "datetime": "a date and time",
}
