"""`driftline models`: model versions with their registry entry, predictions and firing alerts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

import driftline
from driftline.agents.cli.inputs import report_read_errors
from driftline.agents.cli.output import (
    example,
    json_option,
    minute,
    model_options,
    number,
    out_option,
)
from driftline.agents.cli.tables import print_table
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.results import WindowFigures
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
    n_predictions: int
    last_prediction: EpochMs | None
    alerts_firing: int
    not_judged: dict[str, str]


@click.group()
def models() -> None:
    """List the monitored models."""


@models.command("list", epilog=example("driftline models list --out driftline-out"))
@model_options
@out_option
@json_option
def list_models(
    out: Path, model_name: str | None, model_version: str | None, as_json: bool
) -> None:
    """List model versions with stage, threshold, predictions, firing alerts and rules that cannot
    judge them for lack of rows.
    """
    from driftline.agents.output_folder import latest
    from driftline.agents.rules_without_rows import rules_without_rows

    with report_read_errors():
        results = driftline.open(out)
        entries = latest(
            results.registry.where(model_name=model_name, model_version=model_version).structs(),
            group=lambda entry: (entry.model_name, entry.model_version),
        )
        alerts = latest(
            results.alerts.where(model_name=model_name, model_version=model_version).structs(),
            group=lambda alert: alert.fingerprint,
        )
        not_judged = rules_without_rows(
            results.rule_windows.where(
                model_name=model_name, model_version=model_version, segment="all"
            ).structs()
        )
        traffic = Traffic()
        for record in results.metrics.where(
            model_name=model_name, model_version=model_version, segment="all"
        ).structs():
            traffic.add(record)
    firing: dict[tuple[str, str], int] = {}
    for alert in alerts:
        if alert.status != "resolved":
            version = (alert.model_name, alert.model_version)
            firing[version] = firing.get(version, 0) + 1
    rows = []
    for entry in entries:
        version = (entry.model_name, entry.model_version)
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
                n_predictions=traffic.predictions(version),
                last_prediction=traffic.until.get(version),
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
                row.stage,
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
        empty=f"no model version in {out}",
        optional=("Reference", "Revision", "Up to", "Threshold", "Not judged"),
    )


class Traffic:
    """Number of predictions and latest window end of each version, from its tumbling windows.

    The windows of one size add up to all predictions. The sums of several sizes differ only at the
    end of an unfinished run, where the smaller windows have counted more; the largest sum is used.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], dict[str, int]] = {}
        self.until: dict[tuple[str, str], EpochMs] = {}

    def add(self, record: WindowFigures) -> None:
        """Add a record of the traffic lane; other records are ignored."""
        if record.lane != "traffic" or record.kind != "tumbling" or not record.n_predictions:
            return
        version = (record.model_name, record.model_version)
        sums = self._sums.setdefault(version, {})
        sums[record.window] = sums.get(record.window, 0) + record.n_predictions
        self.until[version] = max(
            self.until.get(version, record.window_end_ms), record.window_end_ms
        )

    def predictions(self, version: tuple[str, str]) -> int:
        """Predictions of a version so far."""
        return max(self._sums.get(version, {}).values(), default=0)
