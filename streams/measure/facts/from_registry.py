"""Registry entries, applied to the models of stage 2; each new revision has an effect record."""

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
    since_deployment: SinceDeployment,
    frontier_ms: int,
    pane_ms: int,
    state: State,
) -> list[Record]:
    """Apply the entries of one model's versions, in force from the next step on.

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
    facts = model.facts
    before = facts.revision
    for entry in entries:
        facts.revision = max(facts.revision, entry.revision)
        known = facts.registry.get(entry.model_version)
        reference = entry.reference or {}
        profile = reference.get(PROFILE)
        if profile is not None and (known is None or known.reference_id != entry.reference_id):
            state.put(profile_key(model, entry.model_version), msgspec.msgpack.encode(profile))
        since_ms = known.since_ms if known is not None else None
        if entry.deployed_at is not None:
            # The rows before a deployment are dropped, so a rollback to an earlier deployment
            # cannot restore them.
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
        if since_ms is not None and (known is None or since_ms != known.since_ms):
            since_deployment.restart(model, entry.model_version, state)
    # One record per revision, even if entries of several revisions share a batch.
    revisions = sorted({entry.revision for entry in entries if entry.revision > before})
    return [
        Record(
            topics.REGISTRY_EFFECTS,
            RegistryEffect(
                model_name=model.name, revision=revision, frontier=format_time(frontier_ms)
            ),
        )
        for revision in revisions
    ]
