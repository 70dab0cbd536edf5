"""How verbs print: tables for people, one JSON document for machines, and the options that all
reading verbs share.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])
PIPE_WIDTH = 400
# Words that stand alone in a cell and should be seen first.
COLOURS = {
    "critical": "bold red",
    "error": "red",
    "warning": "yellow",
    "firing": "bold",
    "resolved": "green",
    "rejected": "yellow",
    "production": "green",
    "ok": "green",
    "note": "yellow",
    "PROBLEM": "bold red",
}


def out_option(command: F) -> F:
    """`--out DIR`: the output folder of a run."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("driftline-out"),
        envvar="DRIFTLINE_OUT",
        show_default=True,
        show_envvar=True,
        help="Output folder of the run.",
    )(command)


def json_option(command: F) -> F:
    """`--json`: one JSON document on standard output instead of a table."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document, for machines."
    )(command)


def model_options(command: F) -> F:
    """`--model` and `--version`."""
    command = click.option(
        "--version", "model_version", metavar="VERSION", help="Only this version."
    )(command)
    return click.option("--model", "model_name", metavar="MODEL", help="Only this model.")(command)


def example(*lines: str) -> str:
    """The epilog of a help text, as written."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


# Columns whose cells may be broken into lines where the terminal is narrow.
SENTENCE_WIDTH = 24  # at least; below that a sentence is a column of single words
SENTENCES = ("What", "What to do", "Change", "Why", "Reference")


class WrongInput(click.ClickException):
    """What was handed in cannot be used; the message says what to do. Ends with code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"driftline: {self.format_message()}", file=file or sys.stderr)


def console(*, stderr: bool = False) -> Console:
    """A console that follows NO_COLOR, and does not squeeze tables where nobody looks at a
    terminal.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, emoji=False)


def print_json(document: Any) -> None:
    """One JSON document, indented; structs as on their topic, absent figures as null."""
    import msgspec

    sys.stdout.write(
        msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2).decode()
        + "\n"
    )


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table, or one sentence where there is nothing to show.

    Parameters
    ----------
    columns
        Headings; a leading ">" sets the column to the right.
    rows
        Cells as text; they are shown as they are, without markup. On a terminal that is too narrow
        for the columns, a paragraph each.
    empty
        What is said where there is no row.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        side: Literal["left", "right"] = "right" if name.startswith(">") else "left"
        table.add_column(
            name.lstrip(">"),
            justify=side,
            no_wrap=side == "left" and name not in SENTENCES,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    target = console()
    if table.row_count and _least_width(columns, rows) > target.width:
        for row in rows:
            lines = (
                f"{name.lstrip('>')}: {cell}"
                for name, cell in zip(columns, row, strict=True)
                if cell
            )
            target.print(Text("\n  ".join(line.replace("\n", " ") for line in lines)))
    elif table.row_count:
        target.print(table)
    else:
        target.print(Text(empty))


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Characters that a table needs where only sentences may be broken."""
    widths = [len(name.lstrip(">")) for name in columns]
    for row in rows:
        longest = [max(map(len, cell.split("\n"))) for cell in row]
        widths = [
            max(width, min(length, SENTENCE_WIDTH) if name in SENTENCES else length)
            for name, width, length in zip(columns, widths, longest, strict=True)
        ]
    return sum(widths) + 3 * len(columns)


def number(value: float | int | None) -> str:
    """A figure for a table cell: whole numbers with separators, shares to three decimals; "-" where
    there is none.

    Examples
    --------
    >>> number(12345), number(0.83291), number(6543.2), number(None)
    ('12,345', '0.833', '6,543', '-')
    """
    if value is None:
        return "-"
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:.3f}"
        if abs(value) < 100
        else f"{value:,.0f}"
    )


def share(value: float | None) -> str:
    """A share in percent; "-" where there is none.

    Examples
    --------
    >>> share(0.8743)
    '87.4 %'
    """
    return "-" if value is None else f"{100 * value:.1f} %"


def minute(time: str | None) -> str:
    """A topic's time for a table cell, to the minute.

    Examples
    --------
    >>> minute("2026-11-21T10:00:00Z")
    '2026-11-21 10:00'
    """
    return "-" if time is None else time[:16].replace("T", " ")
