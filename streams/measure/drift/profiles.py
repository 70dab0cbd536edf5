"""Reference profiles: the summaries that drift compares with, in state and in the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from driftline.schemas.labels import MAX_FEATURES
from driftline.schemas.results import LostRows, from_plain, to_plain
from driftline.streams.lanes import ALL
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.drift.feature_shares import ShareSizes, share_sizes
from driftline.streams.measure.drift.targets import (
    FEATURE,
    FeatureTarget,
    SegmentTargets,
    effective_rows,
)
from driftline.streams.measure.drift.unwatched_features import UnwatchedFeatures
from driftline.streams.measure.state_keys import PROFILE, state_key
from driftline.streams.stage import State
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.work_slices import WorkSlices

LEAST_ROWS: Final = 2
ROWS_A_VALUE: Final = 1_000
"""A feature is watched if one row in so many of the reference has a value, LEAST_ROWS at least. A
rarer one cannot be judged, and a few predictions with thousands of features of their own would make
each a drift target for as long as the reference is in force.
"""
MOST_WATCHED: Final = MAX_FEATURES
"""Most features of a reference, by segment."""


class ReferenceTarget(msgspec.Struct, frozen=True):
    """One target of a reference: its summary, and its number of independent rows, if known, of its
    values and for its shares.
    """

    summary: FeatureSummary
    effective: float | None
    share_sizes: ShareSizes = ShareSizes()


ReferenceTargets = Mapping[str, Mapping[str, ReferenceTarget]]
"""The reference by segment and target."""


class StoredProfile(msgspec.Struct, array_like=True):
    """A reference profile in state.

    Attributes
    ----------
    span
        Event time of its rows, start and end in ms; None for an uploaded profile.
    profile
        MessagePack of the plain form.
    losses
        Plain forms of the lost rows that may belong to the span.
    """

    span: tuple[int, int] | None
    profile: msgspec.Raw
    losses: list[dict[str, Any]] = []


def put_profile(
    model: MeasuredModel,
    reference_id: str,
    span: tuple[int, int] | None,
    profile: Mapping[str, object],
    losses: Sequence[LostRows],
    state: State,
) -> None:
    """Keep the profile of this name."""
    raw = msgspec.Raw(msgspec.msgpack.encode(profile))
    stored = StoredProfile(span, raw, [to_plain(loss) for loss in losses])
    state.put(_profile_key(model, reference_id), msgspec.msgpack.encode(stored))


def stored_profile(model: MeasuredModel, reference_id: str, state: State) -> StoredProfile | None:
    """The profile of this name, not decoded; None if no record brought it."""
    data = state.get(_profile_key(model, reference_id))
    return None if data is None else _decode_stored(data)


class Reference(NamedTuple):
    """A reference to compare with.

    Attributes
    ----------
    targets
        Its targets; empty if no record brought the profile.
    losses
        Lost rows that may belong to its span.
    span_ms
        Length of its span; None for an uploaded profile.
    """

    targets: ReferenceTargets
    losses: list[LostRows]
    span_ms: int | None = None


def read_profile(model: MeasuredModel, reference_id: str, state: State) -> Reference:
    """The profile of this name."""
    stored = stored_profile(model, reference_id, state)
    if stored is None:
        return Reference({}, [])
    return Reference(
        profile_from_plain(msgspec.msgpack.decode(stored.profile)),
        [from_plain(LostRows, loss) for loss in stored.losses],
        None if stored.span is None else stored.span[1] - stored.span[0],
    )


def _profile_key(model: MeasuredModel, reference_id: str) -> bytes:
    return state_key(PROFILE, model.number) + reference_id.encode()


def watched(of_segment: SegmentTargets) -> SegmentTargets:
    """The targets of a reference without the features that are not watched, which count as left
    out.
    """
    n, targets, left_out = of_segment
    least = max(LEAST_ROWS, -(-n // ROWS_A_VALUE))
    values = {
        name: target.summary.n for name, target in targets.items() if name.startswith(FEATURE)
    }
    often = sorted(
        (name for name, count in values.items() if count >= least),
        key=lambda name: (-values[name], name),
    )
    unwatched = values.keys() - often[:MOST_WATCHED]
    return SegmentTargets(
        n,
        {name: target for name, target in targets.items() if name not in unwatched},
        left_out + sum(values[name] for name in unwatched),
    )


def unwatched_of_reference(
    model: MeasuredModel,
    version: str,
    span: tuple[int, int],
    before: Mapping[str, SegmentTargets],
    after: Mapping[str, SegmentTargets],
) -> UnwatchedFeatures | None:
    """What is told about the features of a reference that are not watched, of the segment "all";
    None if all are. `after` is `watched` of each segment of `before`.
    """
    left_out = after[ALL].left_out
    if not left_out:
        return None
    gone = before[ALL].targets.keys() - after[ALL].targets.keys()
    return UnwatchedFeatures(
        model_name=model.name,
        model_version=version,
        reason="rare",
        start_ms=span[0],
        end_ms=span[1],
        values=left_out,
        example=min(gone, default="").removeprefix(FEATURE),
    )


def profile_to_plain(
    n: int, by_segment: Mapping[str, SegmentTargets], period: int
) -> WorkSlices[dict[str, object]]:
    """A reference as plain values for the registry, in slices of a target each.

    The segment "all" is at the top, all others are under "segments".

    Parameters
    ----------
    n
        Number of predictions.
    period
        Grains in a cycle, or 0.
    """
    plain: dict[str, object] = {"n": n}
    segments: dict[str, object] = {}
    for segment, (rows, targets, _) in by_segment.items():
        profile: dict[str, object] = {"n": rows, "features": {}}
        features: dict[str, object] = {}
        for name, target in targets.items():
            yield
            worth = effective_rows(target, target.summary.judged, period)
            entry = {"summary": target.summary.to_dict(), "effective": round(worth, 3)}
            if isinstance(target, FeatureTarget):
                sizes = msgspec.to_builtins(share_sizes(target, period))
                entry |= {"share_sizes": sizes} if sizes else {}
            kind, colon, feature = name.partition(":")
            if colon:
                features[feature] = entry
            else:
                profile[kind] = entry
        profile["features"] = features
        if segment == "all":
            plain |= profile
        else:
            segments[segment] = profile
    return plain | {"segments": segments}


def profile_from_plain(plain: Mapping[str, object]) -> ReferenceTargets:
    """The inverse of `profile_to_plain`; in uploaded profiles, "effective" and "share_sizes" may be
    missing.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    whole = msgspec.convert(plain, _SegmentProfile)
    return {
        segment: _reference_targets(part)
        for segment, part in {"all": whole, **whole.segments}.items()
    }


class _TargetProfile(msgspec.Struct):
    summary: dict[str, object]
    effective: float | None = None
    share_sizes: ShareSizes = ShareSizes()


class _SegmentProfile(msgspec.Struct):
    n: int = 0
    features: dict[str, _TargetProfile] = {}
    score: _TargetProfile | None = None
    prediction: _TargetProfile | None = None
    segments: dict[str, _SegmentProfile] = {}


def _reference_targets(profile: _SegmentProfile) -> dict[str, ReferenceTarget]:
    targets = {f"feature:{name}": target for name, target in sorted(profile.features.items())}
    for name, target in (("score", profile.score), ("prediction", profile.prediction)):
        if target is not None:
            targets[name] = target
    return {
        name: ReferenceTarget(
            FeatureSummary.from_dict(target.summary), target.effective, target.share_sizes
        )
        for name, target in targets.items()
    }


_decode_stored = msgspec.msgpack.Decoder(StoredProfile).decode
