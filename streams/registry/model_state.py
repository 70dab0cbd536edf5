"""The registry's state of one model, and how one event changes it.

An event carries, by version, the fields that it changed with their values before and after. The
state in force, the state at an earlier time and a rollback are these differences applied forwards
or backwards. Which differences a command may make is decided in `commands.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from driftline.schemas.results import ModelLabels, ModelRules, RegistryEntry, RegistryEvent
from driftline.schemas.topics import MODEL_LABELS, MODEL_RULES, REGISTRY
from driftline.streams.stage import Record

REJECTED: Final = "rejected"

MODEL: Final = ""
"""Stands in place of a version for the fields of the model itself, such as its labels."""

BASELINE: Final = "baselines."
"""Each baseline is a field of its own, such as "baselines.1d", so that an event shows the one that
it changed.
"""

RULE: Final = "rules."
"""What a command has set of each alert rule is a field of the model itself, such as
"rules.accuracy".
"""

SETTINGS: Final = (
    "stage",
    "threshold",
    "configuration",
    "deployed_at",
    "promoted_by",
    "deleted_at",
    "labels",
    "positive_label",
    "set_by",
)
"""Fields that a rollback restores, beside those of rules.

Facts (references, baselines, the owner) keep their newest value.
"""

CONFIGURATION: Final = ("threshold", "configuration")
"""Those of `SETTINGS` that say how a version decides, not where it is used."""

NAMED_VERSIONS: Final = 10
"""Number of the newest versions that the head names, for error messages."""

Fields = dict[str, Any]
"""Fields of a `RegistryEntry` by name, as plain values; a field without a value is left out."""
Change = dict[str, Fields]
"""New values of fields by version; None removes a value."""

_IDENTITY = ("model_name", "model_version", "revision")


class VersionState(msgspec.Struct):
    """One model version at the newest revision of its model.

    Parameters
    ----------
    fields
        What its registry entry holds.
    changed_at
        Revision that changed it last.
    settings_at, configuration_at
        Revision after its registration that changed one of `SETTINGS`, or of `CONFIGURATION`, last;
        0 without one.
    replaced
        The version that was in production when this one was promoted to it.
    """

    fields: Fields
    changed_at: int
    settings_at: int = 0
    configuration_at: int = 0
    replaced: str | None = None


class ModelHead(msgspec.Struct):
    """The part of a model that every change updates; its size is bounded.

    Parameters
    ----------
    revision
        Number of changes so far; every accepted command adds one.
    champion
        The version in production.
    n_versions
        Number of registered versions.
    newest
        Names of the last `NAMED_VERSIONS` of them, in the order of registration.
    """

    revision: int = 0
    champion: str | None = None
    n_versions: int = 0
    newest: list[str] = []


class RegisteredModel:
    """One model: its head, and the versions that were read so far.

    Parameters
    ----------
    name
        The model.
    head
        None for a model without a revision.
    read
        Reads a version from the state of the stage. Without it, the model has the versions of the
        events applied to it: all of them, if its log is replayed from the start.
    """

    def __init__(
        self,
        name: str,
        head: ModelHead | None = None,
        read: Callable[[str], VersionState | None] | None = None,
    ) -> None:
        self.name = name
        self.head = ModelHead() if head is None else head
        self._read = read
        self._versions: dict[str, VersionState] = {}

    @property
    def revision(self) -> int:
        """Number of changes so far."""
        return self.head.revision

    def version(self, version: str) -> VersionState | None:
        """The state of one version; None if it is not registered."""
        state = self._versions.get(version)
        if state is None and self._read is not None:
            state = self._read(version)
            if state is not None:
                self._versions[version] = state
        return state

    def fields(self, version: str) -> Fields:
        """Fields of a registered version.

        Raises
        ------
        KeyError
            If the version is not registered.
        """
        state = self.version(version)
        if state is None:
            raise KeyError(version)
        return state.fields

    def entry(self, version: str) -> RegistryEntry:
        """The state in force of one version, as the `registry` topic carries it.

        Raises
        ------
        KeyError
            If the version is not registered.
        """
        fields: Fields = {"baselines": {}}
        for name, value in self.fields(version).items():
            if name.startswith(BASELINE):
                fields["baselines"][name.removeprefix(BASELINE)] = value
            else:
                fields[name] = value
        fields |= {
            "model_name": self.name,
            "model_version": version,
            "revision": self._versions[version].changed_at,
        }
        return msgspec.convert(fields, RegistryEntry)

    def entries(self) -> list[RegistryEntry]:
        """All versions of a model whose log was replayed, in the order of their registration."""
        return [self.entry(version) for version in self._versions if version != MODEL]

    def labels(self) -> ModelLabels:
        """The labels that the registry sets, as the topic `model-labels` carries them."""
        fields = {
            name: value for name, value in self.fields(MODEL).items() if not name.startswith(RULE)
        }
        return msgspec.convert(
            {**fields, "model_name": self.name, "revision": self._versions[MODEL].changed_at},
            ModelLabels,
        )

    def rules(self) -> ModelRules:
        """The levels of rules that commands have set, as the topic `model-rules` carries them."""
        state = self.version(MODEL)
        fields = {} if state is None else state.fields
        rules = {
            name.removeprefix(RULE): value
            for name, value in fields.items()
            if name.startswith(RULE)
        }
        plain = {
            "model_name": self.name,
            "revision": 0 if state is None else state.changed_at,
            "rules": rules,
        }
        return msgspec.convert(plain, ModelRules)

    def in_force(self, event: RegistryEvent) -> list[Record]:
        """What is in force of the versions, and of the model itself, that an event has changed."""
        records: list[Record] = []
        for version, fields in (event.after or {}).items():
            if version != MODEL:
                records.append(Record(REGISTRY, self.entry(version)))
                continue
            of_rules = [name for name in fields if name.startswith(RULE)]
            if len(of_rules) < len(fields):
                records.append(Record(MODEL_LABELS, self.labels()))
            if of_rules:
                records.append(Record(MODEL_RULES, self.rules()))
        return records

    def apply(self, event: RegistryEvent) -> list[str]:
        """Make the change of an event; rejections and dry runs change nothing.

        Returns
        -------
        list[str]
            Versions that changed, in the order of the event; `MODEL` for the model itself.

        Raises
        ------
        ValueError
            If the event is not the next one: a log with a hole has no state.
        """
        if event.event == REJECTED or event.dry_run:
            return []
        head = self.head
        if event.revision != head.revision + 1:
            raise ValueError(
                f"registry of {self.name}: after revision {head.revision} comes "
                f"{event.revision}; the log has a hole"
            )
        head.revision = event.revision
        champion, changed = head.champion, event.after or {}
        for version, fields in changed.items():
            state = self.version(version)
            if state is None:
                state = self._versions[version] = VersionState({}, event.revision)
                if version != MODEL:
                    head.n_versions += 1
                    head.newest = [*head.newest, version][-NAMED_VERSIONS:]
            else:
                if any(map(is_setting, fields)):
                    state.settings_at = event.revision
                if any(name in fields for name in CONFIGURATION):
                    state.configuration_at = event.revision
                # A rollback goes back along the versions, it adds none.
                if event.event == "promote" and fields.get("stage") == "production":
                    state.replaced = champion
            state.fields = _merged(state.fields, fields)
            state.changed_at = event.revision
            if fields.get("stage") == "production":
                head.champion = version
            elif "stage" in fields and head.champion == version:
                head.champion = None
        return list(changed)


def difference(model: RegisteredModel, change: Change) -> tuple[Change, Change]:
    """Before and after of what `change` alters.

    Fields that keep their value, and versions that keep all of them, are left out. A version that
    `before` leaves out is new. Versions stand in the order of their names, as on the topic, so that
    a log that is followed gives its entries in the same order.
    """
    before: Change = {}
    after: Change = {}
    for version, wanted in sorted(change.items()):
        state = model.version(version)
        if state is None:
            if set_fields := {name: value for name, value in wanted.items() if value is not None}:
                after[version] = set_fields
            continue
        altered = {name: value for name, value in wanted.items() if state.fields.get(name) != value}
        if altered:
            after[version] = altered
            before[version] = {name: state.fields.get(name) for name in altered}
    return before, after


def is_setting(name: str) -> bool:
    """Whether a rollback restores a field.

    Examples
    --------
    >>> is_setting("threshold"), is_setting("rules.accuracy"), is_setting("reference_id")
    (True, True, False)
    """
    return name in SETTINGS or name.startswith(RULE)


def fields_of(params: msgspec.Struct) -> Fields:
    """The values that are set in a command's parameters, without the name of the version."""
    plain = msgspec.to_builtins(params)
    return {
        name: value for name, value in plain.items() if name not in _IDENTITY and value is not None
    }


def _merged(fields: Mapping[str, Any], changed: Mapping[str, Any]) -> Fields:
    """`fields` with `changed` over it; None removes a field."""
    return {name: value for name, value in {**fields, **changed}.items() if value is not None}
