"""Which command may change which fields, in which state.

    development -> staging -> production        promote; development may go straight to production
    production  -> staging                      when another version is promoted
    development, staging -> archived            archive
    archived, not deleted -> archived, deleted  delete; only a rollback is possible then
    any change of stage or threshold            can be undone by rollback; or only the last one of
                                                threshold and configuration, or of the version in
                                                production

Labels and the levels of alert rules belong to the model: they are set anew, or restored by a
rollback to a revision. What the events have settled stands beside the labels.
One version of a model is in production at a time. An accepted command becomes the event of its
change. A rejected command becomes an event too, "rejected", with a sentence that gives the reason.
Nothing here changes a state; `model_state.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from driftline.schemas.results import (
    ReferenceProfile,
    RegistryCommand,
    RegistryEvent,
    RuleLevel,
    from_plain,
    to_plain,
)
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.rule_levels import LevelChange, changed_level, values_without
from driftline.streams.registry.command_params import (
    SYSTEM,
    BaselineFact,
    LabelFact,
    LabelParams,
    Metadata,
    NoParams,
    Promotion,
    ReferenceFact,
    Registration,
    Rollback,
    ThresholdParams,
)
from driftline.streams.registry.model_state import (
    BASELINE,
    CONFIGURATION,
    MODEL,
    NAMED_VERSIONS,
    REJECTED,
    RULE,
    Change,
    Fields,
    RegisteredModel,
    VersionState,
    difference,
    fields_of,
    is_setting,
)

_P = TypeVar("_P", bound=msgspec.Struct)


class CommandRejected(Exception):
    """Why a command is not carried out, as a sentence for its sender."""


class ModelLog(Protocol):
    """Read access to the events and profiles of a model."""

    def event(self, revision: int, /) -> RegistryEvent:
        """The event of a revision, from 1 to the one in force."""

    def profile_differs(self, profile: ReferenceProfile, /) -> bool:
        """Whether another profile of the model has this reference_id."""


class _Target(NamedTuple):
    """A registered version that a command names."""

    version: str
    state: VersionState

    @property
    def stage(self) -> str:
        stage: str = self.state.fields["stage"]
        return stage


def event_of(
    model: RegisteredModel,
    command: RegistryCommand,
    log: ModelLog,
    config: ModelConfig,
    *,
    cause: str | None = None,
) -> RegistryEvent:
    """The event that a command leads to: the change, or its rejection.

    Parameters
    ----------
    model
        The state in force.
    log
        Reads earlier events, for rollback, and the profiles recorded so far.
    config
        The settings of the model, which a command cannot change.
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
        before, after = difference(model, _change(model, command, log, config))
        if not after:
            raise CommandRejected(
                f"{command.command}: this is how it already is; nothing to change"
            )
    except CommandRejected as rejection:
        return msgspec.structs.replace(
            event, event=REJECTED, revision=model.revision, error=str(rejection)
        )
    return msgspec.structs.replace(event, before=before, after=after)


class EventLog:
    """The events of a model as a log, for those who ask what a command would lead to before they
    send it: without the profiles.

    Parameters
    ----------
    events
        All changes so far.
    """

    def __init__(self, events: Iterable[RegistryEvent]) -> None:
        self._events = {event.revision: event for event in events}

    def add(self, event: RegistryEvent) -> None:
        """Add the next change."""
        self._events[event.revision] = event

    def event(self, revision: int) -> RegistryEvent:
        """The event of a revision, from 1 to the one in force."""
        return self._events[revision]

    def profile_differs(self, profile: ReferenceProfile) -> bool:
        """Rejects the command, since the profiles are not at hand."""
        raise CommandRejected("record_reference: this needs the profiles of the registry")


def profile_of(command: RegistryCommand) -> ReferenceProfile | None:
    """The reference profile that an accepted command carries; None for other commands."""
    if command.command != "record_reference":
        return None
    fact = from_plain(ReferenceFact, command.params)
    return _profile(command, fact)


def _profile(command: RegistryCommand, fact: ReferenceFact) -> ReferenceProfile:
    return ReferenceProfile(
        model_name=command.model_name,
        reference_id=fact.reference_id,
        created_at=command.timestamp,
        span=fact.span,
        profile=fact.profile,
        losses=fact.losses,
    )


def _change(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    carry_out = _COMMANDS.get(command.command)
    if carry_out is None:
        raise CommandRejected(
            f"unknown command {command.command!r}; known are {', '.join(sorted(_COMMANDS))}"
        )
    if command.expected_revision is not None and command.expected_revision != model.revision:
        raise CommandRejected(
            f"{command.command}: expected revision {command.expected_revision}, but {model.name} "
            f"is at {model.revision}; look at what changed and send it anew"
        )
    return carry_out(model, command, log, config)


def _register(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    version = _version(command)
    state = model.version(version)
    if state is not None:
        _require_undeleted(model, command, _Target(version, state))
        raise CommandRejected(
            f"register: {model.name} {version} is registered since "
            f"{state.fields['registered_at']}; use update to change what is known about it"
        )
    params = _params(command, Registration)
    return {
        version: fields_of(params) | {"stage": params.stage, "registered_at": command.timestamp}
    }


def _update(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    target = _target(model, command)
    _require_undeleted(model, command, target)
    return {target.version: fields_of(_params(command, Metadata))}


def _promote(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    target = _target(model, command)
    to = _params(command, Promotion).to
    name = f"{model.name} {target.version}"
    _require_undeleted(model, command, target)
    if target.stage == "archived":
        raise CommandRejected(f"promote: {name} is archived; roll its archiving back first")
    if target.stage == to:
        raise CommandRejected(f"promote: {name} is already in {to}")
    if to == "staging":
        if target.stage == "production":
            raise CommandRejected(
                f"promote: {name} is in production; promote another version and it goes back to "
                "staging"
            )
        return {target.version: {"stage": "staging"}}
    return _production(model, target.version, command)


def _archive(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    target = _target(model, command)
    _params(command, NoParams)
    if target.stage == "production":
        raise CommandRejected(
            f"archive: {model.name} {target.version} is in production; promote another version "
            "first"
        )
    return {target.version: {"stage": "archived"}}


def _delete(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    target = _target(model, command)
    _params(command, NoParams)
    _require_undeleted(model, command, target)
    if target.stage != "archived":
        raise CommandRejected(
            f"delete: {model.name} {target.version} is in {target.stage}; archive it first"
        )
    return {target.version: {"deleted_at": command.timestamp}}


def _require_undeleted(model: RegisteredModel, command: RegistryCommand, target: _Target) -> None:
    """Reject a command to a version that is deleted."""
    deleted_at = target.state.fields.get("deleted_at")
    if deleted_at is not None:
        raise CommandRejected(
            f"{command.command}: {model.name} {target.version} is deleted since {deleted_at}; roll "
            "its deletion back first"
        )


def _set_threshold(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    target = _target(model, command)
    _require_undeleted(model, command, target)
    if target.stage == "archived":
        raise CommandRejected(f"set_threshold: {model.name} {target.version} is archived")
    return {target.version: {"threshold": _params(command, ThresholdParams).threshold}}


def _set_labels(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    if command.model_version:
        raise CommandRejected(
            "set_labels: labels belong to the model, not to a version; leave model_version out"
        )
    params = _params(command, LabelParams)
    labels = params.labels
    if labels is not None:
        if len(set(labels)) < len(labels):
            raise CommandRejected("set_labels: a label is there twice")
        if params.positive_label not in (None, *labels):
            raise CommandRejected(
                f"set_labels: the positive label {params.positive_label!r} is not one of the labels"
            )
    _require_free_labels(command, config)
    known = model.version(MODEL)
    wanted: Fields = {"labels": labels, "positive_label": params.positive_label}
    if known is not None and all(known.fields.get(name) == wanted[name] for name in wanted):
        return {}
    is_set = any(value is not None for value in wanted.values())
    return {MODEL: wanted | {"set_by": command.requested_by if is_set else None}}


def _set_rule_level(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    if command.model_version:
        raise CommandRejected(
            "set_rule_level: rules belong to the model, not to a version; leave model_version out"
        )
    # What reports stand for has rules, but no versions.
    if config.subject == "model" and not model.head.n_versions:
        raise CommandRejected(
            f"set_rule_level: no version of {model.name} is registered; is the name right?"
        )
    change, levels = _params(command, LevelChange), model.rules().rules
    try:
        name, values = changed_level(config, levels, change)
        if values is None:
            return {MODEL: {RULE + name: None}}
        if name in levels and levels[name].values == values:
            return {}
        instead_of = values_without(config, name, values)
    except ValueError as error:
        raise CommandRejected(f"set_rule_level: {error}") from error
    level = RuleLevel(
        values=values,
        instead_of=instead_of,
        revision=model.revision + 1,
        set_by=command.requested_by,
        set_at=command.timestamp,
        reason=command.reason,
    )
    return {MODEL: {RULE + name: to_plain(level)}}


def _record_labels(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    if command.requested_by != SYSTEM:
        raise CommandRejected(
            "record_labels: only Driftline records the classes that the events have settled; use "
            "set_labels to set them"
        )
    return {MODEL: {"settled": fields_of(_params(command, LabelFact))}}


def _require_free_labels(command: RegistryCommand, config: ModelConfig) -> None:
    """Reject labels that the configuration names, or that do not fit to what it names."""
    labels, positive = (command.params.get(name) for name in ("labels", "positive_label"))
    for name, value in (("labels", labels), ("positive_label", positive)):
        if value is not None and getattr(config, name) is not None:
            raise CommandRejected(
                f"set_labels: the configuration sets {name} of {command.model_name}; change it "
                "there"
            )
    named = labels if positive is None else config.labels
    wanted = config.positive_label if positive is None else positive
    if named is not None and wanted is not None and wanted not in named:
        raise CommandRejected(
            f"set_labels: the positive label {wanted!r} is not one of the labels {list(named)}; "
            "the configuration names one of both"
        )


def _record_reference(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    target = _target(model, command)
    fact = _params(command, ReferenceFact)
    if log.profile_differs(_profile(command, fact)):
        raise CommandRejected(
            f"record_reference: {fact.reference_id!r} is the name of another profile of "
            f"{model.name}; give this one a reference_id of its own"
        )
    return {target.version: {"reference_id": fact.reference_id}}


def _record_baseline(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    target = _target(model, command)
    maturity = _params(command, BaselineFact).maturity
    field = BASELINE + maturity
    recorded_by = target.state.fields.get(field, {}).get("recorded_by", SYSTEM)
    if command.requested_by == SYSTEM != recorded_by:
        raise CommandRejected(
            f"record_baseline: {recorded_by} recorded the baseline of {model.name} "
            f"{target.version} at maturity {maturity}; it stays until a person records another one"
        )
    baseline = {name: value for name, value in command.params.items() if name != "maturity"}
    return {target.version: {field: baseline | {"recorded_by": command.requested_by}}}


def _rollback(
    model: RegisteredModel, command: RegistryCommand, log: ModelLog, config: ModelConfig
) -> Change:
    params = _params(command, Rollback)
    if params.to_revision is not None:
        if params.only is not None:
            raise CommandRejected("rollback: give either to_revision or only, not both")
        return _go_back(model, params.to_revision, log)
    target = _target(model, command)
    if params.only == "configuration":
        return _undo_configuration(model, target, log)
    if params.only == "version":
        return _to_version_before(model, target, command)
    return _undo_last(model, target, log)


def _undo_last(model: RegisteredModel, target: _Target, log: ModelLog) -> Change:
    """Undo the last change of a version's settings, for every version that it changed.

    Doing it twice restores the change.
    """
    revision = target.state.settings_at
    if not revision:
        raise CommandRejected(
            f"rollback: nothing was set for {model.name} {target.version} since its registration; "
            "use archive to retire it"
        )
    event = log.event(revision)
    before, after = event.before or {}, event.after or {}
    change: Change = {}
    for version, fields in before.items():
        settings = _settings(fields)
        current = model.fields(version)
        moved_on = [name for name in settings if current.get(name) != after[version][name]]
        if moved_on:
            raise CommandRejected(
                f"rollback: revision {revision} ({event.event}) changed {', '.join(moved_on)} of "
                f"{version} too, which moved on since; name the revision to go back to "
                "(to_revision)"
            )
        change[version] = settings
    _require_one_champion(model, change)
    return change


def _undo_configuration(model: RegisteredModel, target: _Target, log: ModelLog) -> Change:
    """Threshold and configuration of a version before the last change of either."""
    revision, name = target.state.configuration_at, f"{model.name} {target.version}"
    if not revision:
        raise CommandRejected(
            f"rollback: neither threshold nor configuration of {name} was changed since its "
            "registration"
        )
    event = log.event(revision)
    if event.event == "rollback":
        raise CommandRejected(
            f"rollback: the last change of threshold or configuration of {name} was itself a "
            f"rollback (revision {revision}); name the revision to go back to (to_revision)"
        )
    before = (event.before or {})[target.version]
    return {target.version: {field: before[field] for field in CONFIGURATION if field in before}}


def _to_version_before(model: RegisteredModel, target: _Target, command: RegistryCommand) -> Change:
    """The version in production gives way to the one that was there when it was promoted."""
    name = f"{model.name} {target.version}"
    if target.stage != "production":
        raise CommandRejected(f"rollback: {name} is in {target.stage}, not in production")
    before = target.state.replaced
    state = None if before is None else model.version(before)
    if before is None or state is None:
        raise CommandRejected(f"rollback: no version was in production before {name}")
    if state.fields["stage"] == "archived":
        raise CommandRejected(
            f"rollback: {before}, which was in production before {name}, is archived"
        )
    return _production(model, before, command)


def _production(model: RegisteredModel, version: str, command: RegistryCommand) -> Change:
    """A version goes to production, the champion back to staging."""
    change: Change = {
        version: {
            "stage": "production",
            "deployed_at": command.timestamp,
            "promoted_by": command.requested_by,
        }
    }
    if model.head.champion is not None:
        change[model.head.champion] = {"stage": "staging"}
    return change


def _require_one_champion(model: RegisteredModel, change: Change) -> None:
    """Reject a change that puts a version in production beside the champion."""
    champion = model.head.champion
    if champion is None or change.get(champion, {}).get("stage", "production") != "production":
        return
    returning = [
        version
        for version, fields in change.items()
        if version != champion and fields.get("stage") == "production"
    ]
    if returning:
        raise CommandRejected(
            f"rollback: this would put {model.name} {', '.join(returning)} in production, where "
            f"{champion} is now; promote it, or name the revision to go back to (to_revision)"
        )


def _go_back(model: RegisteredModel, to_revision: int, log: ModelLog) -> Change:
    """The settings of all versions as they were after `to_revision`.

    Versions registered later stay, but not in production.
    """
    if to_revision >= model.revision:
        raise CommandRejected(
            f"rollback: {model.name} is at revision {model.revision}; to_revision {to_revision} "
            "does not lie before it"
        )
    change: Change = {}
    for revision in range(model.revision, to_revision, -1):
        event = log.event(revision)
        before, after = event.before or {}, event.after or {}
        for version in after:
            if version in before:
                change[version] = change.get(version, {}) | _settings(before[version])
            elif version == MODEL:
                unset = dict.fromkeys(_settings(after[version]))
                change[version] = change.get(version, {}) | unset
            elif model.head.champion == version:
                change[version] = {"stage": "staging"}
            else:
                change[version] = {}
    return change


def _settings(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if is_setting(name)}


def _version(command: RegistryCommand) -> str:
    if not command.model_version:
        raise CommandRejected(f"{command.command}: model_version is missing")
    return command.model_version


def _target(model: RegisteredModel, command: RegistryCommand) -> _Target:
    version = _version(command)
    state = model.version(version)
    if state is None:
        raise CommandRejected(
            f"{command.command}: {model.name} {version} is not registered; {_registered(model)}"
        )
    return _Target(version, state)


def _registered(model: RegisteredModel) -> str:
    """The registered versions, for an error message: all, or the newest of many."""
    names = ", ".join(model.head.newest) or "none"
    if model.head.n_versions <= NAMED_VERSIONS:
        return f"registered versions: {names}"
    return f"{model.head.n_versions:,} versions are, the newest: {names}"


def _params(command: RegistryCommand, kind: type[_P]) -> _P:
    try:
        return from_plain(kind, command.params)
    except msgspec.ValidationError as error:
        message = str(error).replace("$", "params")
        raise CommandRejected(f"{command.command}: {message}") from error


_COMMANDS: dict[
    str, Callable[[RegisteredModel, RegistryCommand, ModelLog, ModelConfig], Change]
] = {
    "archive": _archive,
    "delete": _delete,
    "promote": _promote,
    "record_baseline": _record_baseline,
    "record_labels": _record_labels,
    "record_reference": _record_reference,
    "register": _register,
    "rollback": _rollback,
    "set_labels": _set_labels,
    "set_rule_level": _set_rule_level,
    "set_threshold": _set_threshold,
    "update": _update,
}
