"""The table of what becomes of the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from driftline.agents.cli.tables import print_table
from driftline.agents.input_rules import with_rules
from driftline.agents.terminal import inert

if TYPE_CHECKING:
    from driftline.agents.recorded.tables.column_mapping import ColumnUse

MOST_NAMES: Final = 12
_KINDS: Final = {
    "number": "numbers",
    "text": "texts",
    "boolean": "true or false",
    "time": "times, as texts",
    "empty": "no value",
}


def print_columns(uses: Sequence[ColumnUse]) -> None:
    """Print which column became which field, and why; nothing for a log that is not of a table."""
    for table in dict.fromkeys(use.table for use in uses):
        of_table = [use for use in uses if use.table == table]
        click.echo(inert(f"{with_rules(f'columns of {table}', 'Tables')}:"))
        print_table(["Field", "Column", "Why"], list(_rows(of_table)), empty="none")


def _rows(uses: Sequence[ColumnUse]) -> Iterator[tuple[str, str, str]]:
    """Fields one by one, then features of one kind together, then what is left out."""
    features: dict[str, list[str]] = {}
    for use in uses:
        if use.name == "features" and not use.why and use.field == f"features.{use.column}":
            features.setdefault(use.kind, []).append(use.column)
        elif use.field is not None and use.name != "features":
            yield use.field, use.column, use.why
    for kind, columns in features.items():
        more = len(columns) - MOST_NAMES
        names = ", ".join(columns[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        yield "features", names, _KINDS[kind]
    for use in uses:
        if use.name == "features" and (use.why or use.field != f"features.{use.column}"):
            yield str(use.field), use.column, f"{_KINDS[use.kind]}; {use.why}"
    for use in uses:
        if use.field is None:
            yield "left out", use.column, use.why
