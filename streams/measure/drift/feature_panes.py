"""Feature summaries of the traffic lane, by grain of time, series and feature.

A grain is a pane, or an hour where the detection window is made of whole hours. Summaries merge in
any order; see `driftline.streams.summaries.feature_summary`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from driftline.schemas.times import DAY_MS
from driftline.streams.drift.reference_groups import Summary, counts_by_pane
from driftline.streams.lanes import TRAFFIC
from driftline.streams.masks import any_true
from driftline.streams.measure.counts.intake import ReceivedPartials
from driftline.streams.measure.counts.merge_runs import MergeRuns, RunFormat
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.packed_key import Ints
from driftline.streams.measure.drift.unwatched_features import (
    UnwatchedFeatures,
    left_out_features,
)
from driftline.streams.measure.state_keys import FEATURES, state_key
from driftline.streams.stage import State
from driftline.streams.summaries.feature_limits import (
    LEFT_OUT,
    MOST_SETTLED,
    settled,
    thinned,
)
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.feature_table import EMPTY, FeatureTable, concatenate_tables
from driftline.streams.summaries.numeric_bins import NumericSummary
from driftline.streams.work_slices import WorkSlices

CACHED_BINS: Final = 1_000_000
MOST_DAYS: Final = 100
GROUPS: Final = 10
"""Groups of a reference for estimates of the effective size."""

TABLES: Final = RunFormat(
    size=lambda table: table.size,
    merge=lambda tables: thinned(concatenate_tables(tables).summed()),
    encode=FeatureTable.encode,
    decode=FeatureTable.decode,
)


class FeatureSpan:
    """The feature summaries of a span of time, in total and by grain.

    Attributes
    ----------
    total
        One row for each series and feature; of very many features, those that most rows have.
    grains
        For each grain, the summaries by series number and feature.
    """

    __slots__ = ("_counts", "grains", "total")

    def __init__(self, grains: Sequence[FeatureTable]) -> None:
        # Most models of a log with many have no feature in most grains.
        filled = [grain for grain in grains if len(grain)]
        self.total = settled(concatenate_tables(filled)) if filled else EMPTY
        kept = [grain.with_features(self.total.names) if len(grain) else grain for grain in grains]
        self.grains = [grain.summaries() if len(grain) else {} for grain in kept]
        self._counts: dict[tuple[int, str], tuple[Summary, Ints]] = {}

    def values(self, series: int, feature: str) -> Ints:
        """Numbers and texts of each grain, shape (T, 2)."""
        summaries = [grain.get((series, feature), _NO_VALUES) for grain in self.grains]
        totals = [(summary.numbers.total, summary.texts.total) for summary in summaries]
        return np.array(totals, np.int64).reshape(-1, 2)

    def counts(self, series: int, feature: str, reference: Summary) -> Ints:
        """Counts by grain in groups of a reference, shape (T, B).

        Cached: a sliding window reads the same span at every step.
        """
        key = (series, feature)
        cached = self._counts.get(key)
        if cached is not None and cached[0] is reference:
            return cached[1]
        summaries = [grain.get(key, _NO_VALUES) for grain in self.grains]
        is_numeric = isinstance(reference, NumericSummary)
        panes: list[Summary] = [
            summary.numbers if is_numeric else summary.texts for summary in summaries
        ]
        counts = counts_by_pane(reference, panes, GROUPS)
        self._counts[key] = (reference, counts)
        return counts


class _Day(NamedTuple):
    """A day of a model, both by number."""

    model: int
    day: int


class FeaturePanes:
    """Feature summaries of all models of a task."""

    def __init__(self) -> None:
        self._runs = MergeRuns(TABLES, cached=CACHED_BINS)
        self._days: dict[_Day, FeatureSpan] = {}

    def add(self, received: ReceivedPartials, grains_ms: Sequence[int], state: State) -> None:
        """Add the summaries of all partials of a batch.

        Parameters
        ----------
        grains_ms
            Length of the grains, by part of `received`.
        """
        tables = [partial.features for partial in received.partials]
        if not any(map(len, tables)):
            return
        at = received.places(
            [len(table) for table in tables], np.concatenate([table.series for table in tables])
        )
        table = msgspec.structs.replace(
            concatenate_tables([table for table in tables if len(table)]),
            series=received.number[at],
        )
        part = received.part[at]
        owner = received.model_numbers[part]
        models = {model.number: model for model in received.models}
        grain_ms = np.array(grains_ms, np.int64)[part]
        start = (
            np.concatenate([partial.feature_panes for partial in received.partials])
            // grain_ms
            * grain_ms
        )
        # Not summed here: the samples of several partitions have few values in common.
        order = np.lexsort((start, owner))
        if any_true(order[1:] < order[:-1]):
            table, owner, start = table.take(order), owner[order], start[order]
        is_first = (owner[1:] != owner[:-1]) | (start[1:] != start[:-1])
        edges = [0, *(is_first.nonzero()[0] + 1).tolist(), len(owner)]
        for rows, number, start_ms in zip(
            table.split(edges), owner[edges[:-1]].tolist(), start[edges[:-1]].tolist(), strict=True
        ):
            self._runs.append(state_key(FEATURES, number, start_ms), rows.bounded(), state)
            self._days.pop(_Day(number, start_ms // DAY_MS), None)
            facts = models[number].facts
            first_ms, last_ms = facts.features_ms or (start_ms, start_ms)
            facts.features_ms = (min(first_ms, start_ms), max(last_ms, start_ms))

    def settle(
        self, model: MeasuredModel, now_ms: int, grain_ms: int, state: State
    ) -> WorkSlices[list[UnwatchedFeatures]]:
        """Keep only the features that most rows have of each grain that is complete at `now_ms`;
        gives what is left out, in total over the values of a version, by grain.
        """
        facts, left_out = model.facts, list[UnwatchedFeatures]()
        if facts.features_ms is None:
            return left_out
        first_ms, last_ms = facts.features_ms
        start_ms = max(first_ms, facts.features_settled_ms)
        end_ms = min(now_ms // grain_ms * grain_ms, last_ms + grain_ms)
        # Each row with features counts in the traffic of its grain.
        for grain_start_ms in model.occupied[TRAFFIC].grains(start_ms, end_ms, grain_ms):
            place = state_key(FEATURES, model.number, grain_start_ms)
            tables = self._runs.read(place, state)
            if not any(LEFT_OUT in table.names for table in tables) and (
                sum(len(table.names) for table in tables) <= MOST_SETTLED
            ):
                continue
            yield
            together = concatenate_tables(tables)
            yield
            before = thinned(together.summed())
            yield
            table = settled(before)
            if LEFT_OUT in table.names:
                left_out += left_out_features(
                    model, before, table, grain_start_ms, grain_start_ms + grain_ms
                )
                # Told once: what is left out of longer spans is counted from here.
                is_feature = table.feature != table.names.index(LEFT_OUT)
                table = table.take(np.flatnonzero(is_feature)).trimmed()
                self._runs.replace(place, table, state)
            yield
        facts.features_settled_ms = max(facts.features_settled_ms, end_ms)
        return left_out

    def spans(
        self, model: MeasuredModel, start_ms: int, end_ms: int, grain_ms: int, state: State
    ) -> list[FeatureSpan]:
        """The time from `start_ms` to `end_ms` in consecutive spans; none without any feature.

        Whole days are kept in memory until an increment changes them.
        """
        if not _has_features(model, start_ms, end_ms):
            return []
        spans = []
        at = start_ms
        while at < end_ms:
            if at % DAY_MS == 0 and at + DAY_MS <= end_ms and DAY_MS % grain_ms == 0:
                key = _Day(model.number, at // DAY_MS)
                day = self._days.pop(key, None)
                if day is None:
                    day = FeatureSpan(
                        [
                            self._grain(model, start, state)
                            for start in range(at, at + DAY_MS, grain_ms)
                        ]
                    )
                    if len(self._days) > MOST_DAYS:
                        del self._days[next(iter(self._days))]
                self._days[key] = day
                spans.append(day)
                at += DAY_MS
            else:
                spans.append(FeatureSpan([self._grain(model, at, state)]))
                at += grain_ms
        return spans

    def drop(
        self, model: MeasuredModel, start_ms: int, end_ms: int, grain_ms: int, state: State
    ) -> None:
        """Delete all summaries from `start_ms` to `end_ms`, both whole days."""
        if not _has_features(model, start_ms, end_ms):
            return
        grains = range(start_ms, end_ms, grain_ms)
        self._runs.drop((state_key(FEATURES, model.number, grain) for grain in grains), state)
        for day in range(start_ms // DAY_MS, end_ms // DAY_MS):
            self._days.pop(_Day(model.number, day), None)

    def _grain(self, model: MeasuredModel, start_ms: int, state: State) -> FeatureTable:
        tables = self._runs.read(state_key(FEATURES, model.number, start_ms), state)
        return settled(concatenate_tables(tables)) if tables else EMPTY


def _has_features(model: MeasuredModel, start_ms: int, end_ms: int) -> bool:
    """Whether a grain from `start_ms` to `end_ms` may have summaries."""
    first_ms, last_ms = model.facts.features_ms or (end_ms, end_ms)
    return first_ms < end_ms and start_ms <= last_ms


_NO_VALUES: Final = FeatureSummary()
