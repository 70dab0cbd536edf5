"""`driftline performance details`: everything that is known of one window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.chosen_window import chosen_windows, window_options
from driftline.agents.cli.figure_cells import metric_cell, value_cell
from driftline.agents.cli.output import example, json_option, minute, model_options, number, share
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.results import WindowFigures


@click.command(
    "details",
    epilog=example(
        "driftline performance details --model churn --window 1d",
        "driftline performance details --window 1d --from 2025-06-02T00:00:00Z --maturity 6h",
        "driftline performance details --segment plan=pro --json --broker broker:9092",
    ),
)
@model_options
@window_options
@source_options
@json_option
def details(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    segment: str,
    lane: str,
    window: str | None,
    start: str | None,
    maturity: str,
    as_json: bool,
) -> None:
    """Show one window of each model version: its rows, the confusion matrix in counts and shares,
    and every metric with interval and bounds, or why it has no value.

    By default the newest whole window of the largest size up to a day. With --json, the records
    as on the topic.
    """
    with read_results(out, broker, config) as reads:
        records = chosen_windows(
            reads.figures,
            model_name=model_name,
            model_version=model_version,
            segment=segment,
            lane=lane,
            window=window,
            start=start,
            maturity=maturity,
        )
    if as_json:
        print_json(records)
        return
    if not records:
        click.echo(
            f"no complete window in {place_of(out, broker)} for segment {segment} of the {lane} "
            "lane" + (f" from {start}" if start else "")
        )
    for record in records:
        _print(record)


def _print(record: WindowFigures) -> None:
    from driftline.schemas.results import WHOLE_SHARE, describe_losses

    rung = f", maturity {record.maturity}" if record.maturity else ""
    print_wrapped(
        f"{record.model_name} {record.model_version}, segment {record.segment}, {record.lane} "
        f"lane: {record.window} from {minute(record.window_start_ms)} to "
        f"{minute(record.window_end_ms)}{rung}" + ("" if record.final else ", not final")
    )
    if record.lane != "traffic":
        rows = f"{number(record.n)} of {number(record.n_predictions)} predictions have a label"
        if record.label_coverage is not None:
            rows += f" ({share(record.label_coverage)})"
        if record.completeness is not None:
            rows += (
                f"; of the labels that come in the end, {share(record.completeness)} are usually "
                "known at this maturity"
            )
        print_wrapped(rows)
    else:
        print_wrapped(f"{number(record.n_predictions)} predictions")
    if record.covered_share < WHOLE_SHARE:
        print_wrapped(f"data cover {share(record.covered_share)} of the window")
    if record.losses:
        print_wrapped(
            "the window may lack rows that were lost before they were read: "
            f"{describe_losses(record.losses)}"
        )
    if record.counts:
        counted = ", ".join(f"{name} {number(rows)}" for name, rows in record.counts.items())
        print_wrapped(f"counted: {counted}")
    _print_strays(record)
    if record.matrix:
        print_wrapped(
            f"{matrix_in_words(record)}. Rows: what came true; columns: what was predicted"
        )
        print_table(*matrix_table(record.labels, record.matrix), empty="")
    print_table(
        ["Metric", ">Value", ">95 % interval", *([">Bounds"] if record.bounds else [])],
        [_metric_row(record, name) for name in record.metrics],
        empty="no metric",
    )
    if record.bounds:
        print_wrapped("bounds: the values if all missing labels were wrong, and if all were right")


def _print_strays(record: WindowFigures) -> None:
    from driftline.streams.label_vocabulary import quoted

    if record.strays:
        named = ", ".join(
            f"{quoted(label)} {number(rows)}" for label, rows in record.strays.items()
        )
        print_wrapped(f"labels that are none of the model's, in no figure: {named}")


def matrix_in_words(record: WindowFigures) -> str:
    """What the matrix says: of the positive label if one is known, else of all labels."""
    from driftline.streams.label_vocabulary import quoted

    matrix = record.matrix
    if record.positive_label not in record.labels:
        right = sum(matrix[place][place] for place in range(len(matrix)))
        return f"{_right_of(right, sum(map(sum, matrix)))} predictions were right"
    place, label = record.labels.index(record.positive_label), quoted(record.positive_label)
    hit = matrix[place][place]
    return (
        f"of the rows that came true as {label}, {_right_of(hit, sum(matrix[place]))} were "
        f"predicted so; of those predicted as {label}, "
        f"{_right_of(hit, sum(row[place] for row in matrix))} were right"
    )


def matrix_table(
    labels: Sequence[str], matrix: Sequence[Sequence[int]]
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Columns and rows of a confusion matrix, with the share of each actual label that was
    predicted so, and the share of right predictions of each predicted label in the last row.

    Examples
    --------
    >>> columns, rows = matrix_table(["no", "yes"], [[8, 2], [1, 3]])
    >>> columns
    ['Actual', '>"no"', '>"yes"', '>Rows']
    >>> rows[0]
    ('"no"', '8 (80.0 %)', '2 (20.0 %)', '10')
    >>> rows[-1]
    ('right of predicted', '8 of 9 (88.9 %)', '3 of 5 (60.0 %)', '11 of 14 (78.6 %)')
    """
    from driftline.streams.label_vocabulary import quoted

    names, totals = list(map(quoted, labels)), [sum(row) for row in matrix]
    rows = [
        (name, *(_with_share(cell, total) for cell in row), number(total))
        for name, row, total in zip(names, matrix, totals, strict=True)
    ]
    predicted = [sum(column) for column in zip(*matrix, strict=True)]
    right = [matrix[place][place] for place in range(len(labels))]
    rows.append(
        (
            "right of predicted",
            *(_right_of(*each) for each in zip(right, predicted, strict=True)),
            _right_of(sum(right), sum(totals)),
        )
    )
    return ["Actual", *(f">{name}" for name in names), ">Rows"], rows


def _with_share(count: int, total: int) -> str:
    return f"{number(count)} ({share(count / total)})" if total else number(count)


def _right_of(right: int, total: int) -> str:
    return f"{number(right)} of {number(total)} ({share(right / total)})" if total else "0 of 0"


def _metric_row(record: WindowFigures, name: str) -> tuple[str, ...]:
    value = metric_cell(name, record.metrics, {}, record.null_reasons, between="")
    bounds = [_pair(name, record.bounds.get(name))] if record.bounds else []
    return name, value, _pair(name, record.ci.get(name)), *bounds


def _pair(name: str, limits: tuple[float, float] | None) -> str:
    return (
        "-"
        if limits is None
        else f"{value_cell(name, limits[0], None, '')} to {value_cell(name, limits[1], None, '')}"
    )
