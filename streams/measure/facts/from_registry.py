"""Registry entries, applied to the models of stage 2; each new revision has an effect record."""

from __future__ import annotations

from collections.abc import Sequence

from driftline.schemas import topics
from driftline.schemas.results import (
    ModelLabels,
    ModelRules,
    ReferenceProfile,
    RegistryEffect,
    RegistryEntry,
)
from driftline.schemas.times import format_time, parse_time
from driftline.streams.measure.counts.labels import ConfiguredLabels
from driftline.streams.measure.counts.model import MeasuredModel, RegisteredVersion
from driftline.streams.measure.counts.since_deployment import SinceDeployment
from driftline.streams.measure.drift.profiles import put_profile, stored_profile
from driftline.streams.stage import Record, State


def store_profile(model: MeasuredModel, profile: ReferenceProfile, state: State) -> None:
    """Keep a reference profile for the entries that name it."""
    span = (
        (parse_time(profile.span[0]), parse_time(profile.span[1]))
        if profile.span is not None
        else None
    )
    put_profile(model, profile.reference_id, span, profile.profile, profile.losses, state)


def apply_entries(
    model: MeasuredModel,
    entries: Sequence[RegistryEntry],
    labels: Sequence[ModelLabels],
    rules: Sequence[ModelRules],
    since_deployment: SinceDeployment,
    frontier_ms: int,
    pane_ms: int,
    state: State,
) -> list[Record]:
    """Apply the entries of one model's versions and its labels, in force from the next step on.

    Levels of rules change no figure: of `rules` only the revision is taken.

    Parameters
    ----------
    frontier_ms
        Stream time of the last step before the entries, for the effect records.
    pane_ms
        Length of a pane.

    Returns
    -------
    list
        One effect record for each new revision.
    """
    registry = model.registry
    before = registry.revision
    for entry in entries:
        known = registry.versions.get(entry.model_version)
        since_ms = known.since_ms if known is not None else None
        if entry.deployed_at is not None:
            # The rows before a deployment are dropped, so a rollback to an earlier deployment
            # cannot restore them.
            deployed_ms = (parse_time(entry.deployed_at) // pane_ms + 1) * pane_ms
            if since_ms is None or deployed_ms > since_ms:
                since_ms = deployed_ms
        registered = _registered(model, entry, known, since_ms, state)
        registry.put(entry.model_version, registered, state)
        registry.advance(entry.revision, state)
        if since_ms is not None and (known is None or since_ms != known.since_ms):
            since_deployment.restart(model, entry.model_version, state)
    for each in labels:
        registered_labels = ConfiguredLabels(
            None if each.labels is None else tuple(each.labels), each.positive_label
        )
        model.facts.label_set = model.facts.label_set.with_registered(
            registered_labels, model.configured_labels
        )
        registry.advance(each.revision, state)
        model.write(state)
    for of_rules in rules:
        registry.advance(of_rules.revision, state)
    # One record per revision, even if entries of several revisions share a batch.
    applied = [
        *(entry.revision for entry in entries),
        *(each.revision for each in labels),
        *(of_rules.revision for of_rules in rules),
    ]
    revisions = sorted({revision for revision in applied if revision > before})
    return [
        Record(
            topics.REGISTRY_EFFECTS,
            RegistryEffect(
                model_name=model.name, revision=revision, frontier=format_time(frontier_ms)
            ),
        )
        for revision in revisions
    ]


def _registered(
    model: MeasuredModel,
    entry: RegistryEntry,
    known: RegisteredVersion | None,
    since_ms: int | None,
    state: State,
) -> RegisteredVersion:
    """A version after an entry, with the span of the reference that the entry names."""
    if known is not None and known.reference_id == entry.reference_id:
        return RegisteredVersion(entry.stage, since_ms, known.reference_id, known.span)
    stored = stored_profile(model, entry.reference_id, state) if entry.reference_id else None
    if stored is None:
        return RegisteredVersion(entry.stage, since_ms)
    return RegisteredVersion(entry.stage, since_ms, entry.reference_id, stored.span)
