"""Reference profiles: the summaries that drift compares with, in state and in the registry."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.drift.targets import Target, effective
from driftline.streams.measure.state_keys import PROFILE, state_key
from driftline.streams.summaries.feature_summary import FeatureSummary


class ReferenceTarget(msgspec.Struct, frozen=True):
    """What the reference says of one target: its summary, and the independent rows that it is
    worth, where known.
    """

    summary: FeatureSummary
    effective: float | None


ReferenceProfile = Mapping[str, Mapping[str, ReferenceTarget]]
"""The reference by segment and target."""


def profile_key(model: MeasuredModel, version: str) -> bytes:
    """State key of the reference in force of a version."""
    return state_key(PROFILE, model.number) + version.encode()


def profile_to_plain(
    n: int, by_segment: Mapping[str, tuple[int, Mapping[str, Target]]], period: int
) -> dict[str, object]:
    """A reference as plain values for the registry: the segment "all" at the top, the others under
    "segments".
    """
    plain: dict[str, object] = {"n": n}
    segments: dict[str, object] = {}
    for segment, (rows, targets) in by_segment.items():
        profile: dict[str, object] = {"n": rows, "features": {}}
        features: dict[str, object] = {}
        for name, target in targets.items():
            worth = effective(target, target.summary.judged, period)
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
    """The inverse of `profile_to_plain`; for uploaded profiles too, where "effective" may be missing.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    whole = msgspec.convert(plain, _Profile)
    return {
        segment: _expectations(part) for segment, part in {"all": whole, **whole.segments}.items()
    }


class _Entry(msgspec.Struct):
    summary: dict[str, object]
    effective: float | None = None


class _Profile(msgspec.Struct):
    n: int = 0
    features: dict[str, _Entry] = {}
    score: _Entry | None = None
    prediction: _Entry | None = None
    segments: dict[str, _Profile] = {}


def _expectations(profile: _Profile) -> dict[str, ReferenceTarget]:
    entries = {f"feature:{name}": entry for name, entry in sorted(profile.features.items())}
    for name, entry in (("score", profile.score), ("prediction", profile.prediction)):
        if entry is not None:
            entries[name] = entry
    return {
        name: ReferenceTarget(FeatureSummary.from_dict(entry.summary), entry.effective)
        for name, entry in entries.items()
    }
