"""Tables that fit the width of the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from driftline.agents.terminal import console, inert

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.text import Text

    from driftline.schemas.check_result import CheckResult

# Columns whose cells are wrapped between words where the terminal is narrow.
WRAPPED = ("What", "What to do", "Example", "Why", "Resolution", "Change", "Reference")
WRAPPED_WIDTH = 24  # least width of such a column: below it a sentence has one word per line
CELL_BORDER = 3  # padding and separator per column
# Styles of cells that hold just this word.
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


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    empty: str,
    optional: Sequence[str] = (),
) -> None:
    """Print a table that fits the width of the terminal, or one sentence if there are no rows.

    Where the width does not suffice, cells of the columns `WRAPPED` are wrapped between words; then
    optional columns are left out, and a line below the table names them; if the rest is still too
    wide, each row becomes a paragraph of "Heading: cell" with all columns.

    Parameters
    ----------
    columns
        Headings; a leading ">" aligns the column to the right.
    rows
        Cells as text, printed without markup and without control characters.
    empty
        Printed if there are no rows.
    optional
        Headings of columns that may be left out, in the order in which they go.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows, target = [list(map(inert, row)) for row in rows], console()
    columns = list(map(inert, columns))
    if not rows:
        target.print(Text(empty))
        return
    kept = list(range(len(columns)))
    left_out: list[str] = []
    widths = fit_columns(columns, rows, target.width)
    for name in optional:
        if widths is not None:
            break
        left_out.append(name)
        kept = [index for index in kept if _heading(columns[index]) != name]
        widths = fit_columns(
            [columns[index] for index in kept],
            [[row[index] for index in kept] for row in rows],
            target.width,
        )
    if widths is None:
        for row in rows:
            for line in _paragraph(columns, row, target):
                target.print(line)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, width in zip(kept, widths, strict=True):
        justify: JustifyMethod = "right" if columns[index].startswith(">") else "left"
        table.add_column(Text(_heading(columns[index])), justify=justify, width=width)
    for row in rows:
        table.add_row(*(Text(row[index], style=COLOURS.get(row[index], "")) for index in kept))
    target.print(table)
    if left_out:
        note = f"left out: {', '.join(left_out)}; a wider terminal or --json shows them"
        target.print(Text(note))


def print_findings(findings: Iterable[CheckResult], *, empty: str) -> None:
    """Print the findings of `doctor` or `check` as a table."""
    marks = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
    print_table(
        ["Level", "Check", "What", "What to do"],
        [(marks[each.level], each.check, each.message, each.remedy) for each in findings],
        empty=empty,
    )


def fit_columns(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> list[int] | None:
    """Widths at which no cell is cut and no word is broken.

    Parameters
    ----------
    columns, rows
        As for `print_table`.
    width
        Of the terminal, in characters.

    Returns
    -------
    list[int] or None
        A width per column; None if the table does not fit.
    """
    from rich.cells import cell_len

    full, least = [], []
    for name, cells in zip(columns, zip(*rows, strict=True), strict=True):
        texts = [_heading(name), *cells]
        full.append(max(cell_len(line) for text in texts for line in text.split("\n")))
        word = max(cell_len(word) for text in texts for word in text.split() or [""])
        is_wrapped = _heading(name) in WRAPPED
        least.append(max(word, min(full[-1], WRAPPED_WIDTH)) if is_wrapped else full[-1])
    spare = width - sum(least) - CELL_BORDER * len(columns) + 1
    if spare < 0:
        return None
    widths = list(least)
    # The columns that need least first: what they do not use goes to the others.
    by_need = sorted(range(len(columns)), key=lambda index: full[index] - least[index])
    for position, index in enumerate(by_need):
        extra = min(full[index] - least[index], spare // (len(columns) - position))
        widths[index] += extra
        spare -= extra
    return widths


def _paragraph(columns: Sequence[str], row: Sequence[str], target: Console) -> Iterator[Text]:
    """Lines of one row without a table: short fields packed, each sentence on lines of its own."""
    from rich.text import Text

    gap, line = "  ", Text()
    indent = ""  # of all lines but the first
    for name, cell in zip(map(_heading, columns), row, strict=True):
        if cell in ("", "-"):
            continue
        if name in WRAPPED or "\n" in cell:
            if line:
                yield line
            line, first, hanging = Text(), indent, indent + gap
            for text in f"{name}: {cell}".split("\n"):
                yield Text(wrap(text, target.width, first, hanging))
                first = hanging
        else:
            field = Text.assemble(f"{name}: ", (cell, COLOURS.get(cell, "")))
            if line and line.cell_len + len(gap) + field.cell_len > target.width:
                yield line
                line = Text()
            line = Text.assemble(line, gap, field) if line else Text.assemble(indent, field)
        indent = gap
    if line:
        yield line


def _heading(column: str) -> str:
    return column.lstrip(">")


def print_wrapped(text: str) -> None:
    """Print a sentence, wrapped to the width of the terminal."""
    click.echo(wrap(text, console().width, hanging_indent="  "))


def wrap(text: str, width: int, indent: str = "", hanging_indent: str = "") -> str:
    """Break a sentence between words, without control characters.

    Parameters
    ----------
    indent, hanging_indent
        Of the first line and of the others.

    Examples
    --------
    >>> print(wrap("F1 was 0.5 in May, by far the best", 20, hanging_indent="  "))
    F1 was 0.5 in May,
      by far the best
    """
    return textwrap.fill(
        inert(text),
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=hanging_indent,
        break_on_hyphens=False,
    )
