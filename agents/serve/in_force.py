"""What the registry had in force, now or at an earlier time."""

from __future__ import annotations

from driftline.agents.read_model.read_model import Reads
from driftline.agents.serve.route import Unanswerable
from driftline.schemas.results import (
    ModelLabels,
    ModelRules,
    RegistryEntry,
    RegistryEvent,
    RuleWindows,
)
from driftline.schemas.times import format_time
from driftline.schemas.topics import (
    MODEL_LABELS,
    MODEL_RULES,
    REGISTRY,
    REGISTRY_EVENTS,
    RULE_WINDOWS,
)
from driftline.streams.registry.history import as_of
from driftline.streams.registry.model_state import MODEL, RegisteredModel


def entries_at(
    reads: Reads,
    at_ms: int | None,
    *,
    model_name: str | None = None,
    model_version: str | None = None,
) -> list[RegistryEntry]:
    """The entries in force, in the order of their names.

    Parameters
    ----------
    at_ms
        None for now.

    Raises
    ------
    Unanswerable
        As `models_at`.
    """
    if at_ms is None:
        entries = list(
            reads.records.latest(
                REGISTRY, RegistryEntry, model_name=model_name, model_version=model_version
            )
        )
    else:
        entries = [
            entry
            for model in models_at(reads, at_ms, model_name).values()
            for entry in model.entries()
            if model_version in (None, entry.model_version)
        ]
    return sorted(entries, key=lambda each: (each.model_name, each.model_version))


def rules_at(
    reads: Reads, at_ms: int | None, *, model_name: str | None = None
) -> dict[str, ModelRules]:
    """By model, the levels of rules that commands have set."""
    if at_ms is None:
        latest = reads.records.latest(MODEL_RULES, ModelRules, model_name=model_name)
        return {each.model_name: each for each in latest}
    return {name: model.rules() for name, model in models_at(reads, at_ms, model_name).items()}


def models_at(reads: Reads, at_ms: int, model_name: str | None) -> dict[str, RegisteredModel]:
    """The registry as it was.

    Raises
    ------
    Unanswerable
        If the index no longer has the first changes of a model.
    """
    events = reads.records.all(REGISTRY_EVENTS, RegistryEvent, model_name=model_name)
    try:
        return as_of(events, at_ms=at_ms)
    except ValueError as error:
        raise Unanswerable(
            parameter="at",
            needed="all changes of the registry up to that time",
            got=f"{format_time(at_ms)}: {error}",
            remedy="leave `at` out, or export the topic registry-events from its beginning",
        ) from error


def labels_at(reads: Reads, at_ms: int | None, model_name: str) -> ModelLabels | None:
    """What is known of the labels of a model. At an earlier time: what commands had set; what the
    events settled has no time.
    """
    if at_ms is None:
        return next(reads.records.latest(MODEL_LABELS, ModelLabels, model_name=model_name), None)
    model = models_at(reads, at_ms, model_name).get(model_name)
    return None if model is None or model.version(MODEL) is None else model.labels()


def rule_windows_at(
    reads: Reads, at_ms: int | None, *, model_name: str | None, model_version: str | None
) -> list[RuleWindows]:
    """The records that say which windows rules read, up to a time."""
    records = reads.records.all(
        RULE_WINDOWS, RuleWindows, model_name=model_name, model_version=model_version
    )
    return [record for record in records if at_ms is None or record.at_ms <= at_ms]
