"""What drift is measured on, in a span of time: features, the score, and the predicted label, by
segment.

Each target is a summary of the whole span and counts by grain, from which the number of independent
rows is estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
import numpy as np

from driftline.schemas.times import DAY_MS
from driftline.streams import lanes
from driftline.streams.drift.effective_size import effective_size
from driftline.streams.drift.reference_groups import (
    NumericGroups,
    Summary,
    TextGroups,
    counts_by_pane,
)
from driftline.streams.lanes import ALL, COUNTER_CODES, SCORE_BINS, TRAFFIC
from driftline.streams.measure.counts.count_table import (
    A_SHIFT,
    CODES,
    MEASURE_SHIFT,
    SERIES_SHIFT,
    Ints,
)
from driftline.streams.measure.counts.dense_layout import NEGATIVE, POSITIVE
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.panes import Panes
from driftline.streams.measure.drift.feature_panes import FeaturePanes, FeatureSpan
from driftline.streams.stage import State
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.feature_table import Summaries, joined
from driftline.streams.summaries.numeric_bins import NumericSummary
from driftline.streams.summaries.text_summary import StringSummary

SCORE: Final = "score"
PREDICTION: Final = "prediction"
FEATURE: Final = "feature:"

GROUPS: Final = 10

_BIN_MIDDLES: Final = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS
_PREDICTIONS: Final = (lanes.COUNT << MEASURE_SHIFT) | COUNTER_CODES["predictions"]


class Target(Protocol):
    """One target in a span of time: all of it, and by grain."""

    @property
    def summary(self) -> FeatureSummary: ...

    def by_grain(self, reference: Summary) -> Ints:
        """Counts of each grain in groups of the reference, shape (T, B)."""


class FeatureTarget(msgspec.Struct, frozen=True):
    """A feature of a series, in the parts of a span."""

    summary: FeatureSummary
    key: tuple[int, str] = (0, "")
    parts: Sequence[FeatureSpan] = ()

    def by_grain(self, reference: Summary) -> Ints:
        """As `Target`."""
        if not self.parts:
            return np.zeros((0, 1), np.int64)
        return np.concatenate([self._counted(part, reference) for part in self.parts])

    def _counted(self, part: FeatureSpan, reference: Summary) -> Ints:
        held = part.counted.get(self.key)
        if held is None or held[0] is not reference:
            numeric = isinstance(reference, NumericSummary)
            grains = [grain.get(self.key, _NOTHING) for grain in part.grains]
            panes: list[Summary] = [grain.numbers if numeric else grain.texts for grain in grains]
            held = part.counted[self.key] = (reference, counts_by_pane(reference, panes, GROUPS))
        return held[1]


class ScoreTarget(msgspec.Struct, frozen=True):
    """Scores in bins: columns of shape (N,) with the grain, the bin and the count of each row."""

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
            raise ValueError("drift: the reference of a score holds texts; rebuild it from scores")
        group = np.searchsorted(groups.cuts, _BIN_MIDDLES)[self.bins]
        return _dense(self.grain, group, self.counts, (self.grain_count, len(groups.cuts) + 1))


class LabelTarget(msgspec.Struct, frozen=True):
    """Predicted labels: columns of shape (N,) with the grain, the label's place in `names`, and the
    count of each row.
    """

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


def effective(target: Target, reference: Summary, period: int) -> float:
    """Independent rows that a target is worth, in groups of the reference."""
    return effective_size(target.by_grain(reference), period=period)


class TargetReader:
    """Reads targets from the panes of a task."""

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
    ) -> dict[str, tuple[int, dict[str, Target]]]:
        """By segment: the number of predictions, and the targets by name, features first.

        Scores and predicted labels are read for the segment "all" only.
        """
        parts = self._features.parts(model, start_ms, end_ms, grain_ms, state)
        whole = joined([part.whole for part in parts]).summed().summaries()
        names = model.series.names
        pane, keys, counts = self._panes.rows(model.number, TRAFFIC, start_ms, end_ms, state)
        found: dict[str, tuple[int, dict[str, Target]]] = {}
        numbers = {names[number][1]: number for number, _ in whole if names[number][0] == version}
        for number, name in enumerate(names):
            if name == (version, ALL):
                numbers[ALL] = number
        for segment in sorted(numbers, key=lambda name: (name != ALL, name)):
            number = numbers[segment]
            rows = int(counts[keys == (number << SERIES_SHIFT) | _PREDICTIONS].sum())
            targets = _features_of(whole, parts, number, rows)
            if segment == ALL:
                measure, series = keys >> MEASURE_SHIFT, number << SERIES_SHIFT - MEASURE_SHIFT
                grain, grains = (pane - start_ms) // grain_ms, -(-(end_ms - start_ms) // grain_ms)
                scored = measure == series | lanes.PREDICTED_SCORES
                targets |= _score_of(grains, grain[scored], keys[scored], counts[scored])
                said = scored | (measure == series | lanes.PREDICTED)
                targets |= _prediction_of(model, grains, grain[said], keys[said], counts[said])
            found[segment] = (rows, targets)
        return found


def grains_per_day(grain_ms: int) -> int:
    """Grains in a day; 0 where a day is not made of whole grains."""
    return DAY_MS // grain_ms if DAY_MS % grain_ms == 0 else 0


def _features_of(
    whole: Summaries, parts: Sequence[FeatureSpan], number: int, rows: int
) -> dict[str, Target]:
    targets: dict[str, Target] = {}
    for series, feature in sorted(whole):
        if series == number:
            summary = whole[series, feature]
            # Stage 1 cannot know which features a row should have; here every row should have every
            # feature of its version.
            complete = FeatureSummary(summary.numbers, summary.texts, max(rows - summary.n, 0))
            targets[FEATURE + feature] = FeatureTarget(complete, (series, feature), parts)
    return targets


def _score_of(grains: int, grain: Ints, keys: Ints, counts: Ints) -> dict[str, Target]:
    """Score of a series, from rows of shape (N,)."""
    if not len(keys):
        return {}
    bins = keys & CODES - 1
    scores = NumericSummary.of_counts(
        _BIN_MIDDLES, np.bincount(bins, weights=counts, minlength=SCORE_BINS).astype(np.int64)
    )
    return {SCORE: ScoreTarget(FeatureSummary(numbers=scores), grains, grain, bins, counts)}


def _prediction_of(
    model: MeasuredModel, grains: int, grain: Ints, keys: Ints, counts: Ints
) -> dict[str, Target]:
    """Predicted label of a series, from rows of shape (N,)."""
    if not len(keys):
        return {}
    codes, label = np.unique(keys >> A_SHIFT & CODES - 1, return_inverse=True)
    names = _label_names(model, codes.tolist())
    by_label: dict[str, int] = {}
    for name, count in zip(
        names, np.bincount(label, weights=counts).astype(np.int64).tolist(), strict=True
    ):
        by_label[name] = by_label.get(name, 0) + count
    labels = FeatureSummary(texts=StringSummary.of_counts(by_label))
    return {PREDICTION: LabelTarget(labels, grains, grain, names, label, counts)}


def _label_names(model: MeasuredModel, codes: Sequence[int]) -> list[str]:
    positive, negative = model.facts.label_set.pair(model.config.positive_label)
    unnamed = {POSITIVE: positive or "positive", NEGATIVE: negative or "negative"}
    return [
        unnamed.get(code) or (model.labels.names[code] if code < len(model.labels) else "another")
        for code in codes
    ]


def _dense(rows: Ints, columns: Ints, counts: Ints, shape: tuple[int, int]) -> Ints:
    return (
        np.bincount(rows * shape[1] + columns, weights=counts, minlength=shape[0] * shape[1])
        .astype(np.int64)
        .reshape(shape)
    )


_NOTHING: Final = FeatureSummary()
