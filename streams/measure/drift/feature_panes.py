"""Feature summaries of the traffic lane, by grain of time, series and feature.

A grain is a pane, or a whole bucket of panes where the detection window is made of those. Summaries
merge in any order; what they are is `driftline.streams.summaries.feature_summary`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from driftline.schemas.times import DAY_MS
from driftline.streams.masks import any_true
from driftline.streams.measure.counts.count_table import Ints
from driftline.streams.measure.counts.intake import ReceivedPartials
from driftline.streams.measure.counts.merge_runs import MergeRuns, RunFormat
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.state_keys import FEATURES, state_key
from driftline.streams.stage import State
from driftline.streams.summaries.feature_table import FeatureTable, joined

CACHED_BINS: Final = 1_000_000
MOST_DAYS: Final = 100

TABLES: Final = RunFormat(
    size=lambda table: table.size,
    merge=lambda tables: joined(tables).summed(),
    encode=FeatureTable.encode,
    decode=FeatureTable.decode,
)


class FeatureSpan:
    """A span of time as a whole and by grain.

    Attributes
    ----------
    whole, grains
        The summaries, one row for each series and feature; by grain as a mapping.
    counted
        What a target was counted into for a reference, with the reference: it is asked again as
        long as a window slides over the span.
    """

    __slots__ = ("counted", "grains", "whole")

    def __init__(self, grains: Sequence[FeatureTable]) -> None:
        self.whole = joined(grains).summed()
        self.grains = [grain.summaries() for grain in grains]
        self.counted: dict[tuple[int, str], tuple[object, Ints]] = {}


class FeaturePanes:
    """The summaries of all models of a task."""

    def __init__(self) -> None:
        self._runs = MergeRuns(TABLES, cached=CACHED_BINS)
        self._days: dict[tuple[int, int], FeatureSpan] = {}

    def add(self, received: ReceivedPartials, grains_ms: Sequence[int], state: State) -> None:
        """Add the summaries of all partials of a batch;

        `grains_ms` has the length of the grains for each part.
        """
        tables = [partial.features for partial in received.partials]
        if not any(map(len, tables)):
            return
        at = received.places(
            [len(table) for table in tables], np.concatenate([table.series for table in tables])
        )
        table = msgspec.structs.replace(
            joined([table for table in tables if len(table)]), series=received.number[at]
        )
        part = received.part[at]
        owner = np.array([part.model.number for part in received.parts], np.int64)[part]
        grain_ms = np.array(grains_ms, np.int64)[part]
        start = (
            np.concatenate([partial.feature_panes for partial in received.partials])
            // grain_ms
            * grain_ms
        )
        # As they come: samples of several partitions have few values in common, so that summing
        # them up here would save little.
        order = np.lexsort((start, owner))
        if any_true(order[1:] < order[:-1]):
            table, owner, start = table.take(order), owner[order], start[order]
        edges = [
            0,
            *(((owner[1:] != owner[:-1]) | (start[1:] != start[:-1])).nonzero()[0] + 1).tolist(),
            len(owner),
        ]
        for rows, number, start_ms in zip(
            table.split(edges), owner[edges[:-1]].tolist(), start[edges[:-1]].tolist(), strict=True
        ):
            self._runs.append(state_key(FEATURES, number, start_ms), rows.bounded(), state)
            self._days.pop((number, start_ms // DAY_MS), None)

    def parts(
        self, model: MeasuredModel, start_ms: int, end_ms: int, grain_ms: int, state: State
    ) -> list[FeatureSpan]:
        """A span in parts, in order of time; whole days are kept in memory until an increment
        changes them.
        """
        parts = []
        at = start_ms
        while at < end_ms:
            if at % DAY_MS == 0 and at + DAY_MS <= end_ms and DAY_MS % grain_ms == 0:
                day = self._days.pop((model.number, at // DAY_MS), None)
                if day is None:
                    day = FeatureSpan(
                        [
                            self._grain(model, start, state)
                            for start in range(at, at + DAY_MS, grain_ms)
                        ]
                    )
                    if len(self._days) > MOST_DAYS:
                        del self._days[next(iter(self._days))]
                self._days[model.number, at // DAY_MS] = day
                parts.append(day)
                at += DAY_MS
            else:
                parts.append(FeatureSpan([self._grain(model, at, state)]))
                at += grain_ms
        return parts

    def _grain(self, model: MeasuredModel, start_ms: int, state: State) -> FeatureTable:
        tables = self._runs.read(state_key(FEATURES, model.number, start_ms), state)
        return joined(tables).summed()

    def drop(self, model: MeasuredModel, end_ms: int, state: State) -> None:
        """Forget everything before `end_ms`."""
        self._runs.drop(
            state_key(FEATURES, model.number, 0), state_key(FEATURES, model.number, end_ms), state
        )
        for key in [
            key for key in self._days if key[0] == model.number and (key[1] + 1) * DAY_MS <= end_ms
        ]:
            del self._days[key]
