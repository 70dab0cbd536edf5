"""`driftline status`: how all model versions are, on one screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.figure_cells import value_cell
from driftline.agents.cli.open_alert_table import print_open_alerts
from driftline.agents.cli.output import example, json_option, minute, model_options, number
from driftline.agents.cli.result_source import place_of, read_results, settings_of
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.agents.model_status import ModelStatus

_CRITICAL = 1


@click.command(
    "status",
    short_help="Show how all models are, what needs attention first.",
    epilog=example(
        "driftline status",
        "driftline status --model churn --json",
        "driftline status --broker broker:9092",
    )
    + "\n\nExit code: 1 if a critical alert is open, also one that is silenced or acknowledged.",
)
@model_options
@source_options
@json_option
def status(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    as_json: bool,
) -> int:
    """Show each model version with the metric that is judged, its baseline, and open alerts, and
    open alerts of workers and jobs; what needs attention comes first.

    The metric is that of the first rule on figures of all rows, such as "threshold" or
    "degradation"; without one it is balanced_accuracy, the mean of the recalls that
    "performance_drop" watches.
    """
    from driftline.agents.model_status import statuses

    with read_results(out, broker, config) as reads:
        found = statuses(
            reads,
            settings_of(reads, out, broker),
            model_name=model_name,
            model_version=model_version,
        )
    if as_json:
        print_json(found)
    elif found:
        _print(found)
    else:
        click.echo(f"no model version in {place_of(out, broker)}")
    is_critical = any(alert.severity == "critical" for each in found for alert in each.alerts)
    return _CRITICAL if is_critical else 0


def _print(found: Sequence[ModelStatus]) -> None:
    print_wrapped(_summary(found))
    print_table(
        [
            *("Model", "Version", "Stage", "Alerts", "Metric", ">Value", ">Baseline"),
            *("Window", "From", "Maturity", ">Labelled", "Data up to"),
        ],
        [
            (
                each.model_name,
                each.model_version,
                each.stage or "-",
                _alerts(each) or "-",
                *_judged(each),
                minute(each.data_until_ms),
            )
            for each in found
        ],
        empty="",
        optional=("Data up to", "Window", "From", "Labelled"),
    )
    print_open_alerts([alert for each in found for alert in each.alerts])
    if any(each.not_judged for each in found):
        print_table(
            ["Model", "Version", "Cannot judge", "Why"],
            [
                (each.model_name, each.model_version, rule, why)
                for each in found
                for rule, why in each.not_judged.items()
            ],
            empty="",
        )


def _judged(status: ModelStatus) -> tuple[str, ...]:
    figure = status.judged
    if figure is None:
        why = "-" if status.stage is None else "no complete window yet"
        return ("-", why, "-", "-", "-", "-", "-")
    name = figure.metric
    return (
        name,
        value_cell(name, figure.value, figure.ci, " ")
        if figure.value is not None
        else figure.null_reason or "not defined",
        "-"
        if figure.baseline is None
        else value_cell(name, figure.baseline, figure.baseline_ci, " "),
        figure.window,
        minute(figure.window_start_ms),
        f"{figure.maturity or '-'}{'' if figure.final else ' *'}",
        f"{number(figure.n)} of {number(figure.n_predictions)}",
    )


def _alerts(*found: ModelStatus) -> str:
    """How many alerts are open, by severity; empty without any."""
    from driftline.agents.model_status import SEVERITIES

    counts = Counter(alert.severity for each in found for alert in each.alerts)
    return ", ".join(f"{counts[name]} {name}" for name in reversed(SEVERITIES) if counts[name])


def _summary(found: Sequence[ModelStatus]) -> str:
    count = sum(each.stage is not None for each in found)
    versions = "1 model version" if count == 1 else f"{count:,} model versions"
    until = max((each.data_until_ms or 0 for each in found), default=0)
    news = [f"open alerts: {alerts}" if (alerts := _alerts(*found)) else "no alert is open"]
    if blind := sum(len(each.not_judged) for each in found):
        news.append(f"{blind} rule{'' if blind == 1 else 's'} cannot judge for lack of rows")
    return (
        f"{versions}, {'data up to ' + minute(until) if until else 'no data yet'}; "
        f"{'; '.join(news)}"
    )
