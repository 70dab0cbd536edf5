"""`driftline models`: which versions are watched, and what is in force for each."""

from __future__ import annotations

from pathlib import Path

import click

from agents.cli.show import example, json_option, model_options, number, minute, out_option, print_json, print_table
from agents.cli.source import reading


@click.group()
def models() -> None:
    """What is known about the watched models."""


@models.command("list", epilog=example("driftline models list --out driftline-out"))
@model_options
@out_option
@json_option
def list_models(out: Path, model_name: str | None, model_version: str | None, as_json: bool) -> None:
    """List model versions with stage, threshold, predictions so far and firing alerts."""
    from agents.reader import Output, Selection, latest

    with reading():
        output = Output(out)
        chosen = Selection(model_name=model_name, model_version=model_version)
        entries = latest(output.registry(chosen), group=lambda entry: (entry.model_name, entry.model_version))
        alerts = latest(output.alerts(chosen), group=lambda alert: alert.fingerprint)
        whole = Selection(model_name=model_name, model_version=model_version, segment="all")
        traffic = (record for record in output.metrics(whole) if record.lane == "traffic" and record.kind == "since_deployment")
        newest = latest(traffic, group=lambda record: (record.model_name, record.model_version), order=lambda record: record.window_end)
    seen = {(record.model_name, record.model_version): record for record in newest}
    firing: dict[tuple[str, str], int] = {}
    for alert in alerts:
        if alert.status != "resolved":
            version = (alert.model_name, alert.model_version)
            firing[version] = firing.get(version, 0) + 1
    rows = []
    for entry in entries:
        version = (entry.model_name, entry.model_version)
        record = seen.get(version)
        rows.append(
            {
                "model_name": entry.model_name,
                "model_version": entry.model_version,
                "stage": entry.stage,
                "threshold": entry.threshold,
                "reference_id": entry.reference_id,
                "revision": entry.revision,
                "registered_at": entry.registered_at,
                "deployed_at": entry.deployed_at,
                "n_predictions": record.n_predictions if record else None,
                "last_complete": record.window_end if record else None,
                "alerts_firing": firing.get(version, 0),
            }
        )
    if as_json:
        print_json(rows)
        return
    print_table(
        ["Model", "Version", "Stage", ">Threshold", "Reference", ">Revision", ">Predictions", "Up to", ">Firing"],
        [
            (
                row["model_name"],
                row["model_version"],
                row["stage"],
                number(row["threshold"]),
                row["reference_id"] or "-",
                number(row["revision"]),
                number(row["n_predictions"]),
                minute(row["last_complete"]),
                number(row["alerts_firing"]),
            )
            for row in rows
        ],
        empty=f"no model version in {out}",
    )
