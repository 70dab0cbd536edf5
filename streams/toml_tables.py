"""Plain tables of `driftline.toml` made into the structs of plug-ins, with errors that name the
place in the file.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec

_T = TypeVar("_T")


def convert_table(table: object, kind: type[_T] | Any, where: str) -> _T:
    """The struct that a table of the configuration means.

    Parameters
    ----------
    table
        As read from the file.
    kind
        A struct, or a union of tagged structs.
    where
        Path of the table in the file, such as "models.churn.rules[0]".

    Raises
    ------
    ValueError
        If a key is unknown or a value is wrong; the text begins with the path of that very key.

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
        converted: _T = msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$")
        raise ValueError(f"{where}{place.rstrip('`')}: {_in_words(text)}") from error
    return converted


def _in_words(text: str) -> str:
    """What msgspec says of a wrong value, in the words of TOML."""
    if found := _WRONG_TYPE.fullmatch(text):
        wanted, bound, got = found.groups()
        said = f"has to be {_types(wanted)}{bound}"
        return said if got is None else f"{said}, not {_types(got)}"
    for pattern, said in _OTHERS:
        if found := pattern.fullmatch(text):
            return said.format(*found.groups())
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
