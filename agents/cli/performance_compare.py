"""`driftline performance compare`: two versions of a model side by side, with the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.figure_cells import check_metrics, metric_cell, value_cell
from driftline.agents.cli.figure_options import (
    lane_option,
    metric_option,
    segment_option,
    window_option,
)
from driftline.agents.cli.output import WrongInput, example, json_option, minute, number
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.figure_difference import Difference, difference
from driftline.agents.read_model.series_order import rung_order, usual_metrics, window_order
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.agents.read_model.figure_reads import FigureReads, Series
    from driftline.schemas.results import WindowFigures


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The figures of two versions in the same window, and their differences."""

    a: WindowFigures
    b: WindowFigures
    differences: list[Difference]


@click.command(
    "compare",
    epilog=example(
        "driftline performance compare 1.4.2 1.5.0 --model churn",
        "driftline performance compare 1.4.2 1.5.0 --window 1d --segment plan=pro --metric f1",
    ),
)
@click.argument("a", metavar="VERSION_A")
@click.argument("b", metavar="VERSION_B")
@click.option("--model", "model_name", metavar="MODEL", help="The model; needed if there are more.")
@segment_option
@lane_option
@window_option
@metric_option
@source_options
@json_option
def compare(
    a: str,
    b: str,
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    segment: str,
    lane: str,
    window: str | None,
    metrics: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show two versions of a model in the newest window that has rows of both.

    The difference is VERSION_B less VERSION_A, with a 95 % interval as of independent rows: where
    both versions scored the same requests, it is wider than need be. Versions that never ran at the
    same time are compared by the newest window of each.
    """
    with read_results(out, broker, config) as reads:
        place = place_of(out, broker)
        of_a, of_b = (
            _series(reads.figures, place, model_name, version, segment, lane) for version in (a, b)
        )
        found = [
            compared(*pair, metrics or usual_metrics(lane))
            for name in of_a
            if name in of_b and window in (None, name[-1])
            if (pair := newest_of_both(reads.figures, of_a[name], of_b[name])) is not None
        ]
    check_metrics(metrics, [record for each in found for record in (each.a, each.b)])
    if as_json:
        print_json(found)
        return
    print_table(
        ["Model", "Window", "From", "Maturity", "Metric", f">{a}", f">{b}", ">Difference"],
        [row for each in found for row in _rows(each)],
        empty=f"versions {a} and {b} have no window"
        + (f" {window}" if window else "")
        + f" of segment {segment} in the {lane} lane in common in {place}",
    )
    if any(each.a.window_start_ms != each.b.window_start_ms for each in found):
        print_wrapped(
            "* the versions have no window in common: the newest one of each is shown, and the "
            "difference is one of times as well"
        )


def _series(
    figures: FigureReads, place: str, model_name: str | None, version: str, segment: str, lane: str
) -> dict[tuple[str, tuple[int, int, str], str], dict[str | None, Series]]:
    """By model and window, the series of a version by rung.

    Raises
    ------
    WrongInput
        If there is none.
    """
    from driftline.agents.read_model.figure_reads import SeriesFilter

    wanted = SeriesFilter(model_name=model_name, model_version=version, segment=segment, lane=lane)
    found: dict[tuple[str, tuple[int, int, str], str], dict[str | None, Series]] = {}
    for each in figures.series(wanted):
        name = each.model_name, window_order(each.window, each.kind), each.window
        found.setdefault(name, {})[each.maturity] = each
    if not found:
        known = sorted(
            {
                f"{each.model_name} {each.model_version}"
                for each in figures.series(SeriesFilter(lane=lane))
                if each.model_name
            }
        )
        raise WrongInput(
            f"{place} has no figures of version {version}"
            + (f" of {model_name}" if model_name else "")
            + f" for segment {segment} of the {lane} lane; there are {', '.join(known) or 'none'}"
        )
    return dict(sorted(found.items()))


def newest_of_both(
    figures: FigureReads, a: dict[str | None, Series], b: dict[str | None, Series]
) -> tuple[WindowFigures, WindowFigures] | None:
    """The newest window with rows of both, at the last rung that both have; else that of each."""
    rungs = sorted(a.keys() & b.keys(), key=rung_order)
    if not rungs:
        return None
    of_a, of_b = a[rungs[-1]], b[rungs[-1]]
    starts_a, starts_b = figures.starts(of_a), figures.starts(of_b)
    if not starts_a or not starts_b:
        return None
    both = max(set(starts_a) & set(starts_b), default=None)
    records = (
        figures.at(of_a, max(starts_a) if both is None else both),
        figures.at(of_b, max(starts_b) if both is None else both),
    )
    return None if records[0] is None or records[1] is None else (records[0], records[1])


def compared(a: WindowFigures, b: WindowFigures, metrics: Sequence[str]) -> Comparison:
    """Two records side by side, with the metrics that one of them has."""
    names = [name for name in metrics if name in a.metrics or name in b.metrics]
    return Comparison(
        a=a,
        b=b,
        differences=[difference(name, (a.metrics, a.ci), (b.metrics, b.ci)) for name in names],
    )


def _rows(found: Comparison) -> list[tuple[str, ...]]:
    a, b = found.a, found.b
    together = a.window_start_ms == b.window_start_ms
    start = (
        minute(a.window_start_ms)
        if together
        else f"{minute(a.window_start_ms)}, {minute(b.window_start_ms)} *"
    )
    place = (a.model_name, a.window, start, a.maturity or "-")
    return [(*place, *row) for row in side_by_side(found)]


def side_by_side(found: Comparison) -> list[tuple[str, ...]]:
    """Cells of the number of rows and of each metric: name, both values, and their difference."""
    a, b = found.a, found.b
    counts = [number(each.n_predictions if each.lane == "traffic" else each.n) for each in (a, b)]
    rows: list[tuple[str, ...]] = [("rows", *counts, "")]
    for each in found.differences:
        cells = [
            metric_cell(each.metric, record.metrics, record.ci, record.null_reasons, between=" ")
            for record in (a, b)
        ]
        interval = None if each.low is None or each.high is None else (each.low, each.high)
        cell = (
            "-"
            if each.difference is None
            else value_cell(each.metric, each.difference, interval, " ")
        )
        rows.append((each.metric, *cells, cell))
    return rows
