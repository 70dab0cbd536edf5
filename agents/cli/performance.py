"""`driftline performance`: the newest figures of each model version, with their intervals.

One window as a whole is `performance_details.py`, its errors `performance_errors.py`, figures over
time are `performance_trends.py`, versions side by side `performance_compare.py`, figures beside the
baseline `performance_degradation.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.figure_cells import check_metrics, metric_cell
from driftline.agents.cli.figure_options import (
    lane_option,
    metric_option,
    segment_option,
    window_option,
)
from driftline.agents.cli.output import (
    example,
    json_option,
    minute,
    model_options,
    number,
    share,
)
from driftline.agents.cli.performance_compare import compare
from driftline.agents.cli.performance_degradation import degradation
from driftline.agents.cli.performance_details import details
from driftline.agents.cli.performance_errors import errors
from driftline.agents.cli.performance_trends import trends
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import fit_columns, print_table, print_wrapped, wrap
from driftline.agents.input_rules import see
from driftline.agents.read_model.series_order import (
    rung_order,
    usual_metrics,
    window_order,
)
from driftline.agents.terminal import console, print_json

if TYPE_CHECKING:
    from driftline.schemas.results import WindowFigures


@click.group()
def performance() -> None:
    """Show figures of the models."""


@performance.command(
    "summary",
    epilog=example(
        "driftline performance summary --model churn --window 1d",
        "driftline performance summary --maturity 6h --segment plan=pro --metric f1 --metric mcc",
    ),
)
@model_options
@segment_option
@lane_option
@window_option
@click.option(
    "--maturity",
    default="last",
    show_default=True,
    help='A rung of the maturity ladder, "last" for the last one emitted, or "all".',
)
@metric_option
@source_options
@json_option
def summary(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    segment: str,
    lane: str,
    window: str | None,
    maturity: str,
    metrics: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the newest complete window of each kind, with 95 % intervals.

    A metric without a value shows the reason: no truth yet, too few rows, no score.
    """
    from driftline.agents.read_model.figure_reads import SeriesFilter
    from driftline.schemas.results import describe_losses

    wanted = SeriesFilter(
        model_name=model_name,
        model_version=model_version,
        segment=segment,
        lane=lane,
        window=window,
        maturity=None if maturity in ("all", "last") else maturity,
    )
    with read_results(out, broker, config) as reads:
        records = sorted(reads.figures.newest(wanted), key=series_order)
    if maturity == "last":
        records = select_last_rungs(records)
    shown = metrics or usual_metrics(lane)
    check_metrics(metrics, records)
    if as_json:
        print_json(records)
        return
    if not records:
        click.echo(
            f"no figure in {place_of(out, broker)} for segment {segment} of the {lane} lane"
            + (f" in window {window}" if window else "")
        )
    else:
        print_figures(records, shown)
    if any(not record.final for record in records):
        click.echo("* not final: truths may still arrive, a later rung counts more of them")
    if any(_is_withheld(record, shown) for record in records):
        print_wrapped(f"why a figure is withheld, or a row in none: {see('Labels', 'Scores')}")
    if losses := list(dict.fromkeys(loss for record in records for loss in record.losses)):
        print_wrapped(
            "! the window may lack rows that were lost before they were read: "
            f"{describe_losses(losses)}"
        )


def _is_withheld(record: WindowFigures, shown: Sequence[str]) -> bool:
    """Whether a figure of labelled rows has no value, or rows are in none."""
    return bool(record.strays or (record.n and not record.null_reasons.keys().isdisjoint(shown)))


def print_figures(records: list[WindowFigures], shown: Sequence[str]) -> None:
    """A table with a row per window and a column per metric; on a narrow terminal a list."""
    columns = ["Model", "Window", "From", "Maturity", ">Labelled", *(f">{name}" for name in shown)]
    rows = [
        (
            "\n".join([f"{record.model_name} {record.model_version}", *positive_label(record)]),
            format_window(record),
            minute(record.window_start_ms),
            format_rung(record),
            "\n".join(
                [
                    f"{number(record.n)} of {number(record.n_predictions)}",
                    share(record.label_coverage),
                    *other_labels(record),
                ]
            ),
            *(figure(record, name, between="\n") for name in shown),
        )
        for record in records
    ]
    width = console().width
    if fit_columns(columns, rows, width) is not None:
        print_table(columns, rows, empty="")
        return
    for record in records:
        heading = (
            f"{record.model_name} {record.model_version}, {format_window(record)} "
            f"from {minute(record.window_start_ms)}, maturity {format_rung(record)}: "
            f"{number(record.n)} of {number(record.n_predictions)} labelled "
            f"({share(record.label_coverage)})"
        )
        heading = "; ".join([heading, *positive_label(record), *other_labels(record)])
        click.echo(wrap(heading, width, hanging_indent="  "))
        for name in shown:
            text = f"{name:<18} {figure(record, name, between=' ')}"
            click.echo(wrap(text, width, "  ", " " * 21))


def format_window(record: WindowFigures) -> str:
    """The window of a record, with an exclamation mark if it may lack rows."""
    return record.window + (" !" if record.losses else "")


def positive_label(record: WindowFigures) -> list[str]:
    """Which label is positive; empty if none is known."""
    from driftline.streams.label_vocabulary import quoted

    return [] if record.positive_label is None else [f"positive: {quoted(record.positive_label)}"]


def other_labels(record: WindowFigures) -> list[str]:
    """How many rows have a label that is none of the model's; empty without such rows."""
    rows = sum(record.strays.values())
    return [f"{number(rows)} with other labels"] if rows else []


def format_rung(record: WindowFigures) -> str:
    """The maturity of a record, with a star unless it is final."""
    return (record.maturity or "-") + ("" if record.final else " *")


def figure(record: WindowFigures, name: str, *, between: str) -> str:
    """A metric, `between` and its interval; the reason if there is no value."""
    return metric_cell(name, record.metrics, record.ci, record.null_reasons, between=between)


def series_order(record: WindowFigures) -> tuple[object, ...]:
    """Sort key: model version, segment, window and rung."""
    names = record.model_name, record.model_version, record.segment
    return (*names, window_order(record.window, record.kind), rung_order(record.maturity))


def select_last_rungs(records: list[WindowFigures]) -> list[WindowFigures]:
    """The record of the last rung of each series and window kind."""
    from driftline.agents.output_folder import latest

    return latest(
        records,
        group=lambda record: (
            record.model_name,
            record.model_version,
            record.segment,
            window_order(record.window, record.kind),
        ),
        order=lambda record: rung_order(record.maturity),
    )


for command in (details, errors, trends, compare, degradation):
    performance.add_command(command)
