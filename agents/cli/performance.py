"""`driftline performance`: the newest figures of each model version, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.output import (
    WrongInput,
    example,
    json_option,
    milliseconds,
    minute,
    model_options,
    number,
    share,
)
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import fit_columns, print_table, print_wrapped, wrap
from driftline.agents.input_rules import see
from driftline.agents.terminal import console, print_json

if TYPE_CHECKING:
    from driftline.schemas.results import WindowFigures

KINDS = ("tumbling", "sliding", "last_n", "since_deployment")
USUAL = ("accuracy", "precision", "recall", "f1", "roc_auc")
IN_MILLISECONDS = ("delay_p50", "delay_p95", "latency_p50", "latency_p95", "latency_p99")


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
@click.option("--segment", default="all", show_default=True, help='"all", or "dimension=value".')
@click.option(
    "--lane",
    type=click.Choice(("decisions", "arrivals", "traffic")),
    default="decisions",
    show_default=True,
)
@click.option("--window", help="Only this window, for example 1d or 7d/1d.")
@click.option(
    "--maturity",
    default="last",
    show_default=True,
    help='A rung of the maturity ladder, "last" for the last one emitted, or "all".',
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help=f"Metric to show; repeatable. By default: {', '.join(USUAL)}.",
)
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
    shown = metrics or USUAL
    known = sorted({name for record in records for name in record.metrics})
    for name in metrics:
        if records and name not in known:
            raise WrongInput(
                f'no figure has a metric "{name}"; there are {", ".join(known) or "none"}'
            )
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
            *(format_metric(record, name, between="\n") for name in shown),
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
            text = f"{name:<18} {format_metric(record, name, between=' ')}"
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


def series_order(record: WindowFigures) -> tuple[object, ...]:
    """Sort key: model version, segment, window and rung."""
    names = record.model_name, record.model_version, record.segment
    return (*names, window_order(record), rung_order(record))


def select_last_rungs(records: list[WindowFigures]) -> list[WindowFigures]:
    """The record of the last rung of each series and window kind."""
    from driftline.agents.output_folder import latest

    return latest(
        records,
        group=lambda record: (
            record.model_name,
            record.model_version,
            record.segment,
            window_order(record),
        ),
        order=rung_order,
    )


def rung_order(record: WindowFigures) -> int:
    """Sort key of a rung: its delay in milliseconds; 0 in a lane without a ladder."""
    from driftline.schemas.times import parse_duration

    return parse_duration(record.maturity) if record.maturity else 0


def window_order(record: WindowFigures) -> tuple[int, int, str]:
    """Sort key of a window: kind, size, name."""
    from driftline.schemas.times import parse_duration

    size, _, _ = record.window.partition("/")
    length = parse_duration(size) if record.kind in ("tumbling", "sliding") else 0
    return KINDS.index(record.kind), length, record.window


def format_metric(record: WindowFigures, name: str, *, between: str) -> str:
    """A metric, `between` and its interval; the reason if there is no value."""
    if name not in record.metrics:
        return "-"
    value = record.metrics[name]
    if value is None:
        return record.null_reasons.get(name, "not defined")
    written = milliseconds if name in IN_MILLISECONDS else number
    interval = record.ci.get(name)
    return (
        written(value)
        if interval is None
        else f"{written(value)}{between}[{written(interval[0])}, {written(interval[1])}]"
    )
