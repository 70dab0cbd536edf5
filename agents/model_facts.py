"""What is in force for one model version, with its newest figures, alerts and changes.

How all versions are, at a glance, is `model_status.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from driftline.agents.model_status import ModelStatus, at_judged_rung, statuses
from driftline.agents.read_model.figure_reads import SeriesFilter, only, window_of_a_day
from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import (
    ModelLabels,
    ModelRules,
    RegistryEntry,
    RegistryEvent,
    RuleLevel,
    WindowFigures,
)
from driftline.schemas.topics import MODEL_LABELS, MODEL_RULES, REGISTRY, REGISTRY_EVENTS
from driftline.streams.lanes import ALL
from driftline.streams.registry.history import history

if TYPE_CHECKING:
    from driftline.agents.read_model.read_model import Reads
    from driftline.schemas.settings import Config, ModelConfig

Origin = Literal["configuration", "command", "events"]
"""What decides about labels: the configuration, the command `set_labels`, or the events."""
MOST_CHANGES: Final = 5
_MOST_NAMED: Final = 20


class UnknownVersion(DriftlineError):
    """No such model or version is registered; the message names those that are."""


class LabelsInForce(msgspec.Struct, kw_only=True):
    """The classes of a model and the positive one, each with what decides about it; null where
    nothing does yet.
    """

    labels: list[str] | None = None
    labels_by: Origin | None = None
    positive_label: str | None = None
    positive_by: Origin | None = None


class ModelFacts(msgspec.Struct, kw_only=True):
    """One model version.

    Attributes
    ----------
    entry
        Its registry entry.
    versions
        The stage of each version of the model, by name.
    labels
        The labels of the model.
    rules
        What commands have set of the alert rules of the model, by rule.
    status
        The judged metric, open alerts, and rules that cannot judge.
    figures
        The newest complete window of a day, or of the size nearest to one, at the first rung with
        95 % of the labels; null without any.
    changes
        The newest changes of the version, and those of labels and rules of the model, newest first.
    """

    entry: RegistryEntry
    versions: dict[str, str]
    labels: LabelsInForce
    rules: dict[str, RuleLevel]
    status: ModelStatus
    figures: WindowFigures | None
    changes: list[RegistryEvent]


def facts_of(reads: Reads, config: Config, name: str) -> ModelFacts:
    """What is in force for a model version.

    Parameters
    ----------
    config
        The settings in force.
    name
        As for `find_entry`.

    Raises
    ------
    UnknownVersion
        If it is not registered.
    """
    entry, entries = find_entry(reads, name)
    model, version = entry.model_name, entry.model_version
    found = statuses(reads, config, model_name=model, model_version=version, deleted=True)
    levels = reads.records.latest(MODEL_RULES, ModelRules, model_name=model)
    events = reads.records.all(REGISTRY_EVENTS, RegistryEvent, model_name=model)
    changes = [
        event
        for event in history(events, rejected=False)
        if event.model_version in (None, version) or version in (event.after or {})
    ]
    return ModelFacts(
        entry=entry,
        versions={each.model_version: each.stage for each in entries},
        labels=labels_in_force(
            config.for_model(model),
            next(reads.records.latest(MODEL_LABELS, ModelLabels, model_name=model), None),
        ),
        rules=next((each.rules for each in levels), {}),
        status=next(each for each in found if each.stage is not None),
        figures=_figures_of_a_day(reads, entry),
        changes=changes[:MOST_CHANGES],
    )


def find_entry(reads: Reads, name: str) -> tuple[RegistryEntry, list[RegistryEntry]]:
    """The entry of a model version, and those of all versions of its model.

    Parameters
    ----------
    name
        "churn@1.4.2", or "churn" for its version in production, else the newest one that is not
        deleted, else the newest one.

    Raises
    ------
    UnknownVersion
        If it is not registered.
    """
    models: dict[str, list[RegistryEntry]] = {}
    for entry in reads.records.latest(REGISTRY, RegistryEntry):
        models.setdefault(entry.model_name, []).append(entry)
    model, _, version = (name, "", "") if name in models else name.rpartition("@")
    entries = sorted(models.get(model, []), key=_age)
    if not entries:
        raise UnknownVersion(
            f'no version of a model "{model or name}" is registered; models: {_listed(models)}'
        )
    if not version:
        return max(entries, key=_use), entries
    for entry in entries:
        if entry.model_version == version:
            return entry, entries
    known = [entry.model_version for entry in entries]
    raise UnknownVersion(f"{model} {version} is not registered; versions: {_listed(known)}")


def labels_in_force(config: ModelConfig, known: ModelLabels | None) -> LabelsInForce:
    """The labels of a model: of the configuration, else of a command, else of the events."""
    found = LabelsInForce()
    settled = None if known is None else known.settled
    if config.labels is not None:
        found.labels, found.labels_by = list(config.labels), "configuration"
    elif known is not None and known.labels is not None:
        found.labels, found.labels_by = known.labels, "command"
    elif settled is not None:
        found.labels, found.labels_by = settled.labels, "events"
    if config.positive_label is not None:
        found.positive_label, found.positive_by = config.positive_label, "configuration"
    elif known is not None and known.positive_label is not None:
        found.positive_label, found.positive_by = known.positive_label, "command"
    elif settled is not None and settled.positive_label is not None:
        found.positive_label, found.positive_by = settled.positive_label, "events"
    return found


def _figures_of_a_day(reads: Reads, entry: RegistryEntry) -> WindowFigures | None:
    wanted = SeriesFilter(
        model_name=entry.model_name,
        model_version=entry.model_version,
        segment=ALL,
        lane="decisions",
    )
    series = reads.figures.series(wanted)
    window = window_of_a_day(series)
    records = [
        record
        for each in series
        if each.window == window
        for record in reads.figures.newest_whole(only(each))
    ]
    return at_judged_rung(records) if records else None


def _age(entry: RegistryEntry) -> tuple[str, str]:
    return entry.registered_at or "", entry.model_version


def _use(entry: RegistryEntry) -> tuple[bool, bool, tuple[str, str]]:
    return entry.stage == "production", entry.deleted_at is None, _age(entry)


def _listed(names: dict[str, list[RegistryEntry]] | list[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    return (", ".join(listed[-_MOST_NAMED:]) or "none") + more
