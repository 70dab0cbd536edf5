"""Feature summaries of the traffic lane, by grain of time, series and feature.

A grain is a pane, or a whole bucket of panes where the detection window is made of those. Summaries merge in any order; what they are is
`streams.features`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from schemas.times import DAY_MS
from streams.features import FeatureSummary, merge_features
from streams.measure.model import Model
from streams.measure.runs import Kind, Runs, place_of
from streams.partial import Partial
from streams.stage import State

CACHED_BINS: Final = 1_000_000
MOST_DAYS: Final = 100

Summaries = Mapping[tuple[int, str], FeatureSummary]
"""By series number and name of the feature."""


class FeaturePanes:
    """The summaries of all models of a task."""

    def __init__(self) -> None:
        self._runs = Runs(Kind(_size, merged, _encoded, _decoded), cached=CACHED_BINS)
        self._days: dict[tuple[int, int], tuple[Summaries, list[Summaries]]] = {}

    def add(self, model: Model, partials: Sequence[Partial], grain_ms: int, state: State) -> None:
        """Add the summaries of several partials of one model."""
        found: dict[int, dict[tuple[int, str], list[FeatureSummary]]] = {}
        for partial in partials:
            if not partial.features:
                continue
            numbers = model.series_numbers(partial.series, state).tolist()
            for feature in partial.features:
                grain = found.setdefault(feature.pane // grain_ms * grain_ms, {})
                grain.setdefault((numbers[feature.series], feature.feature), []).append(feature.summary)
        for start_ms in sorted(found):
            summaries = {key: merge_features(parts) for key, parts in sorted(found[start_ms].items())}
            self._runs.append(place_of(b"f", model.number, start_ms), summaries, state)
            self._days.pop((model.number, start_ms // DAY_MS), None)

    def by_grain(self, model: Model, start_ms: int, end_ms: int, grain_ms: int, state: State) -> list[Summaries]:
        """The summaries of each grain from `start_ms` to `end_ms`, empty ones in their place."""
        return [grain for _, grains in self._parts(model, start_ms, end_ms, grain_ms, state) for grain in grains]

    def whole(self, model: Model, start_ms: int, end_ms: int, grain_ms: int, state: State) -> Summaries:
        """The summaries of a span of time."""
        return merged([whole for whole, _ in self._parts(model, start_ms, end_ms, grain_ms, state)])

    def _parts(self, model: Model, start_ms: int, end_ms: int, grain_ms: int, state: State) -> list[tuple[Summaries, list[Summaries]]]:
        """A span in parts, each as a whole and by grain; whole days are kept in memory until an increment changes them."""
        parts = []
        at = start_ms
        while at < end_ms:
            if at % DAY_MS == 0 and at + DAY_MS <= end_ms and DAY_MS % grain_ms == 0:
                day = self._days.pop((model.number, at // DAY_MS), None)
                if day is None:
                    grains = [self._grain(model, start, state) for start in range(at, at + DAY_MS, grain_ms)]
                    day = (merged(grains), grains)
                    if len(self._days) > MOST_DAYS:
                        del self._days[next(iter(self._days))]
                self._days[model.number, at // DAY_MS] = day
                parts.append(day)
                at += DAY_MS
            else:
                grain = self._grain(model, at, state)
                parts.append((grain, [grain]))
                at += grain_ms
        return parts

    def _grain(self, model: Model, start_ms: int, state: State) -> Summaries:
        return merged(self._runs.read(place_of(b"f", model.number, start_ms), state))

    def drop(self, model: Model, end_ms: int, state: State) -> None:
        """Forget everything before `end_ms`."""
        self._runs.drop(place_of(b"f", model.number, 0), place_of(b"f", model.number, end_ms), state)
        for key in [key for key in self._days if key[0] == model.number and (key[1] + 1) * DAY_MS <= end_ms]:
            del self._days[key]


def merged(parts: Sequence[Summaries]) -> Summaries:
    """The summaries of all rows of all parts."""
    if len(parts) == 1:
        return parts[0]
    by_key: dict[tuple[int, str], list[FeatureSummary]] = {}
    for part in parts:
        for key, summary in part.items():
            by_key.setdefault(key, []).append(summary)
    return {key: merge_features(by_key[key]) for key in sorted(by_key)}


def _size(summaries: Summaries) -> int:
    return sum(1 + len(summary.numbers.keys) + len(summary.texts.values) for summary in summaries.values())


def _encoded(summaries: Summaries) -> bytes:
    return _encode([(number, feature, summary.encode()) for (number, feature), summary in summaries.items()])


def _decoded(data: bytes) -> Summaries:
    return {(number, feature): FeatureSummary.decode(summary) for number, feature, summary in _decode(data)}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, str, bytes]]).decode
