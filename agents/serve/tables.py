"""Answers as CSV: a table with a header, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import Final

from driftline.agents.serve.route import Table
from driftline.schemas.times import EpochMs, format_time

_FORMULA_STARTERS: Final = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def to_csv(table: Table) -> bytes:
    r"""A table as CSV, RFC 4180, UTF-8.

    A text that a spreadsheet would take for a formula begins with an apostrophe; numbers stay.

    Examples
    --------
    >>> to_csv((["name", "n"], [["=1+1", -1], [None, 0.5]]))
    b"name,n\r\n'=1+1,-1\r\n,0.5\r\n"
    """
    columns, rows = table
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, EpochMs):
        return format_time(value)
    if isinstance(value, int | float):
        return value
    text = str(value)
    is_formula = text.lstrip(" \n").startswith(_FORMULA_STARTERS)
    return f"'{text}" if is_formula else text
