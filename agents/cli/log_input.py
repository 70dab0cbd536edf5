"""What `replay` and `check` share: options about a log or table, what becomes of its columns, and
the progress of reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from driftline.agents.terminal import console, inert

if TYPE_CHECKING:
    from driftline.agents.inprocess.run_summary import Progress
    from driftline.agents.recorded.tables.column_mapping import ColumnUse

F = TypeVar("F", bound=Callable[..., Any])

STEPS = 1_000  # of the progress bar


def partitions_option(command: F) -> F:
    """`--partitions N`."""
    return click.option(
        "--partitions",
        type=click.IntRange(min=1, max=1024),
        help="Partitions of the input topics; by default as exported, else 8.",
    )(command)


def column_options(command: F) -> F:
    """`--map`, `--features` and `--drop`."""
    command = click.option(
        "--drop",
        multiple=True,
        metavar="COLUMN",
        help="Column of a table to leave out; repeatable.",
    )(command)
    command = click.option(
        "--features",
        "features",
        multiple=True,
        metavar="COLUMN",
        help="Column of a table that is a feature, though it is called like a field; repeatable.",
    )(command)
    return click.option(
        "--map",
        "mapping",
        multiple=True,
        metavar="FIELD=COLUMN",
        help="Column of a table for a field, or a constant: FIELD==VALUE; repeatable.",
    )(command)


def parse_mapping(texts: Sequence[str]) -> dict[str, str]:
    """Column by field of the options `--map`."""
    return dict(map(_parse_pair, texts))


def _parse_pair(text: str) -> tuple[str, str]:
    field, equals, column = text.partition("=")
    if not (field and equals and column):
        raise click.BadParameter(
            f"{text!r} is neither FIELD=COLUMN nor FIELD==VALUE; an example is label=y_true",
            param_hint="--map",
        )
    return field, column


class Bar(NamedTuple):
    """A progress bar, which is taken away while something else is printed."""

    show: Callable[[Progress], None]
    hide: Callable[[], None]
    restore: Callable[[], None]


@contextmanager
def log_progress() -> Iterator[Bar | None]:
    """A progress bar on standard error; None unless that is a terminal."""
    target = console(stderr=True)
    if not target.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from driftline.schemas.times import format_time

    columns: list[Any] = [
        TextColumn("{task.description:<17}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[at]}"),
    ]
    with Progress(*columns, TimeElapsedColumn(), console=target, transient=True) as bar:
        task = bar.add_task("reading", total=STEPS, at="")
        closing_since = 0

        def show(now: Any) -> None:
            nonlocal closing_since
            if now.end_ms is None:
                done = now.bytes / max(1, now.total_bytes)
            else:
                closing_since = closing_since or now.event_ms
                done = (now.event_ms - closing_since) / max(1, now.end_ms - closing_since)
            name = "closing windows" if now.phase == "closing" else now.phase
            at = format_time(now.event_ms) if now.event_ms else ""
            bar.update(
                task,
                description=name,
                completed=STEPS * min(1.0, done),
                at=f"{now.lines:,} lines  {at}",
            )

        yield Bar(show, bar.stop, bar.start)


def print_columns_beside(bar: Bar | None, uses: Sequence[ColumnUse]) -> None:
    from driftline.agents.cli.column_table import print_columns

    if bar is not None:
        bar.hide()
    print_columns(uses)
    if bar is not None:
        bar.restore()


def print_notes(notes: Sequence[str], bar: Bar | None = None) -> None:
    """Print sentences to standard error."""
    if bar is not None and notes:
        bar.hide()
    for note in notes:
        click.echo(inert(f"note: {note}"), err=True)
    if bar is not None and notes:
        bar.restore()
