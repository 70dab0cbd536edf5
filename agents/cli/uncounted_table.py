"""The table of rows that do not count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.output import number
from driftline.agents.cli.tables import print_table

if TYPE_CHECKING:
    from driftline.agents.uncounted_rows import Uncounted


def print_uncounted(uncounted: Iterable[Uncounted]) -> None:
    """Print what was not counted, or that every row was."""
    rows = list(uncounted)
    if rows:
        click.echo("not counted, or not everywhere:")
    print_table(
        ["Topic", "Reason", ">Rows", "Example", "What to do"],
        [(row.topic, row.reason, number(row.rows), row.example, row.remedy) for row in rows],
        empty="every row was counted",
    )
