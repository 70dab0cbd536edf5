"""`driftline labels`: how good the labels are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.output import (
    duration_option,
    example,
    json_option,
    milliseconds,
    minute,
    model_options,
    number,
    share,
)
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.sparkline import sparkline
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.terminal import inert, print_json

if TYPE_CHECKING:
    from driftline.agents.label_quality import LabelQuality, LabelWindow

_MOST_CLASSES: Final = 10
_MOST_STRAYS: Final = 10


@click.group()
def labels() -> None:
    """Show how good the labels are."""


@labels.command(
    "report",
    epilog=example(
        "driftline labels report",
        "driftline labels report --model churn --last 30d --json",
        "driftline labels report --broker broker:9092",
    ),
)
@model_options
@click.option(
    "--last",
    default="14d",
    show_default=True,
    help="How far back from the end of the newest window.",
)
@source_options
@json_option
def report(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    last: str,
    as_json: bool,
) -> None:
    """Show how many predictions of each version have a label, how late labels came, how often they
    were corrected, and how the mix of classes went over time.

    Labels are those of the last rung of the maturity ladder. Truths that changed nothing are
    counted when they came.
    """
    from driftline.agents.label_quality import label_quality, unmatched_truths

    span_ms = duration_option("--last", last)
    with read_results(out, broker, config) as reads:
        found = label_quality(
            reads.figures, model_name=model_name, model_version=model_version, span_ms=span_ms
        )
        unmatched = unmatched_truths(reads.figures, found)
    if as_json:
        print_json({"unmatched_truths": unmatched, "models": found})
        return
    if not found:
        click.echo(f"no complete tumbling window of labels in {place_of(out, broker)}")
        return
    for each in found:
        _print(each)
    print_wrapped(f"truths that met no prediction, of any model: {number(unmatched)}")


def _print(found: LabelQuality) -> None:
    from driftline.streams.label_vocabulary import quoted

    of_all = share(found.n / found.n_predictions) if found.n_predictions else "-"
    rung = f" at maturity {found.maturity}" if found.maturity else ""
    print_wrapped(
        f"{found.model_name} {found.model_version}, {minute(found.since_ms)} to "
        f"{minute(found.until_ms)}: {number(found.n)} of {number(found.n_predictions)} predictions "
        f"have a label{rung} ({of_all})"
    )
    print_table(
        ["What", ">Rows"],
        [
            ("predictions that were never labelled", number(found.never_labelled)),
            ("predictions whose label may still come", number(found.not_yet_labelled)),
            ("labels that were corrected", number(found.corrected)),
            ("labels that were taken back", number(found.retracted)),
            ("truths that came too late to change a figure", number(found.late_truths)),
            ("truths that were known before", number(found.duplicate_truths)),
            (
                "predictions that repeat an id with other content",
                number(found.conflicting_predictions),
            ),
            *(
                (f"label {quoted(label)}, which is none of the model's", number(rows))
                for label, rows in list(found.strays.items())[:_MOST_STRAYS]
            ),
        ],
        empty="",
    )
    names = _class_names(found.windows)
    for name in names:
        line = sparkline([_class_share(each, name) for each in found.windows])
        click.echo(inert(f"  share of {quoted(name):<16} {line}"))
    print_table(
        [
            *(f"{found.window} from", ">Labelled", ">Delay p50", ">Delay p95"),
            *(f">{quoted(name)}" for name in names),
        ],
        [
            (
                minute(each.window_start_ms) + ("" if each.final else " *"),
                f"{number(each.n)} of {number(each.n_predictions)}",
                *(
                    "-" if value is None else milliseconds(value)
                    for value in (each.delay_p50_ms, each.delay_p95_ms)
                ),
                *(
                    share(each.classes.get(name, 0) / total) if total else "-"
                    for name in names
                    for total in [sum(each.classes.values())]
                ),
            )
            for each in found.windows
        ],
        empty="no window",
    )
    if not all(each.final for each in found.windows):
        print_wrapped("* not final: labels may still come")


def _class_names(windows: Sequence[LabelWindow]) -> list[str]:
    """The most frequent classes, at most as many as a table has room for."""
    rows: dict[str, int] = {}
    for each in windows:
        for name, count in each.classes.items():
            rows[name] = rows.get(name, 0) + count
    return sorted(sorted(rows, key=lambda name: -rows[name])[:_MOST_CLASSES])


def _class_share(window: LabelWindow, name: str) -> float:
    total = sum(window.classes.values())
    return window.classes.get(name, 0) / total if total else float("nan")
