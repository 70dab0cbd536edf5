"""`driftline models`: model versions with their registry entry, predictions and firing alerts.

One version is `models_show.py`, two are `models_diff.py`, changes are `models_commands.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.models_commands import CHANGES
from driftline.agents.cli.models_diff import diff
from driftline.agents.cli.models_show import show
from driftline.agents.cli.output import (
    example,
    json_option,
    minute,
    model_options,
    number,
)
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import print_table
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.times import EpochMs


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model version: its registry entry, its predictions so far, its firing alerts, and by name
    the rules that cannot judge it, with the reason.
    """

    model_name: str
    model_version: str
    stage: str
    threshold: float | None
    reference_id: str | None
    revision: int
    registered_at: str | None
    deployed_at: str | None
    deleted_at: str | None
    n_predictions: int
    last_prediction: EpochMs | None
    alerts_firing: int
    not_judged: dict[str, str]


@click.group()
def models() -> None:
    """List, show, compare and change the monitored models."""


@models.command("list", epilog=example("driftline models list --out driftline-out"))
@model_options
@click.option("--deleted", is_flag=True, help="Deleted versions too.")
@source_options
@json_option
def list_models(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    deleted: bool,
    as_json: bool,
) -> None:
    """List model versions with stage, threshold, predictions, firing alerts and rules that cannot
    judge them for lack of rows.
    """
    from driftline.agents.output_folder import latest
    from driftline.agents.rules_without_rows import rules_without_rows
    from driftline.schemas.results import Alert, RegistryEntry, RuleWindows
    from driftline.schemas.times import EpochMs
    from driftline.schemas.topics import ALERTS, REGISTRY, RULE_WINDOWS

    wanted = {"model_name": model_name, "model_version": model_version}
    with read_results(out, broker, config) as reads:
        entries = sorted(
            (
                entry
                for entry in reads.records.latest(REGISTRY, RegistryEntry, **wanted)
                if deleted or entry.deleted_at is None
            ),
            key=lambda entry: (entry.model_name, entry.model_version),
        )
        alerts = latest(
            reads.records.all(ALERTS, Alert, **wanted), group=lambda alert: alert.fingerprint
        )
        not_judged = rules_without_rows(reads.records.all(RULE_WINDOWS, RuleWindows, **wanted))
        predictions = reads.figures.predictions()
    firing: dict[tuple[str, str], int] = {}
    for alert in alerts:
        if alert.status != "resolved":
            version = (alert.model_name, alert.model_version)
            firing[version] = firing.get(version, 0) + 1
    rows = []
    for entry in entries:
        version = (entry.model_name, entry.model_version)
        count, until = predictions.get(version, (0, 0))
        rows.append(
            Row(
                model_name=entry.model_name,
                model_version=entry.model_version,
                stage=entry.stage,
                threshold=entry.threshold,
                reference_id=entry.reference_id,
                revision=entry.revision,
                registered_at=entry.registered_at,
                deployed_at=entry.deployed_at,
                deleted_at=entry.deleted_at,
                n_predictions=count,
                last_prediction=EpochMs(until) if count else None,
                alerts_firing=firing.get(version, 0),
                not_judged=not_judged.get(version, {}),
            )
        )
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_table(
        [
            "Model",
            "Version",
            "Stage",
            ">Threshold",
            "Reference",
            ">Revision",
            ">Predictions",
            "Up to",
            ">Firing",
            "Not judged",
        ],
        [
            (
                row.model_name,
                row.model_version,
                f"{row.stage}, deleted" if row.deleted_at else row.stage,
                number(row.threshold),
                row.reference_id or "-",
                number(row.revision),
                number(row.n_predictions),
                minute(row.last_prediction),
                number(row.alerts_firing),
                ", ".join(row.not_judged) or "-",
            )
            for row in rows
        ],
        empty=f"no model version in {place_of(out, broker)}",
        optional=("Reference", "Revision", "Up to", "Threshold", "Not judged"),
    )


for command in (show, diff, *CHANGES):
    models.add_command(command)
