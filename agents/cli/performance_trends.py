"""`driftline performance trends`: metrics over time, window by window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.figure_cells import check_metrics, metric_cell, value_cell
from driftline.agents.cli.figure_options import lane_option, metric_option, segment_option
from driftline.agents.cli.output import (
    WrongInput,
    duration_option,
    example,
    json_option,
    minute,
    model_options,
    number,
)
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.sparkline import sparkline
from driftline.agents.cli.tables import print_table
from driftline.agents.read_model.series_order import rung_order, usual_metrics, window_order
from driftline.agents.terminal import inert, print_json

if TYPE_CHECKING:
    from driftline.agents.read_model.figure_reads import FigureReads, Series
    from driftline.schemas.results import WindowFigures

_REGULAR = ("tumbling", "sliding")


@click.command(
    "trends",
    epilog=example(
        "driftline performance trends --last 7d --by 1d",
        "driftline performance trends --model churn --segment plan=pro --metric recall --json",
        "driftline performance trends --lane traffic --last 24h --broker broker:9092",
    ),
)
@model_options
@segment_option
@lane_option
@click.option(
    "--last",
    default="7d",
    show_default=True,
    help="How far back from the end of the newest window, for example 24h or 90d.",
)
@click.option("--by", "window", help="The window, for example 1d; by default the smallest one.")
@click.option(
    "--maturity",
    default="last",
    show_default=True,
    help='A rung of the maturity ladder, or "last": the one with final figures.',
)
@metric_option
@source_options
@json_option
def trends(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    segment: str,
    lane: str,
    last: str,
    window: str | None,
    maturity: str,
    metrics: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show metrics over time, a row per window, for each model version.

    All windows are of one maturity, so that they can be compared. A line of blocks goes from the
    smallest to the largest value.
    """
    from driftline.agents.read_model.figure_reads import SeriesFilter

    span_ms = duration_option("--last", last)
    wanted = SeriesFilter(
        model_name=model_name, model_version=model_version, segment=segment, lane=lane
    )
    with read_results(out, broker, config) as reads:
        place = place_of(out, broker)
        series = [each for each in reads.figures.series(wanted) if each.kind in _REGULAR]
        chosen = one_rung(one_window(series, window), maturity) if series else []
        found = [_records(reads.figures, each, span_ms) for each in chosen]
    records = [record for of_series in found for record in of_series]
    check_metrics(metrics, records)
    if as_json:
        print_json(records)
        return
    if not records:
        click.echo(f"no figure in {place} for segment {segment} of the {lane} lane")
    for of_series in found:
        if of_series:
            _print(of_series, metrics or usual_metrics(lane))


def one_window(series: Sequence[Series], window: str | None) -> list[Series]:
    """The series of a window, or of the smallest one of each model version.

    Raises
    ------
    WrongInput
        If there is no such window.
    """
    if window is not None:
        if chosen := [each for each in series if each.window == window]:
            return chosen
        known = sorted({(window_order(each.window, each.kind), each.window) for each in series})
        raise WrongInput(
            f"there is no window {window}; there are {', '.join(name for _, name in known)}"
        )
    smallest: dict[tuple[str, str], str] = {}
    for each in sorted(series, key=lambda each: window_order(each.window, each.kind)):
        smallest.setdefault((each.model_name, each.model_version), each.window)
    return [each for each in series if each.window == smallest[each.model_name, each.model_version]]


def one_rung(series: Sequence[Series], maturity: str) -> list[Series]:
    """The series of a rung, or of the last one of each window.

    Raises
    ------
    WrongInput
        If there is no such rung.
    """
    if maturity != "last":
        if chosen := [each for each in series if each.maturity == maturity]:
            return chosen
        known = sorted({each.maturity for each in series if each.maturity}, key=rung_order)
        raise WrongInput(
            f"there is no maturity {maturity}; there is {', '.join(known) or 'none in this lane'}"
        )
    last: dict[tuple[str, str, str], Series] = {}
    for each in sorted(series, key=lambda each: rung_order(each.maturity)):
        last[each.model_name, each.model_version, each.window] = each
    return [last[name] for name in sorted(last)]


def _records(figures: FigureReads, series: Series, span_ms: int) -> list[WindowFigures]:
    """The windows of a series that end in the last `span_ms`."""
    from driftline.agents.read_model.figure_reads import Span, only

    newest = next(figures.newest(only(series)), None)
    if newest is None:
        return []
    span = Span(since_ms=newest.window_end_ms - span_ms)
    return list(figures.between(only(series), span))


def _print(records: Sequence[WindowFigures], metrics: Iterable[str]) -> None:
    first = records[0]
    shown = [name for name in metrics if any(name in record.metrics for record in records)]
    rung = f" at maturity {first.maturity}" if first.maturity else ""
    heading = (
        f"{first.model_name} {first.model_version}, segment {first.segment}, "
        f"{len(records)} window{'' if len(records) == 1 else 's'} of {first.window}{rung}"
    )
    click.echo(inert(heading))
    for name in shown:
        values = [record.metrics.get(name) for record in records]
        known = [value for value in values if value is not None]
        line = sparkline([math.nan if value is None else value for value in values])
        between = (
            f"{value_cell(name, min(known), None, '')} to {value_cell(name, max(known), None, '')}"
            if known
            else "no value"
        )
        click.echo(f"  {name:<18} {line}  {between}")
    print_table(
        ["From", ">Labelled", *(f">{name}" for name in shown)],
        [
            (
                minute(record.window_start_ms),
                f"{number(record.n)} of {number(record.n_predictions)}"
                if record.lane != "traffic"
                else number(record.n_predictions),
                *(
                    metric_cell(name, record.metrics, record.ci, record.null_reasons, between=" ")
                    for name in shown
                ),
            )
            for record in records
        ],
        empty="",
    )
