"""The demo's progress: a live view on a terminal, otherwise a line every few seconds.

The data come from `board.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from driftline.agents.demo.board import Board, Tail
from driftline.schemas.results import WindowFigures
from driftline.schemas.times import format_date, parse_duration
from driftline.streams.decide.wording import metric_name

REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 5.0
ALERTS_SHOWN = 5
BARS = "▁▂▃▄▅▆▇█"
LEVEL_STYLES = {
    "insufficient_data": "dim",
    "none": "green",
    "mild": "yellow",
    "moderate": "dark_orange",
    "severe": "red",
}
SEVERITY_STYLES = {"info": "blue", "warning": "yellow", "error": "red", "critical": "bold red"}


class NewRecords(Protocol):
    """A source of new result records."""

    def records(self) -> Iterable[msgspec.Struct]:
        """Records since the last call."""


class View:
    """Shows the progress and the newest results of a run.

    Parameters
    ----------
    console
        Where to print: a live view if it is a terminal, otherwise plain lines.
    out
        The run's output folder, read while it is written.
    """

    def __init__(self, console: Console, out: Path) -> None:
        self._console = console
        self._board = Board()
        self._tail: NewRecords = Tail(out)
        self._live: Live | None = None
        self._step = ""
        self._done, self._total = 0, 0
        self._shown_at = 0.0

    @contextmanager
    def open(self) -> Iterator[View]:
        """Show until the `with` block ends; the last state stays on the screen."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(console=self._console, auto_refresh=False, transient=False) as live:
            self._live = live
            yield self
            self._show()
        self._live = None

    def step(self, text: str, total: int = 0) -> None:
        """Start a step of the demo, with `total` units of work if known."""
        self._step, self._done, self._total = text, 0, total
        if self._live is None:
            self._console.print(text, markup=False)
            self._shown_at = time.monotonic()
        else:
            self._show()

    def advance(self, done: int, total: int | None = None) -> None:
        """Set the units of work done, and their total if it has changed; refreshes the view at
        most every `REFRESH_SECONDS`, plain lines every `PLAIN_SECONDS`.
        """
        self._done = done
        self._total = self._total if total is None else total
        pause = REFRESH_SECONDS if self._live is not None else PLAIN_SECONDS
        if time.monotonic() - self._shown_at >= pause:
            self._show()

    def follow(self, tail: NewRecords) -> None:
        """Read results from `tail` instead of the output folder."""
        self._tail = tail

    def end_of_log(self, time_ms: int) -> None:
        """Set the end of the log; later windows are not shown."""
        self._board.end_ms = time_ms

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        for record in self._tail.records():
            self._board.take(record)
        if self._live is not None:
            self._live.update(self._screen(), refresh=True)
        else:
            self._console.print(
                plain_line(self._board, self._done, self._total), markup=False, soft_wrap=True
            )

    def _screen(self) -> RenderableType:
        parts: list[RenderableType] = [self._heading()]
        board = self._board
        if board.rungs:
            parts.append(
                Columns(
                    [
                        Group(_model_panel(board), _matrix_panel(board)),
                        _rung_panel(board),
                        drift_panel(board),
                    ],
                    padding=(0, 1),
                )
            )
            parts.append(_day_panel(board, self._console.width))
            parts.append(_alert_panel(board))
            parts.append(_recommendation_panel(board))
        return Group(*parts)

    def _heading(self) -> RenderableType:
        line = Table.grid(padding=(0, 2))
        line.add_row(
            Text("Driftline", style="bold cyan"),
            ProgressBar(
                total=self._total or None, completed=self._done, width=30, pulse=not self._total
            ),
            Text(f"{100 * self._done // self._total:3d} %" if self._total else "    "),
            Text(format_date(self._board.day_ms) if self._board.day_ms else "", style="bold"),
            Text(self._step, style="dim", overflow="ellipsis", no_wrap=True),
        )
        return line


def plain_line(board: Board, done: int, total: int) -> str:
    """The state of the run in one line, for logs and pipes."""
    parts = [f"  {100 * done // total:3d} %" if total else "      "]
    if board.day_ms:
        parts.append(format_date(board.day_ms))
    parts += [
        f"F1 {_figure(record, 'f1')} at {rung}" for rung, record in _rungs_by_delay(board)[-1:]
    ]
    if board.alerts:
        parts.append(f"{len(board.firing())} of {len(board.alerts)} alerts firing")
    return "  ".join(parts)


def _rungs_by_delay(board: Board) -> list[tuple[str, WindowFigures]]:
    return sorted(board.rungs.items(), key=lambda item: parse_duration(item[0]))


def _figure(record: WindowFigures, name: str) -> str:
    value = record.metrics.get(name)
    if value is None:
        return "-"
    interval = record.ci.get(name)
    return (
        f"{value:.3f}"
        if interval is None
        else f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(
            name.lstrip(">"), justify="right" if name.startswith(">") else "left", no_wrap=True
        )
    return table


def _model_panel(board: Board) -> RenderableType:
    table = _table("model", "version", "stage", ">threshold")
    for entry in board.entries.values():
        threshold = "-" if entry.threshold is None else f"{entry.threshold:.3f}"
        style = "green" if entry.stage == "production" else ""
        table.add_row(
            entry.model_name, entry.model_version, Text(entry.stage, style=style), threshold
        )
    return Panel(table, title="models", border_style="dim")


def _matrix_panel(board: Board) -> RenderableType:
    rung, record = _rungs_by_delay(board)[-1]
    table = _table(f"{record.window} at {rung}", *(f">as {label}" for label in record.labels))
    for label, row in zip(record.labels, record.matrix, strict=True):
        table.add_row(f"was {label}", *(f"{count:,}" for count in row))
    return Panel(table, title="confusion matrix", border_style="dim")


def _rung_panel(board: Board) -> RenderableType:
    table = _table("known within", ">F1", ">coverage")
    for rung, record in _rungs_by_delay(board):
        table.add_row(rung, _figure(record, "f1"), _share(record.label_coverage))
    _, record = _rungs_by_delay(board)[-1]
    return Panel(
        table,
        title=f"F1 by maturity, {record.window} to {format_date(record.window_end_ms)}",
        border_style="dim",
    )


def drift_panel(board: Board) -> RenderableType:
    """The newest drift result of each target."""
    table = _table("target", "method", ">effect", "level")
    for target, drift in sorted(board.drift.items()):
        effect = "-" if drift.effect is None else f"{drift.effect:.3f}"
        level = Text(
            "undecided" if drift.level == "insufficient_data" else drift.level,
            style=LEVEL_STYLES[drift.level],
        )
        table.add_row(target.removeprefix("feature:"), drift.method, effect, level)
    return Panel(table, title="drift from the reference", border_style="dim")


def _day_panel(board: Board, width: int) -> RenderableType:
    lines = Table.grid(padding=(0, 1))
    for name in ("f1", "roc_auc"):
        values = [record.metrics.get(name) for record in board.days]
        known = [value for value in values if value is not None][-max(10, width - 40) :]
        if known:
            lines.add_row(
                metric_name(name),
                Text(sparkline(known), style="cyan"),
                f"{known[-1]:.3f} on {format_date(board.days[-1].window_start_ms)}",
            )
    return Panel(
        lines, title=f"day by day, final ({len(board.days)} days)", border_style="dim", expand=False
    )


def sparkline(values: list[float]) -> str:
    """One character per value, scaled from the lowest to the highest.

    Examples
    --------
    >>> sparkline([0.0, 0.5, 1.0])
    '▁▄█'
    """
    low, high = min(values), max(values)
    step = (high - low) or 1.0
    return "".join(BARS[int((value - low) / step * (len(BARS) - 1))] for value in values)


def _alert_panel(board: Board) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for alert in list(board.alerts.values())[-ALERTS_SHOWN:]:
        style = "dim" if alert.status == "resolved" else SEVERITY_STYLES[alert.severity]
        table.add_row(
            format_date(alert.at_ms),
            Text(alert.severity, style=style),
            alert.status,
            Text(alert.summary, style=style),
        )
    firing = len(board.firing())
    title = f"alerts: {firing} firing, {len(board.alerts) - firing} resolved"
    return Panel(
        table if board.alerts else Text("none yet", style="dim"), title=title, border_style="dim"
    )


def _recommendation_panel(board: Board) -> RenderableType:
    records = [record for record in (board.recommendation, board.outcome) if record is not None]
    table = Table.grid(padding=(0, 1))
    for record in records:
        table.add_row(
            format_date(record.at_ms), Text(record.status, style="bold"), Text(record.reason)
        )
    return Panel(
        table if records else Text("none yet", style="dim"),
        title="recommended threshold",
        border_style="dim",
    )
