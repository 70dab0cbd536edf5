"""`driftline registry`: the history of changes, and the entries in force at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    time_option,
)
from driftline.agents.cli.tables import print_table
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.results import RegistryEvent


@click.group()
def registry() -> None:
    """Show the history of the registry."""


@registry.command("history", epilog=example("driftline registry history --model churn"))
@model_options
@click.option("--accepted", is_flag=True, help="Leave out rejected commands and dry runs.")
@out_option
@json_option
def show_history(
    out: Path, model_name: str | None, model_version: str | None, accepted: bool, as_json: bool
) -> None:
    """List changes, rejections and dry runs, newest first, each with who asked and why."""
    from driftline.streams.registry.history import history

    with report_read_errors():
        events = history(
            driftline.open(out).registry_events.structs(),
            model_name=model_name,
            model_version=model_version,
            rejected=not accepted,
        )
    if as_json:
        print_json(events)
        return
    print_events(events, empty=f"no registry events in {out}")


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
    "as-of", epilog=example("driftline registry as-of 2013-07-01T00:00:00Z --model flights")
)
@click.argument("time")
@model_options
@out_option
@json_option
def show_as_of(
    time: str, out: Path, model_name: str | None, model_version: str | None, as_json: bool
) -> None:
    """Show what was in force at TIME (RFC 3339, for example 2026-11-21T10:00:00Z)."""
    from driftline.streams.registry.history import as_of

    at_ms = time_option("TIME", time)
    with report_read_errors():
        events = [
            event
            for event in driftline.open(out).registry_events.structs()
            if model_name in (None, event.model_name)
        ]
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
