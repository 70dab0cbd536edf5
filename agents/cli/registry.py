"""`driftline registry`: the history of changes, and the entries in force at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.output import (
    WrongInput,
    example,
    json_option,
    minute,
    model_options,
    number,
    time_option,
)
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import print_table
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.results import RegistryEvent


@click.group()
def registry() -> None:
    """Show the history of the registry."""


@registry.command(
    "history",
    epilog=example(
        "driftline registry history --model churn",
        "driftline registry history --accepted --broker broker:9092",
    ),
)
@model_options
@click.option("--accepted", is_flag=True, help="Leave out rejected commands and dry runs.")
@source_options
@json_option
def show_history(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    accepted: bool,
    as_json: bool,
) -> None:
    """List changes, rejections and dry runs, newest first, each with who asked and why."""
    from driftline.schemas.results import RegistryEvent
    from driftline.schemas.topics import REGISTRY_EVENTS
    from driftline.streams.registry.history import history

    with read_results(out, broker, config) as reads:
        events = history(
            reads.records.all(REGISTRY_EVENTS, RegistryEvent),
            model_name=model_name,
            model_version=model_version,
            rejected=not accepted,
        )
    if as_json:
        print_json(events)
        return
    print_events(events, empty=f"no registry events in {place_of(out, broker)}")


def print_events(events: Iterable[RegistryEvent], *, empty: str) -> None:
    """A table of changes, rejections and dry runs, each with who asked and why."""
    print_table(
        ["At", "Model", ">Revision", "Event", "Version", "By", "Change", "Why"],
        [
            (
                minute(event.at),
                event.model_name,
                "-" if event.dry_run else number(event.revision),
                f"{event.event} (dry run)" if event.dry_run else event.event,
                event.model_version or "-",
                event.requested_by,
                format_change(event),
                event.error or event.reason or event.cause or "-",
            )
            for event in events
        ],
        empty=empty,
    )


@registry.command(
    "as-of",
    epilog=example(
        "driftline registry as-of 2025-06-03T12:00:00Z --model churn",
        "driftline registry as-of 2025-06-03T12:00:00Z --broker broker:9092",
    ),
)
@click.argument("time")
@model_options
@source_options
@json_option
def show_as_of(
    time: str,
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    as_json: bool,
) -> None:
    """Show what was in force at TIME (RFC 3339, for example 2026-11-21T10:00:00Z)."""
    from driftline.schemas.results import RegistryEvent
    from driftline.schemas.topics import REGISTRY_EVENTS
    from driftline.streams.registry.history import as_of

    at_ms = time_option("TIME", time)
    with read_results(out, broker, config) as reads:
        events = list(reads.records.all(REGISTRY_EVENTS, RegistryEvent, model_name=model_name))
    try:
        models = as_of(events, at_ms=at_ms)
    except ValueError as error:
        raise WrongInput(str(error)) from error
    entries = [
        entry
        for model in models.values()
        for entry in model.entries()
        if model_version in (None, entry.model_version)
    ]
    if as_json:
        print_json(entries)
        return
    print_table(
        [
            "Model",
            "Version",
            "Stage",
            ">Threshold",
            "Reference",
            ">Revision",
            "Registered",
            "Deployed",
        ],
        [
            (
                entry.model_name,
                entry.model_version,
                entry.stage,
                number(entry.threshold),
                entry.reference_id or "-",
                number(entry.revision),
                minute(entry.registered_at),
                minute(entry.deployed_at),
            )
            for entry in entries
        ],
        empty=f"no model version was registered by {time}",
        optional=("Reference", "Registered", "Revision"),
    )


LONGEST_VALUE = 40


def format_change(event: RegistryEvent) -> str:
    """The changed fields of an event, one per line, with old and new value if they are short."""
    from driftline.streams.registry.history import field_changes

    parts = []
    for version, name, before, after in field_changes(event):
        old, new = _short(before), _short(after)
        parts.append(
            f"{version} {name}".lstrip()
            + (f": {old} -> {new}" if old and new else f": {new}" if new else "")
        )
    return "\n".join(parts) or "-"


def _short(value: Any) -> str:
    if value is None or isinstance(value, dict | list):
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
