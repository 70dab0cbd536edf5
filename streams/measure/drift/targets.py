"""Drift targets in a span of time: features, the score and the predicted label, by segment.

A target has a summary of the whole span, and counts by grain, from which the number of independent
rows is estimated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.schemas.times import DAY_MS
from driftline.streams import lanes
from driftline.streams.drift.effective_size import MIN_CYCLES, effective_size
from driftline.streams.drift.reference_groups import NumericGroups, Summary, TextGroups
from driftline.streams.lanes import ALL, COUNTER_CODES, TRAFFIC
from driftline.streams.measure.counts.dense_layout import NEGATIVE, POSITIVE
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.packed_key import (
    Ints,
    a_of,
    b_of,
    counter_key,
    is_measure_of_series,
)
from driftline.streams.measure.counts.panes import PaneRows, Panes
from driftline.streams.measure.drift.feature_panes import GROUPS, FeaturePanes, FeatureSpan
from driftline.streams.score_bins import MIDDLES, SCORE_BINS
from driftline.streams.stage import State
from driftline.streams.summaries.feature_limits import LEFT_OUT, settled
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.feature_table import Summaries, concatenate_tables
from driftline.streams.summaries.numeric_bins import NumericSummary
from driftline.streams.summaries.text_summary import StringSummary

SCORE: Final = "score"
PREDICTION: Final = "prediction"
FEATURE: Final = "feature:"
WEEK_MS: Final = 7 * DAY_MS


class Target(Protocol):
    """One drift target in a span of time."""

    @property
    def summary(self) -> FeatureSummary:
        """Summary of the whole span."""

    def by_grain(self, reference: Summary) -> Ints:
        """Counts of each grain in groups of the reference, shape (T, B)."""


class FeatureTarget(msgspec.Struct, frozen=True):
    """A feature of a series, in consecutive spans; `rows` are those of the series by grain, shape
    (T,).
    """

    summary: FeatureSummary
    series: int = 0
    feature: str = ""
    spans: Sequence[FeatureSpan] = ()
    rows: Ints = msgspec.field(default_factory=lambda: np.zeros(0, np.int64))

    def by_grain(self, reference: Summary) -> Ints:
        """As `Target`."""
        if not self.spans:
            return np.zeros((0, 1), np.int64)
        return np.concatenate(
            [span.counts(self.series, self.feature, reference) for span in self.spans]
        )

    def kinds_by_grain(self) -> Ints:
        """Numbers and texts of each grain, shape (T, 2)."""
        if not self.spans:
            return np.zeros((0, 2), np.int64)
        return np.concatenate([span.values(self.series, self.feature) for span in self.spans])

    def missing_by_grain(self) -> Ints:
        """Rows of each grain without and with a value, shape (T, 2)."""
        values = self.kinds_by_grain().sum(axis=1)
        return np.stack((np.maximum(self.rows - values, 0), values), axis=1)


class ScoreTarget(msgspec.Struct, frozen=True):
    """Scores in bins: columns of shape (N,) with grain, bin and count."""

    summary: FeatureSummary
    grain_count: int
    grain: Ints
    bins: Ints
    counts: Ints

    def by_grain(self, reference: Summary) -> Ints:
        """As `Target`."""
        groups = (
            NumericGroups.of(reference, GROUPS) if isinstance(reference, NumericSummary) else None
        )
        if groups is None:
            raise ValueError("drift: the reference of the score has texts, not numbers; rebuild it")
        group = np.searchsorted(groups.cuts, MIDDLES)[self.bins]
        return _dense(self.grain, group, self.counts, (self.grain_count, len(groups.cuts) + 1))


class LabelTarget(msgspec.Struct, frozen=True):
    """Predicted labels: columns of shape (N,) with grain, index into `names`, and count."""

    summary: FeatureSummary
    grain_count: int
    grain: Ints
    names: Sequence[str]
    label: Ints
    counts: Ints

    def by_grain(self, reference: Summary) -> Ints:
        """As `Target`."""
        groups = (
            TextGroups.of(reference, GROUPS).names if isinstance(reference, StringSummary) else ()
        )
        place = np.array(
            [groups.index(name) if name in groups else len(groups) for name in self.names], np.int64
        )
        return _dense(
            self.grain, place[self.label], self.counts, (self.grain_count, len(groups) + 1)
        )


def effective_rows(target: Target, reference: Summary, period: int) -> float:
    """Number of independent rows that a target is worth, in groups of the reference."""
    return effective_size(target.by_grain(reference), period=period)


class SegmentTargets(NamedTuple):
    """The number of predictions in a segment, its targets by name, features first, and the number
    of values of features that are left out.
    """

    n: int
    targets: dict[str, Target]
    left_out: int = 0


class _GrainRows(NamedTuple):
    """Rows of one measure of a series, with their grain; columns of shape (N,)."""

    grain_count: int
    grain: Ints
    keys: Ints
    counts: Ints


class TargetReader:
    """Reads drift targets from the panes of a task."""

    def __init__(self, panes: Panes, features: FeaturePanes) -> None:
        self._panes = panes
        self._features = features

    def read(
        self,
        model: MeasuredModel,
        version: str,
        start_ms: int,
        end_ms: int,
        grain_ms: int,
        state: State,
        features: Collection[str] | None = None,
    ) -> dict[str, SegmentTargets]:
        """The targets of a version by segment, "all" first.

        Scores and predicted labels are read for the segment "all" only. Of very many features,
        those that most rows have are read, or those with the names in `features`.
        """
        spans = self._features.spans(model, start_ms, end_ms, grain_ms, state)
        totals = [span.total for span in spans]
        if features is not None:
            totals = [total.with_features(features) for total in totals]
        summaries = settled(concatenate_tables(totals)).summaries()
        names = model.series.names
        days_ms = model.days_with_counts(TRAFFIC, start_ms, end_ms)
        rows = self._panes.rows(model.number, TRAFFIC, *days_ms, state)
        numbers = {
            names[number][1]: number for number, _ in summaries if names[number][0] == version
        }
        for number, name in enumerate(names):
            if name == (version, ALL):
                numbers[ALL] = number
        of_segment: dict[str, SegmentTargets] = {}
        grain_count = -(-(end_ms - start_ms) // grain_ms)
        grain = (rows.pane - start_ms) // grain_ms
        for segment in sorted(numbers, key=lambda name: (name != ALL, name)):
            number = numbers[segment]
            predictions = counter_key(number, lanes.COUNT, COUNTER_CODES["predictions"])
            is_prediction = rows.keys == predictions
            by_grain = np.bincount(
                grain[is_prediction], weights=rows.counts[is_prediction], minlength=grain_count
            ).astype(np.int64)
            n = int(by_grain.sum())
            targets = _feature_targets(summaries, spans, number, by_grain)
            left_out = summaries.get((number, LEFT_OUT))
            if segment == ALL:
                is_scored = is_measure_of_series(rows.keys, number, lanes.PREDICTED_SCORES)
                is_predicted = is_scored | is_measure_of_series(rows.keys, number, lanes.PREDICTED)
                targets |= _score_target(_grain_rows(rows, grain_count, grain, is_scored))
                targets |= _label_target(model, _grain_rows(rows, grain_count, grain, is_predicted))
            of_segment[segment] = SegmentTargets(n, targets, left_out.n if left_out else 0)
        return of_segment


def cycle_of(grain_ms: int, span_ms: int, window_ms: int) -> int:
    """Grains in the cycle that both sides of a comparison contain in full: a week where the window
    is made of weeks and the span has at least three, a day otherwise; 0 if a day is not made of
    whole grains.

    Examples
    --------
    >>> cycle_of(3_600_000, 30 * DAY_MS, 7 * DAY_MS), cycle_of(3_600_000, 30 * DAY_MS, DAY_MS)
    (168, 24)
    """
    if DAY_MS % grain_ms:
        return 0
    is_weekly = window_ms % WEEK_MS == 0 and span_ms >= MIN_CYCLES * WEEK_MS
    return (WEEK_MS if is_weekly else DAY_MS) // grain_ms


def _grain_rows(
    rows: PaneRows, grain_count: int, grain: Ints, chosen: NDArray[np.bool_]
) -> _GrainRows:
    return _GrainRows(grain_count, grain[chosen], rows.keys[chosen], rows.counts[chosen])


def _feature_targets(
    summaries: Summaries, spans: Sequence[FeatureSpan], number: int, rows: Ints
) -> dict[str, Target]:
    """The features of a series; `rows` are its rows by grain."""
    targets: dict[str, Target] = {}
    n = int(rows.sum())
    for series, feature in sorted(summaries):
        if series == number and feature != LEFT_OUT:
            summary = summaries[series, feature]
            # Stage 1 does not know which features a row should have; here every row should have
            # every feature of its version.
            complete = FeatureSummary(summary.numbers, summary.texts, max(n - summary.n, 0))
            targets[FEATURE + feature] = FeatureTarget(complete, series, feature, spans, rows)
    return targets


def _score_target(rows: _GrainRows) -> dict[str, Target]:
    """The score of a series; empty without rows."""
    if not len(rows.keys):
        return {}
    bins = b_of(rows.keys)
    by_bin = np.bincount(bins, weights=rows.counts, minlength=SCORE_BINS).astype(np.int64)
    summary = FeatureSummary(numbers=NumericSummary.of_counts(MIDDLES, by_bin))
    return {SCORE: ScoreTarget(summary, rows.grain_count, rows.grain, bins, rows.counts)}


def _label_target(model: MeasuredModel, rows: _GrainRows) -> dict[str, Target]:
    """The predicted label of a series; empty without rows."""
    if not len(rows.keys):
        return {}
    codes, label = np.unique(a_of(rows.keys), return_inverse=True)
    names = _label_names(model, codes.tolist())
    by_code = np.bincount(label, weights=rows.counts).astype(np.int64).tolist()
    by_label: dict[str, int] = {}
    for name, count in zip(names, by_code, strict=True):
        by_label[name] = by_label.get(name, 0) + count
    summary = FeatureSummary(texts=StringSummary.of_counts(by_label))
    return {
        PREDICTION: LabelTarget(summary, rows.grain_count, rows.grain, names, label, rows.counts)
    }


def _label_names(model: MeasuredModel, codes: Sequence[int]) -> list[str]:
    positive, negative = model.facts.label_set.derived_names(model.configured_labels)
    derived = {POSITIVE: positive or "positive", NEGATIVE: negative or "negative"}
    return [
        derived.get(code) or (model.labels.names[code] if code < len(model.labels) else "another")
        for code in codes
    ]


def _dense(rows: Ints, columns: Ints, counts: Ints, shape: tuple[int, int]) -> Ints:
    return (
        np.bincount(rows * shape[1] + columns, weights=counts, minlength=shape[0] * shape[1])
        .astype(np.int64)
        .reshape(shape)
    )
