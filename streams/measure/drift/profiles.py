"""Reference profiles: the summaries that drift compares with, in state and in the registry."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.drift.targets import SegmentTargets, effective_rows
from driftline.streams.measure.state_keys import PROFILE, state_key
from driftline.streams.summaries.feature_summary import FeatureSummary


class ReferenceTarget(msgspec.Struct, frozen=True):
    """One target of a reference: its summary, and its number of independent rows, if known."""

    summary: FeatureSummary
    effective: float | None


ReferenceProfile = Mapping[str, Mapping[str, ReferenceTarget]]
"""The reference by segment and target."""


def profile_key(model: MeasuredModel, version: str) -> bytes:
    """State key of the reference in force of a version."""
    return state_key(PROFILE, model.number) + version.encode()


def profile_to_plain(
    n: int, by_segment: Mapping[str, SegmentTargets], period: int
) -> dict[str, object]:
    """A reference as plain values for the registry.

    The segment "all" is at the top, all others are under "segments".

    Parameters
    ----------
    n
        Number of predictions.
    period
        Grains in a day, or 0.
    """
    plain: dict[str, object] = {"n": n}
    segments: dict[str, object] = {}
    for segment, (rows, targets) in by_segment.items():
        profile: dict[str, object] = {"n": rows, "features": {}}
        features: dict[str, object] = {}
        for name, target in targets.items():
            worth = effective_rows(target, target.summary.judged, period)
            entry = {"summary": target.summary.to_dict(), "effective": round(worth, 3)}
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


def profile_from_plain(plain: Mapping[str, object]) -> ReferenceProfile:
    """The inverse of `profile_to_plain`; in uploaded profiles, "effective" may be missing.

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
        name: ReferenceTarget(FeatureSummary.from_dict(target.summary), target.effective)
        for name, target in targets.items()
    }
