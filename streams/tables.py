"""Plain tables of `driftline.toml` made into the structs of plug-ins, with errors that name the place in the file."""

from __future__ import annotations

from typing import Any, TypeVar

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
    ValueError: models.churn.limits.low: expected `float`, got `str`
    """
    try:
        converted: _T = msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$")
        raise ValueError(f"{where}{place.rstrip('`')}: {text[:1].lower()}{text[1:]}") from error
    return converted
