"""The state of one model in the registry, and how one event changes it.

An event carries, by version, the fields that it changed with their values before and after.
Everything else (the state in force, the state as of then, a rollback) is these differences applied
forwards or backwards. Which differences a command may make is `commands.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from driftline.schemas.results import RegistryEntry, RegistryEvent

REJECTED = "rejected"

BASELINE = "baselines."
"""Each baseline is a field of its own, such as "baselines.1d", so that an event shows the one that
it changed.
"""

Fields = dict[str, Any]
"""Fields of a `RegistryEntry` by name, as plain values; a field without a value is left out."""
Change = dict[str, Fields]
"""New values of fields by version; None takes a value away."""

_IDENTITY = ("model_name", "model_version", "revision")


class Model(msgspec.Struct, frozen=True):
    """All versions of one model as they stand at one revision.

    Parameters
    ----------
    name
        The model.
    revision
        Number of changes so far; every accepted command adds one.
    versions
        Fields by version, in the order of registration.
    changed_at
        Revision at which a version changed last.
    """

    name: str
    revision: int = 0
    versions: dict[str, Fields] = {}
    changed_at: dict[str, int] = {}

    def entry(self, version: str) -> RegistryEntry:
        """The state in force of one version, as the `registry` topic has it."""
        held = self.versions[version]
        fields = {name: value for name, value in held.items() if not name.startswith(BASELINE)}
        fields["baselines"] = {
            name.removeprefix(BASELINE): value
            for name, value in held.items()
            if name.startswith(BASELINE)
        }
        fields |= {
            "model_name": self.name,
            "model_version": version,
            "revision": self.changed_at[version],
        }
        return msgspec.convert(fields, RegistryEntry)

    def entries(self) -> list[RegistryEntry]:
        """All versions in the order of their registration."""
        return [self.entry(version) for version in self.versions]

    def in_production(self) -> str | None:
        """The version in production, if there is one."""
        return next(
            (
                version
                for version, fields in self.versions.items()
                if fields["stage"] == "production"
            ),
            None,
        )


def difference(model: Model, change: Change) -> tuple[Change, Change]:
    """Before and after of what `change` alters: fields that keep their value, and versions that
    keep all, are left out.

    Examples
    --------
    >>> model = Model("churn", 1, {"1.0.0": {"stage": "staging"}}, {"1.0.0": 1})
    >>> difference(model, {"1.0.0": {"stage": "production", "threshold": None}})
    ({'1.0.0': {'stage': 'staging'}}, {'1.0.0': {'stage': 'production'}})
    """
    before: Change = {}
    after: Change = {}
    for version, wanted in change.items():
        held = model.versions.get(version)
        altered = {
            name: value for name, value in wanted.items() if held is None or held.get(name) != value
        }
        if held is not None and not altered:
            continue
        after[version] = altered
        if held is not None:
            before[version] = {name: held.get(name) for name in altered}
    return before, after


def apply(model: Model, event: RegistryEvent) -> Model:
    """The model after an event; rejections and dry runs change nothing.

    Raises
    ------
    ValueError
        If the event is not the next one: a log with a hole has no state.
    """
    if event.event == REJECTED or event.dry_run:
        return model
    if event.revision != model.revision + 1:
        raise ValueError(
            f"registry of {model.name}: after revision {model.revision} comes {event.revision}; the log has a hole"
        )
    versions = dict(model.versions)
    for version, fields in (event.after or {}).items():
        versions[version] = merged(versions.get(version, {}), fields)
    changed_at = model.changed_at | dict.fromkeys(event.after or {}, event.revision)
    return Model(model.name, event.revision, versions, changed_at)


def merged(held: Mapping[str, Any], fields: Mapping[str, Any]) -> Fields:
    """`held` with `fields` over it; None takes a field away."""
    return {name: value for name, value in {**held, **fields}.items() if value is not None}


def fields_of(entry: msgspec.Struct) -> Fields:
    """The values of an entry or of a command's parameters that are set, without those that say
    which version it is.
    """
    plain = msgspec.to_builtins(entry)
    return {
        name: value for name, value in plain.items() if name not in _IDENTITY and value is not None
    }
