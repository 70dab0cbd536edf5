"""Taking in what the registry says, and telling from when on it was used."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from driftline.schemas import topics
from driftline.schemas.results import RegistryEffect, RegistryEntry
from driftline.schemas.times import format_time, parse_time
from driftline.streams.measure.counts.model import MeasuredModel, RegisteredVersion
from driftline.streams.measure.counts.since_deployment import SinceDeployment
from driftline.streams.measure.drift.profiles import profile_key
from driftline.streams.stage import Record, State

PROFILE, SPAN = "profile", "span"


def apply_entries(
    model: MeasuredModel,
    entries: Sequence[RegistryEntry],
    since: SinceDeployment,
    frontier_ms: int,
    pane_ms: int,
    state: State,
) -> list[Record]:
    """The state in force of versions of one model, from the next step on; each new revision leaves
    a record of its effect.
    """
    facts = model.facts
    before = facts.revision
    for entry in entries:
        facts.revision = max(facts.revision, entry.revision)
        held = facts.registry.get(entry.model_version)
        reference = entry.reference or {}
        profile = reference.get(PROFILE)
        if profile is not None and (held is None or held.reference_id != entry.reference_id):
            state.put(profile_key(model, entry.model_version), msgspec.msgpack.encode(profile))
        since_ms = held.since_ms if held is not None else None
        if entry.deployed_at is not None:
            # The rows before a deployment are forgotten, so a rollback to an earlier one cannot
            # bring them back.
            deployed_ms = (parse_time(entry.deployed_at) // pane_ms + 1) * pane_ms
            if since_ms is None or deployed_ms > since_ms:
                since_ms = deployed_ms
        span = reference.get(SPAN)
        facts.registry[entry.model_version] = RegisteredVersion(
            stage=entry.stage,
            since_ms=since_ms,
            reference_id=entry.reference_id if profile is not None else None,
            span=(parse_time(span[0]), parse_time(span[1])) if span else None,
        )
        if since_ms is not None and (held is None or since_ms != held.since_ms):
            since.restart(model, entry.model_version, state)
    # One for each revision, however many came at once: how commands were gathered leaves no trace.
    revisions = sorted(
        dict.fromkeys(entry.revision for entry in entries if entry.revision > before)
    )
    effects = [
        RegistryEffect(model_name=model.name, revision=revision, frontier=format_time(frontier_ms))
        for revision in revisions
    ]
    return [Record(topics.REGISTRY_EFFECTS, effect) for effect in effects]
