"""Filters of series and targets as conditions of SQL."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import asdict


def condition(wanted: Struct) -> tuple[str, dict[str, str]]:
    """A condition for the columns that have the names of the fields, and its parameters; fields
    that are None select all values.

    Examples
    --------
    >>> class Wanted(Struct):
    ...     segment: str | None = None
    ...     window: str | None = None
    >>> condition(Wanted(window="1d"))
    ('window = :window', {'window': '1d'})
    >>> condition(Wanted())
    ('TRUE', {})
    """
    values = {name: value for name, value in asdict(wanted).items() if value is not None}
    return " AND ".join(f"{name} = :{name}" for name in values) or "TRUE", values
