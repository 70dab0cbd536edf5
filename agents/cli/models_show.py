"""`driftline models show`: what is in force for one model version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.open_alert_table import print_open_alerts
from driftline.agents.cli.output import WrongInput, example, json_option, minute, number
from driftline.agents.cli.performance_degradation import (
    from_baseline,
    origin_of,
    print_differences,
)
from driftline.agents.cli.registry import print_events
from driftline.agents.cli.result_source import place_of, read_results, settings_of
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.read_model.series_order import usual_metrics
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.agents.model_facts import ModelFacts


@click.command(
    "show",
    epilog=example(
        "driftline models show churn@1.4.2",
        "driftline models show churn --json",
        "driftline models show churn --broker broker:9092",
    ),
)
@click.argument("name", metavar="NAME[@VERSION]")
@source_options
@json_option
def show(name: str, out: Path, broker: str | None, config: Path | None, as_json: bool) -> None:
    """Show what is in force for a model version: stage, threshold, labels, configuration, figures
    beside their baseline, open alerts and the last changes.

    Without VERSION, the version in production is shown, or the one that was registered last.
    """
    from driftline.agents.model_facts import UnknownVersion, facts_of

    with read_results(out, broker, config) as reads:
        try:
            facts = facts_of(reads, settings_of(reads, out, broker), name)
        except UnknownVersion as error:
            raise WrongInput(f"{place_of(out, broker)}: {error}") from error
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _print(facts: ModelFacts) -> None:
    entry, status = facts.entry, facts.status
    alerts = len(status.alerts)
    print_wrapped(
        f"{entry.model_name} {entry.model_version}, {entry.stage}"
        + (f" since {minute(entry.deployed_at)}" if entry.stage == "production" else "")
        + (f", by {entry.promoted_by}" if entry.stage == "production" and entry.promoted_by else "")
        + (f", deleted {minute(entry.deleted_at)}" if entry.deleted_at else "")
        + f"; registered {minute(entry.registered_at)}, revision {entry.revision}; "
        + ("no alert is open" if not alerts else f"open alerts: {alerts}")
    )
    print_table(["Field", "In force", "Set by"], list(_fields(facts)), empty="")
    if facts.figures is None:
        print_wrapped("no complete window yet")
    else:
        record = facts.figures
        baseline = entry.baselines.get(record.maturity or "-")
        rung = f", maturity {record.maturity}" if record.maturity else ""
        print_wrapped(
            f"{record.window} from {minute(record.window_start_ms)}{rung}: {number(record.n)} of "
            f"{number(record.n_predictions)} predictions have a label; {origin_of(baseline)}"
        )
        metrics = usual_metrics(record.lane)
        print_differences(record, baseline, from_baseline(record, baseline, metrics))
    print_open_alerts(status.alerts)
    print_wrapped("the last changes:")
    print_events(facts.changes, empty="no change is recorded")


def _fields(facts: ModelFacts) -> Iterator[tuple[str, str, str]]:
    entry, labels = facts.entry, facts.labels
    yield "threshold", number(entry.threshold), ""
    yield "labels", ", ".join(labels.labels or ["-"]), labels.labels_by or ""
    yield "positive label", labels.positive_label or "-", labels.positive_by or ""
    yield "reference", entry.reference_id or "-", ""
    rungs = ["traffic" if rung == "-" else rung for rung in entry.baselines]
    yield "baselines", ", ".join(rungs) or "-", ""
    yield "predictions", number(facts.status.n_predictions), ""
    yield "data up to", minute(facts.status.data_until_ms), ""
    for name in ("type", "framework", "owner", "environment"):
        if (value := getattr(entry, name)) is not None:
            yield name, value, ""
    if entry.artifact is not None:
        yield "artifact", entry.artifact.location, ""
        yield "artifact SHA-256", entry.artifact.sha256 or "-", ""
    for name, value in sorted(entry.tags.items()):
        yield f"tag {name}", value, ""
    for path, value in _flat("configuration", entry.configuration or {}):
        yield path, value, ""
    for name, level in sorted(facts.rules.items()):
        for path, value in _flat(f"rule {name}", level.values):
            yield path, value, f"{level.set_by}, {minute(level.set_at)}"
    for rule, why in sorted(facts.status.not_judged.items()):
        yield f"rule {rule}", f"cannot judge: {why}", ""
    others = [f"{version} {stage}" for version, stage in facts.versions.items()]
    yield "versions", "\n".join(others), ""


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Each value below a path as a text."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _flat(f"{path}.{name}", part)
    else:
        yield path, field_text(value)


def field_text(value: Any) -> str:
    """The value of a field of the registry for a table cell.

    Examples
    --------
    >>> field_text(0.123456), field_text([1, 2]), field_text(None), field_text(True)
    ('0.123456', '1, 2', '-', 'true')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(field_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
