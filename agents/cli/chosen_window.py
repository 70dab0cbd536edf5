"""Options that choose one window of each series, and the records of these windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from driftline.agents.cli.figure_options import lane_option, segment_option
from driftline.agents.cli.output import WrongInput, minute, time_option
from driftline.agents.cli.performance_trends import one_rung, one_window
from driftline.agents.read_model.series_order import rung_order

if TYPE_CHECKING:
    from driftline.agents.read_model.figure_reads import FigureReads, Series
    from driftline.schemas.results import WindowFigures

F = TypeVar("F", bound=Callable[..., Any])
_NAMED = 5


def window_options(command: F) -> F:
    """`--segment`, `--lane`, and those of `moment_options`."""
    return segment_option(lane_option(moment_options(command)))


def moment_options(command: F) -> F:
    """`--window`, `--from` and `--maturity`."""
    for option in (
        click.option(
            "--maturity",
            default="last",
            show_default=True,
            help='A rung of the maturity ladder, or "last": the last one emitted of the window.',
        ),
        click.option(
            "--from",
            "start",
            metavar="TIME",
            help="Begin of the window, in RFC 3339; by default the newest one that data cover.",
        ),
        click.option("--window", help="The window, for example 1d or 7d/1d."),
    ):
        command = option(command)
    return command


def chosen_windows(
    figures: FigureReads,
    *,
    model_name: str | None,
    model_version: str | None,
    segment: str,
    lane: str,
    window: str | None,
    start: str | None,
    maturity: str,
) -> list[WindowFigures]:
    """A record for each model version: of the window that starts then, else the newest
    one that data cover, at a rung, else the last one that was emitted.

    Parameters
    ----------
    window
        None for the largest regular one of at most a day, or the smallest one.

    Raises
    ------
    WrongInput
        If there is no such window, rung or start; the message lists what there is.
    """
    from driftline.agents.read_model.figure_reads import SeriesFilter

    wanted = SeriesFilter(
        model_name=model_name, model_version=model_version, segment=segment, lane=lane
    )
    series = figures.series(wanted)
    if not series:
        return []
    chosen = _of_window(series, window)
    if maturity != "last":
        chosen = one_rung(chosen, maturity)
    by_name: dict[tuple[str, str], list[Series]] = {}
    for each in chosen:
        by_name.setdefault((each.model_name, each.model_version), []).append(each)
    found = [
        record
        for rungs in by_name.values()
        if (record := _record(figures, rungs, start)) is not None
    ]
    if start is not None and not found:
        starts = sorted({at for rungs in by_name.values() for at in figures.starts(rungs[0])})
        raise WrongInput(
            f"no window of {next(iter(by_name.values()))[0].window} starts at {start}; "
            + (f"the newest ones start at {_listed(starts)}" if starts else "there is none")
        )
    return found


def _of_window(series: Sequence[Series], window: str | None) -> list[Series]:
    from driftline.agents.read_model.figure_reads import window_of_a_day

    if window is not None:
        return one_window(series, window)
    versions: dict[tuple[str, str], list[Series]] = {}
    for each in series:
        versions.setdefault((each.model_name, each.model_version), []).append(each)
    return [
        each
        for of_version in versions.values()
        for usual in [window_of_a_day(of_version)]
        for each in of_version
        if each.window == usual
    ]


def _record(
    figures: FigureReads, rungs: Sequence[Series], start: str | None
) -> WindowFigures | None:
    """The window that starts then, else the newest one, at the last rung that has it."""
    from driftline.agents.read_model.figure_reads import only

    if start is None:
        records = [record for each in rungs for record in figures.newest_whole(only(each))]
        newest = max((record.window_start_ms for record in records), default=None)
        records = [record for record in records if record.window_start_ms == newest]
    else:
        start_ms = time_option("--from", start)
        at = (figures.at(each, start_ms) for each in rungs)
        records = [record for record in at if record is not None and not record.provisional]
    return max(records, key=lambda record: rung_order(record.maturity), default=None)


def _listed(starts: Sequence[int]) -> str:
    return ", ".join(minute(at) for at in starts[-_NAMED:])
