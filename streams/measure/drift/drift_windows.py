"""Drift: the detection window of a version against the reference in force, by every test of the
catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from driftline.schemas import results, topics
from driftline.schemas.times import EpochMs
from driftline.streams.drift.comparison import DriftResult, DriftTest
from driftline.streams.drift.false_discovery import adjusted
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.drift.profiles import (
    ReferenceProfile,
    ReferenceTarget,
    profile_from_plain,
    profile_key,
)
from driftline.streams.measure.drift.targets import (
    FeatureTarget,
    Target,
    TargetReader,
    effective,
    grains_per_day,
)
from driftline.streams.measure.timing.windows import DueWindow
from driftline.streams.stage import Record, State
from driftline.streams.summaries.feature_summary import FeatureSummary

Level = Literal["none", "mild", "moderate", "severe", "insufficient_data"]

LEVELS: Final[Mapping[str, tuple[Level, str]]] = {
    "none": ("none", ""),
    "mild": ("mild", ""),
    "moderate": ("moderate", ""),
    "severe": ("severe", ""),
    "insufficient data": ("insufficient_data", "too few values on one side"),
    "identifier": (
        "insufficient_data",
        "more than 1,000 distinct texts: an identifier, which is not judged",
    ),
    "type changed": ("severe", "one side holds numbers, the other texts"),
}
ENOUGH_ROWS: Final = 100
DEPENDENT: Final = (
    "the rows of one side depend on each other too much to tell drift from the ordinary"
)
ACTIONS: Final = {
    "mild": "watch it",
    "moderate": "find out what changed upstream",
    "severe": "check the feed, then the model's performance; retrain if both moved",
}


class DriftWindows:
    """Compares detection windows with references.

    Parameters
    ----------
    tests
        All drift tests, in the order of their names.
    targets
        Reads the current side.
    """

    def __init__(self, tests: Sequence[DriftTest], targets: TargetReader) -> None:
        self._tests = tests
        self._targets = targets
        self._profiles: dict[tuple[int, str], tuple[str | None, ReferenceProfile]] = {}

    def records(
        self,
        model: MeasuredModel,
        due: DueWindow,
        versions: Sequence[str],
        grain_ms: int,
        state: State,
    ) -> Iterator[Record]:
        """Drift records of all versions that have a reference, by version, segment and target."""
        for version in versions:
            registered = model.facts.registry.get(version)
            if registered is None or registered.reference_id is None:
                continue
            profile = self._profile(model, version, registered.reference_id, state)
            current = self._targets.read(model, version, due.start_ms, due.end_ms, grain_ms, state)
            judged = [
                (segment, name, expected, seen, result)
                for segment, expectations in profile.items()
                if segment in current
                for name, expected in expectations.items()
                for seen in (current[segment][1].get(name, _ABSENT),)
                for result in self._judged(expected, seen, grains_per_day(grain_ms))
            ]
            # One budget of false alarms for everything that is tested in this window.
            final = adjusted([result for *_, result in judged])
            for (segment, name, expected, seen, raw), result in zip(judged, final, strict=True):
                drift = _record(
                    model,
                    version,
                    registered.reference_id,
                    due,
                    segment,
                    name,
                    expected,
                    seen,
                    raw,
                    result,
                )
                yield Record(topics.DRIFT, drift)

    def _judged(
        self, expected: ReferenceTarget, seen: Target, period: int
    ) -> Iterator[DriftResult]:
        reference, current = expected.summary.judged, seen.summary.judged
        size = effective(seen, reference, period) if type(reference) is type(current) else None
        for test in self._tests:
            result = test.compare(
                reference, current, reference_size=expected.effective, current_size=size
            )
            if result is not None:
                yield result

    def _profile(
        self, model: MeasuredModel, version: str, reference_id: str, state: State
    ) -> ReferenceProfile:
        held = self._profiles.get((model.number, version))
        if held is None or held[0] != reference_id:
            data = state.get(profile_key(model, version))
            held = self._profiles[model.number, version] = (
                reference_id,
                {} if data is None else profile_from_plain(msgspec.msgpack.decode(data)),
            )
        return held[1]


def _record(
    model: MeasuredModel,
    version: str,
    reference_id: str,
    due: DueWindow,
    segment: str,
    name: str,
    expected: ReferenceTarget,
    seen: Target,
    raw: DriftResult,
    result: DriftResult,
) -> results.Drift:
    level, reason = LEVELS[result.level]
    if (
        result.level == "insufficient data"
        and min(result.n_reference, result.n_current) >= ENOUGH_ROWS
    ):
        reason = DEPENDENT
    details = {}
    if name.startswith("feature:"):
        details = {
            "missing_share": _share(seen.summary),
            "reference_missing_share": _share(expected.summary),
        }
    return results.Drift(
        model_name=model.name,
        model_version=version,
        segment=segment,
        target=name,
        method=result.method,
        window=due.window,
        window_start_ms=EpochMs(due.start_ms),
        window_end_ms=EpochMs(due.end_ms),
        statistic=_digits(result.statistic),
        p_value=_digits(raw.p_value),
        p_adjusted=_digits(result.p_value),
        level=level,
        effect=_digits(result.effect),
        n_reference=result.n_reference,
        n_current=result.n_current,
        n_effective=_digits(result.n_effective),
        reference_id=reference_id,
        registry_revision=model.facts.revision,
        action=ACTIONS.get(level, ""),
        reason=reason,
        details=details,
    )


def _share(summary: FeatureSummary) -> float | None:
    return round(summary.missing_share, 6) if summary.n + summary.missing else None


def _digits(value: float | None) -> float | None:
    """Six significant digits: p-values can be tiny, and the last bits may differ between numeric
    libraries.
    """
    return None if value is None else float(f"{value:.6g}")


_ABSENT: Final = FeatureTarget(FeatureSummary())
