"""`driftline alerts`: the alert episodes of a run, and the records of one episode."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

import driftline
from driftline.agents.cli.inputs import report_read_errors
from driftline.agents.cli.output import (
    WrongInput,
    example,
    json_option,
    minute,
    model_options,
    number,
    out_option,
)
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from driftline.schemas.results import Alert

SEVERITIES = ("info", "warning", "error", "critical")


@click.group()
def alerts() -> None:
    """List alert episodes, and show one."""


@alerts.command(
    "list",
    epilog=example(
        "driftline alerts list --firing", "driftline alerts list --severity warning --json"
    ),
)
@model_options
@click.option("--firing", is_flag=True, help="Only episodes that are not resolved.")
@click.option(
    "--severity",
    type=click.Choice(SEVERITIES),
    default="info",
    show_default=True,
    help="Only this severity and higher ones.",
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
    """List alert episodes, oldest first: why each fired, and how it was resolved.

    With --json, each episode is its latest record on the topic, and "why_fired" is the summary of
    the latest record before it was resolved.
    """
    from driftline.schemas.results import to_plain

    with report_read_errors():
        table = driftline.open(out).alerts.where(model_name=model_name, model_version=model_version)
        episodes = _records_by_episode(table.structs())
    least = SEVERITIES.index(severity)
    listed = [
        (records[-1], _why_fired(records))
        for records in episodes.values()
        if SEVERITIES.index(records[-1].severity) >= least
        and not (firing and records[-1].status == "resolved")
    ]
    listed.sort(key=lambda episode: (episode[0].starts_at_ms, episode[0].alert_id))
    if as_json:
        print_json([to_plain(alert) | {"why_fired": why} for alert, why in listed])
        return
    print_table(
        [
            *("Severity", "Status", "Since", "Until", "Model", "Version", "Segment", "Rule"),
            *("Why", "Resolution", "ID"),
        ],
        [
            (
                alert.severity,
                alert.status,
                minute(alert.starts_at_ms),
                minute(alert.ends_at_ms),
                alert.model_name,
                alert.model_version,
                alert.segment,
                alert.rule,
                why or "-",
                alert.summary if alert.status == "resolved" else "-",
                alert.alert_id,
            )
            for alert, why in listed
        ],
        empty="no alert" + (" is firing" if firing else f" in {out}"),
    )


@alerts.command(
    "show",
    epilog=example("driftline alerts show ac49ad7f3ffe32d7-1379980800000 --out driftline-out"),
)
@click.argument("alert_id", metavar="ID")
@out_option
@json_option
def show_alert(alert_id: str, out: Path, as_json: bool) -> None:
    """Show every record of the episode ID, as `driftline alerts list` names it.

    An episode has a record for each change: it fired, its severity or its evidence changed, it was
    resolved. With --json, the records as on the topic.
    """
    with report_read_errors():
        episodes = _records_by_episode(driftline.open(out).alerts.structs())
    if alert_id not in episodes:
        raise WrongInput(_unknown_id(alert_id, list(episodes), out))
    records = episodes[alert_id]
    if as_json:
        print_json(records)
        return
    latest = records[-1]
    print_wrapped(
        f"{latest.rule} of {latest.model_name} {latest.model_version}, segment {latest.segment}"
    )
    if latest.runbook_url:
        print_wrapped(f"runbook: {latest.runbook_url}")
    print_table(
        [
            *("At", "Status", "Severity", "Metric", ">Value", "Interval", ">Threshold"),
            *(">Baseline", ">n", "Window", "Maturity", "What"),
        ],
        [
            (
                minute(record.at_ms),
                record.status,
                record.severity,
                record.metric or "-",
                number(record.value),
                "-" if record.ci is None else f"[{number(record.ci[0])}, {number(record.ci[1])}]",
                f"{record.comparator or ''} {number(record.threshold)}".strip(),
                number(record.baseline),
                number(record.n),
                record.window or "-",
                record.maturity or "-",
                record.summary,
            )
            for record in records
        ],
        empty="",
    )


def _records_by_episode(records: Iterable[Alert]) -> dict[str, list[Alert]]:
    """The records of each alert id, in the order of the topic."""
    episodes: dict[str, list[Alert]] = {}
    for record in records:
        episodes.setdefault(record.alert_id, []).append(record)
    return episodes


def _why_fired(records: list[Alert]) -> str | None:
    """The summary of the latest record that is not "resolved"; None if the topic has none left."""
    summaries = [record.summary for record in records if record.status != "resolved"]
    return summaries[-1] if summaries else None


def _unknown_id(alert_id: str, known: list[str], out: Path) -> str:
    if not known:
        return f"no alert {alert_id} in {out}: it has no alerts"
    nearest = get_close_matches(alert_id, known, n=3, cutoff=0.0)
    return (
        f"no alert {alert_id} in {out}; the nearest of {len(known)} IDs: {', '.join(nearest)} "
        f"(driftline alerts list --out {out} shows all)"
    )
