"""`driftline alerts`: what fired, why, and whether it is over."""

from __future__ import annotations

from pathlib import Path

import click

from driftline.agents.cli.inputs import reading
from driftline.agents.cli.output import (
    example,
    json_option,
    minute,
    model_options,
    out_option,
    print_json,
    print_table,
)

SEVERITIES = ("info", "warning", "error", "critical")


@click.group()
def alerts() -> None:
    """What needs attention."""


@alerts.command(
    "list",
    epilog=example(
        "driftline alerts list --firing", "driftline alerts list --severity warning --json"
    ),
)
@model_options
@click.option("--firing", is_flag=True, help="Only those that are not resolved.")
@click.option(
    "--severity",
    type=click.Choice(SEVERITIES),
    default="info",
    show_default=True,
    help="This severity and worse.",
)
@out_option
@json_option
def list_alerts(
    out: Path,
    model_name: str | None,
    model_version: str | None,
    firing: bool,
    severity: str,
    as_json: bool,
) -> None:
    """List alert episodes, oldest first, each with its last word."""
    from driftline.agents.output_folder import Output, Selection, latest

    with reading():
        chosen = Selection(model_name=model_name, model_version=model_version)
        episodes = latest(Output(out).alerts(chosen), group=lambda alert: alert.alert_id)
    least = SEVERITIES.index(severity)
    episodes = [
        alert
        for alert in episodes
        if SEVERITIES.index(alert.severity) >= least and not (firing and alert.status == "resolved")
    ]
    episodes.sort(key=lambda alert: (alert.starts_at, alert.alert_id))
    if as_json:
        print_json(episodes)
        return
    print_table(
        ["Severity", "Status", "Since", "Until", "Model", "Version", "Segment", "Rule", "What"],
        [
            (
                alert.severity,
                alert.status,
                minute(alert.starts_at),
                minute(alert.ends_at),
                alert.model_name,
                alert.model_version,
                alert.segment,
                alert.rule,
                alert.summary,
            )
            for alert in episodes
        ],
        empty="no alert" + (" is firing" if firing else f" in {out}"),
    )
