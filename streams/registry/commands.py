"""Which command may change what, in which state: the state machine.

    development -> staging -> production        promote; development may go straight to production
    production  -> staging                      when another version is promoted
    development, staging -> archived            archive
    any change of stage or threshold            can be taken back by rollback

One version of a model is in production at a time. A command becomes the event that it leads to; a
command that may not be is an event too, "rejected", with a sentence that says why. Nothing here
changes a state: that is `model.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from driftline.schemas.results import RegistryCommand, RegistryEvent
from driftline.streams.registry.command_params import (
    BaselineFact,
    Metadata,
    Nothing,
    Promotion,
    ReferenceFact,
    Registration,
    Rollback,
    Threshold,
)
from driftline.streams.registry.model_state import (
    BASELINE,
    REJECTED,
    Change,
    Fields,
    Model,
    difference,
    fields_of,
)

Log = Callable[[int], RegistryEvent]
"""The event of a revision of the model, from 1 to the one in force."""

SETTINGS = ("stage", "threshold", "configuration", "deployed_at", "promoted_by")
"""What a rollback takes back.

Facts (references, baselines, who owns it) stay as they were learnt.
"""

_P = TypeVar("_P", bound=msgspec.Struct)


class Refused(Exception):
    """Why a command may not be carried out, as a sentence for the one who sent it."""


def event_of(
    model: Model, command: RegistryCommand, log: Log, *, cause: str | None = None
) -> RegistryEvent:
    """The event that a command leads to: the change, or its rejection.

    Parameters
    ----------
    model
        The state in force.
    log
        Reads earlier events; used by rollback.
    cause
        Id of the alert or recommendation behind an automatic command.
    """
    event = RegistryEvent(
        event=command.command,
        model_name=command.model_name,
        model_version=command.model_version,
        revision=model.revision + 1,
        command_id=command.command_id,
        at=command.timestamp,
        requested_by=command.requested_by,
        reason=command.reason,
        cause=cause,
        dry_run=command.dry_run,
    )
    try:
        before, after = difference(model, _change(model, command, log))
        if not after:
            raise Refused(f"{command.command}: this is how it already is; nothing to change")
    except Refused as refusal:
        return msgspec.structs.replace(
            event, event=REJECTED, revision=model.revision, error=str(refusal)
        )
    return msgspec.structs.replace(event, before=before, after=after)


def _change(model: Model, command: RegistryCommand, log: Log) -> Change:
    carry_out = _COMMANDS.get(command.command)
    if carry_out is None:
        raise Refused(
            f"unknown command {command.command!r}; known are {', '.join(sorted(_COMMANDS))}"
        )
    if command.expected_revision is not None and command.expected_revision != model.revision:
        raise Refused(
            f"{command.command}: expected revision {command.expected_revision}, but {model.name} is at {model.revision}; "
            "look at what changed and send it anew"
        )
    return carry_out(model, command, log)


def _register(model: Model, command: RegistryCommand, log: Log) -> Change:
    version = _version(command)
    if version in model.versions:
        since = model.versions[version]["registered_at"]
        raise Refused(
            f"register: {model.name} {version} is registered since {since}; use update to change what is known about it"
        )
    parameters = _parameters(command, Registration)
    return {
        version: fields_of(parameters)
        | {"stage": parameters.stage, "registered_at": command.timestamp}
    }


def _update(model: Model, command: RegistryCommand, log: Log) -> Change:
    version, _ = _registered(model, command)
    return {version: fields_of(_parameters(command, Metadata))}


def _promote(model: Model, command: RegistryCommand, log: Log) -> Change:
    version, held = _registered(model, command)
    to = _parameters(command, Promotion).to
    stage = held["stage"]
    if stage == "archived":
        raise Refused(f"promote: {model.name} {version} is archived; roll its archiving back first")
    if stage == to:
        raise Refused(f"promote: {model.name} {version} is already in {to}")
    if to == "staging":
        if stage == "production":
            raise Refused(
                f"promote: {model.name} {version} is in production; promote another version and it goes back to staging"
            )
        return {version: {"stage": "staging"}}
    change: Change = {
        version: {
            "stage": "production",
            "deployed_at": command.timestamp,
            "promoted_by": command.requested_by,
        }
    }
    champion = model.in_production()
    if champion is not None:
        change[champion] = {"stage": "staging"}
    return change


def _archive(model: Model, command: RegistryCommand, log: Log) -> Change:
    version, held = _registered(model, command)
    _parameters(command, Nothing)
    if held["stage"] == "production":
        raise Refused(
            f"archive: {model.name} {version} is in production; promote another version first"
        )
    return {version: {"stage": "archived"}}


def _set_threshold(model: Model, command: RegistryCommand, log: Log) -> Change:
    version, held = _registered(model, command)
    if held["stage"] == "archived":
        raise Refused(f"set_threshold: {model.name} {version} is archived")
    return {version: {"threshold": _parameters(command, Threshold).threshold}}


def _record_reference(model: Model, command: RegistryCommand, log: Log) -> Change:
    version, _ = _registered(model, command)
    fact = _parameters(command, ReferenceFact)
    reference = {"span": list(fact.span) if fact.span else None, "profile": fact.profile}
    return {version: {"reference_id": fact.reference_id, "reference": reference}}


def _record_baseline(model: Model, command: RegistryCommand, log: Log) -> Change:
    version, _ = _registered(model, command)
    maturity = _parameters(command, BaselineFact).maturity
    baseline = {name: value for name, value in command.params.items() if name != "maturity"}
    return {version: {BASELINE + maturity: baseline}}


def _rollback(model: Model, command: RegistryCommand, log: Log) -> Change:
    to_revision = _parameters(command, Rollback).to_revision
    return (
        _undo_last(model, command, log)
        if to_revision is None
        else _go_back(model, to_revision, log)
    )


def _undo_last(model: Model, command: RegistryCommand, log: Log) -> Change:
    """The last change of the version's settings taken back, for every version that it touched;
    doing it twice restores it, as a toggle.
    """
    version, _ = _registered(model, command)
    for revision in range(model.revision, 0, -1):
        event = log(revision)
        before, after = event.before or {}, event.after or {}
        if version in after and version not in before:
            raise Refused(
                f"rollback: nothing was set for {model.name} {version} since its registration; use archive to retire it"
            )
        if version not in after or not any(name in after[version] for name in SETTINGS):
            continue
        change: Change = {}
        for touched, fields in before.items():
            settings = {name: value for name, value in fields.items() if name in SETTINGS}
            moved_on = [
                name
                for name in settings
                if model.versions[touched].get(name) != after[touched][name]
            ]
            if moved_on:
                raise Refused(
                    f"rollback: revision {revision} ({event.event}) changed {', '.join(moved_on)} of {touched} too, which moved on since; "
                    "name the revision to go back to (to_revision)"
                )
            change[touched] = settings
        _require_one_champion(model, change)
        return change
    raise AssertionError(
        f"registry of {model.name}: {version} is registered, but no event of the log registers it"
    )


def _require_one_champion(model: Model, change: Change) -> None:
    """Reject a change that puts a version in production beside the champion of today."""
    champion = model.in_production()
    if champion is None or change.get(champion, {}).get("stage", "production") != "production":
        return
    returning = [
        name
        for name, fields in change.items()
        if name != champion and fields.get("stage") == "production"
    ]
    if returning:
        raise Refused(
            f"rollback: this would put {model.name} {', '.join(returning)} in production, where {champion} is now; "
            "promote it, or name the revision to go back to (to_revision)"
        )


def _go_back(model: Model, to_revision: int, log: Log) -> Change:
    """The settings of all versions as they stood after `to_revision`.

    Versions registered later stay, though not in production.
    """
    if to_revision >= model.revision:
        raise Refused(
            f"rollback: {model.name} is at revision {model.revision}; to_revision {to_revision} does not lie before it"
        )
    change: Change = {}
    for revision in range(model.revision, to_revision, -1):
        event = log(revision)
        before, after = event.before or {}, event.after or {}
        for version in after:
            if version in before:
                earlier = {
                    name: value for name, value in before[version].items() if name in SETTINGS
                }
                change[version] = change.get(version, {}) | earlier
            else:
                change[version] = (
                    {"stage": "staging"} if model.versions[version]["stage"] == "production" else {}
                )
    return change


def _version(command: RegistryCommand) -> str:
    if not command.model_version:
        raise Refused(f"{command.command}: model_version is missing")
    return command.model_version


def _registered(model: Model, command: RegistryCommand) -> tuple[str, Fields]:
    version = _version(command)
    if version not in model.versions:
        known = ", ".join(model.versions) or "none"
        raise Refused(
            f"{command.command}: {model.name} {version} is not registered; registered versions: {known}"
        )
    return version, model.versions[version]


def _parameters(command: RegistryCommand, kind: type[_P]) -> _P:
    try:
        return msgspec.convert(command.params, kind)
    except msgspec.ValidationError as error:
        raise Refused(f"{command.command}: {str(error).replace('$', 'params')}") from error


_COMMANDS: dict[str, Callable[[Model, RegistryCommand, Log], Change]] = {
    "archive": _archive,
    "promote": _promote,
    "record_baseline": _record_baseline,
    "record_reference": _record_reference,
    "register": _register,
    "rollback": _rollback,
    "set_threshold": _set_threshold,
    "update": _update,
}
COMMAND_NAMES = tuple(sorted(_COMMANDS))
