"""`driftline drift`: the newest tests of each target, and how they went over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.figure_options import segment_option
from driftline.agents.cli.output import (
    duration_option,
    example,
    json_option,
    minute,
    model_options,
    number,
)
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import print_table
from driftline.agents.read_model.drift_order import LEVELS, by_size
from driftline.agents.terminal import console, inert, print_json

if TYPE_CHECKING:
    from driftline.schemas.results import Drift

_NOTHING: Final = -1
_LEAST_MARKS: Final = 20
_MOST_MARKS: Final = 120
_OTHER_COLUMNS: Final = 35
_DRIFTED: Final = LEVELS.index("mild")
_MARKS: Final = dict(enumerate(" ?·░▒█", start=_NOTHING))


@click.group()
def drift() -> None:
    """Show drift of features, scores and predictions."""


def drift_options(command: click.decorators.FC) -> click.decorators.FC:
    """`--segment`, `--target` and `--window`."""
    for option in (
        click.option("--window", help="Only this detection window, for example 7d/1d."),
        click.option("--target", help='Only this target, for example "feature:amount" or "score".'),
        segment_option,
    ):
        command = option(command)
    return command


@drift.command(
    "report",
    epilog=example(
        "driftline drift report",
        "driftline drift report --model churn --target feature:monthly_spend --json",
        "driftline drift report --broker broker:9092",
    ),
)
@model_options
@drift_options
@source_options
@json_option
def report(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    segment: str,
    target: str | None,
    window: str | None,
    as_json: bool,
) -> None:
    """Show the newest test of each target against the reference in force, the largest shift first.
    Windows that the log covers only in part are passed over.

    The p-value is adjusted for all tests of the window. A level needs a shift that is both
    significant and large; `docs/rules.md` says how large.
    """
    from driftline.agents.read_model.drift_reads import DriftFilter

    wanted = DriftFilter(
        model_name=model_name,
        model_version=model_version,
        segment=segment,
        target=target,
        window=window,
    )
    with read_results(out, broker, config) as reads:
        results = sorted(reads.drift.newest(wanted), key=by_size)
    if as_json:
        print_json(results)
        return
    print_table(
        ["Model", "Target", "Method", "Window", "From", "Level", ">Effect", ">p", ">n", "Why"],
        [
            (
                f"{result.model_name} {result.model_version}",
                result.target,
                result.method,
                result.window,
                minute(result.window_start_ms),
                result.level,
                number(result.effect),
                _probability(result),
                f"{number(result.n_current)} vs {number(result.n_reference)}",
                result.reason,
            )
            for result in results
        ],
        empty=f"no drift result of segment {segment} in {place_of(out, broker)}",
        optional=("From", "Window", "Why"),
    )


@drift.command(
    "history",
    epilog=example(
        "driftline drift history --last 90d",
        "driftline drift history --target feature:monthly_spend --json --broker broker:9092",
    ),
)
@model_options
@drift_options
@click.option(
    "--last",
    default="90d",
    show_default=True,
    help="How far back from the end of the newest window, for example 30d.",
)
@source_options
@json_option
def history(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    segment: str,
    target: str | None,
    window: str | None,
    last: str,
    as_json: bool,
) -> None:
    """Show the level of each target over time, a mark per window.

    The marks are · none, ░ mild, ▒ moderate, █ severe, ? no verdict. Where windows are many, a mark
    is the largest level of neighbours. Of several methods for a target each has its line.
    """
    from driftline.agents.read_model.drift_reads import DriftFilter
    from driftline.agents.read_model.figure_reads import Span

    span_ms = duration_option("--last", last)
    wanted = DriftFilter(
        model_name=model_name,
        model_version=model_version,
        segment=segment,
        target=target,
        window=window,
    )
    with read_results(out, broker, config) as reads:
        newest = reads.drift.newest_end(wanted)
        results = list(reads.drift.between(wanted, Span(since_ms=newest - span_ms)))
    if as_json:
        print_json(results)
        return
    if not results:
        click.echo(f"no drift result of segment {segment} in {place_of(out, broker)}")
        return
    for of_version in _groups(results):
        _print_history(of_version)


def _probability(result: Drift) -> str:
    """The p-value that decides, adjusted if it is; "-" for a method without one."""
    value = result.p_value if result.p_adjusted is None else result.p_adjusted
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _groups(results: Iterable[Drift]) -> list[list[Drift]]:
    """The results of each model version and window."""
    groups: dict[tuple[str, str, str], list[Drift]] = {}
    for result in results:
        name = result.model_name, result.model_version, result.window
        groups.setdefault(name, []).append(result)
    return [groups[name] for name in sorted(groups)]


def _print_history(results: Sequence[Drift]) -> None:
    """A line of marks for each target and method, over the windows of all of them."""
    starts = sorted({result.window_start_ms for result in results})
    places = {start: place for place, start in enumerate(starts)}
    lines: dict[tuple[str, str], list[int]] = {}
    for result in results:
        line = lines.setdefault((result.target, result.method), [_NOTHING] * len(starts))
        line[places[result.window_start_ms]] = LEVELS.index(result.level)
    first = results[0]
    heading = (
        f"{first.model_name} {first.model_version}, segment {first.segment}, {len(starts)} windows "
        f"of {first.window} from {minute(starts[0])} to {minute(starts[-1])}"
    )
    click.echo(inert(heading))
    names = max(len(target) for target, _ in lines)
    width = min(_MOST_MARKS, max(_LEAST_MARKS, console().width - names - _OTHER_COLUMNS))
    print_table(
        ["Target", "Method", "Levels", ">Drifted"],
        [
            (
                target,
                method,
                level_marks(line, width),
                number(sum(each >= _DRIFTED for each in line)),
            )
            for (target, method), line in sorted(lines.items())
        ],
        empty="",
    )


def level_marks(levels: Sequence[int], width: int) -> str:
    """A mark per window, or at most `width` marks, each the largest level of neighbours.

    Parameters
    ----------
    levels
        Places in LEVELS; -1 where a window has no result.

    Examples
    --------
    >>> level_marks([1, 1, 2, 4, -1, 0], width=60)
    '··░█ ?'
    >>> level_marks([1, 4, 1, 2, 1, 1], width=3)
    '█░·'
    """
    count = min(len(levels), width)
    bounds = [place * len(levels) // count for place in range(count)] + [len(levels)]
    return "".join(
        _MARKS[max(levels[start:end])] for start, end in zip(bounds, bounds[1:], strict=False)
    )
