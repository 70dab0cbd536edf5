"""Drift records: the detection window of a version against the reference in force, by every test.

The tests are plug-ins of the catalogue; the shares of a feature are `feature_shares.py`. The
current side comes from `targets.py`, the reference from `profiles.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from driftline.schemas import results, topics
from driftline.schemas.times import EpochMs
from driftline.streams.drift.comparison import DriftResult, DriftTest
from driftline.streams.drift.effective_size import MIN_CYCLES, as_in_reference
from driftline.streams.drift.false_discovery import adjusted
from driftline.streams.drift.share_shift import ShareOfRows
from driftline.streams.lanes import TRAFFIC
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.drift.feature_shares import (
    KIND,
    MISSING,
    UNSEEN,
    missing_rows,
    named_unseen,
    other_kind,
    share_results,
    unseen_texts,
    usually_unseen,
)
from driftline.streams.measure.drift.profiles import (
    Reference,
    ReferenceTarget,
    ReferenceTargets,
    read_profile,
)
from driftline.streams.measure.drift.targets import (
    FEATURE,
    FeatureTarget,
    SegmentTargets,
    Target,
    TargetReader,
    cycle_of,
    effective_rows,
)
from driftline.streams.measure.figures.losses import Losses
from driftline.streams.measure.timing.covered_span import CoveredSpan, covered_span
from driftline.streams.measure.timing.windows import DueWindow
from driftline.streams.stage import Record, State
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.work_slices import WorkSlices, in_slices

Level = Literal["none", "mild", "moderate", "severe", "insufficient_data"]

LEVELS: Final[Mapping[str, tuple[Level, str]]] = {
    "none": ("none", ""),
    "mild": ("mild", ""),
    "moderate": ("moderate", ""),
    "severe": ("severe", ""),
    "insufficient_data": ("insufficient_data", "too few values on one side"),
    "identifier": (
        "insufficient_data",
        "more than 1,000 distinct texts: an identifier, which is not judged",
    ),
    "type changed": ("severe", "one side holds numbers, the other texts"),
    "covered in part": ("insufficient_data", ""),
}
ENOUGH_ROWS: Final = 100
TARGETS_AT_ONCE: Final = 16
"""Targets that are compared in one slice: some ms each where a day is read for the first time."""
DEPENDENT: Final = "too few independent rows on one side: its rows are correlated in time"
ACTIONS: Final = {
    "mild": "watch it",
    "moderate": "find out what changed upstream",
    "severe": "check the feed, then the model's performance; retrain if both moved",
}
ACTIONS_OF_SHARES: Final = {
    MISSING: "find out where the feed began to lose or to fill the values",
    KIND: "find out where the type changed, and convert it there",
    UNSEEN: "find out whether the new values are meant; if so, retrain with them",
}
"""In place of `ACTIONS`, from moderate on."""


class _Comparison(NamedTuple):
    """One test of one target, before the p-values are adjusted."""

    segment: str
    target_name: str
    reference: ReferenceTarget
    current: Target
    result: DriftResult


class DriftWindows:
    """Compares detection windows with references.

    Parameters
    ----------
    tests
        All drift tests, in the order of their names.
    targets
        Reads the current side.
    losses
        Lost rows.
    """

    def __init__(self, tests: Sequence[DriftTest], targets: TargetReader, losses: Losses) -> None:
        self._tests = tests
        self._targets = targets
        self._losses = losses
        self._profiles: dict[tuple[int, str], tuple[str | None, Reference]] = {}

    def records(
        self,
        model: MeasuredModel,
        due: DueWindow,
        versions: Sequence[str],
        grain_ms: int,
        ended_ms: int | None,
        state: State,
    ) -> WorkSlices[list[Record]]:
        """Drift records of all versions with a reference, by version, segment and target; in
        slices of some targets. A window that data cover in part has no verdict.

        Parameters
        ----------
        ended_ms
            Time of the last prediction of a recorded log; None while it goes on.
        """
        records: list[Record] = []
        lost = self._losses.of_window(
            TRAFFIC,
            due.start_ms,
            due.end_ms,
            complete_at_ms=due.complete_at_ms,
            horizon_ms=self._losses.horizon_ms(model.name, model.config.label_horizon_ms),
        )
        for version in versions:
            registered = model.registry.versions.get(version)
            if registered is None or registered.reference_id is None:
                continue
            reference_id = registered.reference_id
            covered = covered_span(
                due.start_ms,
                due.end_ms,
                began_ms=model.facts.versions[version].began_ms(due.end_ms, ended_ms),
                ended_ms=ended_ms,
                grain_ms=grain_ms,
            )
            whole = self._profile(model, version, reference_id, state)
            current = self._targets.read(
                model,
                version,
                due.start_ms,
                due.end_ms,
                grain_ms,
                state,
                _features_of(whole.targets),
            )
            yield
            pairs = [
                (segment, name, reference, _target(current[segment], name))
                for segment, references in whole.targets.items()
                if segment in current
                for name, reference in references.items()
            ]
            span_ms, window_ms = whole.span_ms or 0, due.end_ms - due.start_ms
            cycle = cycle_of(grain_ms, window_ms, window_ms)
            longer = span_ms / window_ms if span_ms >= MIN_CYCLES * window_ms else None
            comparisons: list[_Comparison] = []
            for begin in range(0, len(pairs), TARGETS_AT_ONCE):
                comparisons += [
                    _Comparison(segment, name, reference, target, _verdict(result, covered))
                    for segment, name, reference, target in pairs[begin : begin + TARGETS_AT_ONCE]
                    for result in self._compare(reference, target, cycle, longer)
                ]
                yield
            # One false discovery rate for all tests of this window.
            results_adjusted = adjusted([comparison.result for comparison in comparisons])
            for some in in_slices(list(zip(comparisons, results_adjusted, strict=True))):
                yield
                for comparison, result in some:
                    drift = _record(model, version, reference_id, due, covered, comparison, result)
                    drift.losses, drift.reference_losses = lost, whole.losses
                    records.append(Record(topics.DRIFT, drift))
        return records

    def _compare(
        self, reference: ReferenceTarget, current: Target, period: int, longer: float | None
    ) -> Iterator[DriftResult]:
        """Results of a target; `longer` is how many times as long as the window the reference is,
        None if it has fewer than three windows or was uploaded.
        """
        before, now = reference.summary.judged, current.summary.judged
        size = None
        if type(before) is type(now):
            if longer is None or reference.effective is None:
                size = effective_rows(current, before, period)
            else:
                size = as_in_reference(now.total, before.total, reference.effective, longer)
        for test in self._tests:
            result = test.compare(
                before, now, reference_size=reference.effective, current_size=size
            )
            if result is not None:
                yield result
        if isinstance(current, FeatureTarget):
            yield from share_results(
                reference.summary, reference.share_sizes, current.summary, reference.effective
            )

    def _profile(
        self, model: MeasuredModel, version: str, reference_id: str, state: State
    ) -> Reference:
        cached = self._profiles.get((model.number, version))
        if cached is None or cached[0] != reference_id:
            profile = read_profile(model, reference_id, state)
            cached = self._profiles[model.number, version] = (reference_id, profile)
        return cached[1]


def _features_of(profile: ReferenceTargets) -> frozenset[str]:
    """The features of a reference, of all segments."""
    return frozenset(
        name.removeprefix(FEATURE)
        for references in profile.values()
        for name in references
        if name.startswith(FEATURE)
    )


def _target(of_segment: SegmentTargets, name: str) -> Target:
    """The target of this name; a feature without a value is missing in all rows."""
    target = of_segment.targets.get(name)
    if target is not None:
        return target
    return FeatureTarget(FeatureSummary(missing=of_segment.n if name.startswith(FEATURE) else 0))


def _verdict(result: DriftResult, covered: CoveredSpan) -> DriftResult:
    return result if covered.is_whole else result.unjudged("covered in part")


def _record(
    model: MeasuredModel,
    version: str,
    reference_id: str,
    due: DueWindow,
    covered: CoveredSpan,
    comparison: _Comparison,
    result: DriftResult,
) -> results.Drift:
    """The record of a comparison, without losses; `result` has the adjusted p-value."""
    level, reason = LEVELS[result.level]
    if result.level == "covered in part":
        reason = covered.reason
    elif (
        result.level == "insufficient_data"
        and min(result.n_reference, result.n_current) >= ENOUGH_ROWS
    ):
        reason = DEPENDENT
    return results.Drift(
        model_name=model.name,
        model_version=version,
        segment=comparison.segment,
        target=comparison.target_name,
        method=result.method,
        window=due.window,
        window_start_ms=EpochMs(due.start_ms),
        window_end_ms=EpochMs(due.end_ms),
        covered_share=covered.share,
        statistic=_six_digits(result.statistic),
        p_value=_six_digits(comparison.result.p_value),
        p_adjusted=_six_digits(result.p_value),
        level=level,
        effect=_six_digits(result.effect),
        n_reference=result.n_reference,
        n_current=result.n_current,
        n_effective=_six_digits(result.n_effective),
        reference_id=reference_id,
        registry_revision=model.registry.revision,
        action=_action(result.method, level),
        reason=reason,
        details=_details(comparison, result.method),
    )


def _action(method: str, level: Level) -> str:
    if level in ("moderate", "severe") and method in ACTIONS_OF_SHARES:
        return ACTIONS_OF_SHARES[method]
    return ACTIONS.get(level, "")


def _details(comparison: _Comparison, method: str) -> dict[str, Any]:
    """Shares of a feature in the window and in the reference, by name; of the other kind, and of
    unseen texts with examples, only in the record that judges it.
    """
    if not comparison.target_name.startswith(FEATURE):
        return {}
    now, before = comparison.current.summary, comparison.reference.summary
    shares: dict[str, ShareOfRows | None] = {
        "missing_share": missing_rows(now),
        "reference_missing_share": missing_rows(before),
    }
    if method == KIND:
        shares["other_kind_share"] = other_kind(before, now)
        shares["reference_other_kind_share"] = other_kind(before, before)
    if method == UNSEEN:
        shares["unseen_share"] = unseen_texts(before, now)
        shares["reference_unseen_share"] = usually_unseen(before)
    details: dict[str, Any] = {
        name: _rounded(of_rows and of_rows.share) for name, of_rows in shares.items()
    }
    if method == UNSEEN:
        details["unseen"] = named_unseen(before, now)
    return details


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 6)


def _six_digits(value: float | None) -> float | None:
    """Six significant digits: p-values can be tiny, and libraries differ in the last bits."""
    return None if value is None else float(f"{value:.6g}")
