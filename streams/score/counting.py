"""What a prediction, a change of its outcome, and a row that changes nothing add to the three lanes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.settings import Config
from streams import lanes
from streams.bins import EMPTY as NO_NUMBERS
from streams.bins import NumericSummary, summaries_by_group
from streams.columns import NAN, PredictionColumns, by_name
from streams.features import FeatureSummary
from streams.lanes import ARRIVALS, COUNTER_CODES, DECISIONS, NO_LABEL, SCORE_BINS, SCORE_SCALE, TRAFFIC
from streams.loglinear import bin_of
from streams.partial import FeaturePartial
from streams.score.arrivals import Predictions, Texts
from streams.score.increments import Increments, Ints, Rows, series_keys
from streams.texts import EMPTY as NO_TEXTS
from streams.texts import StringSummary

_MICROSECONDS = 1_000.0
_BOOLEANS = ("false", "true")
_TEXT = frozenset({str, type(None)})


class Changes(msgspec.Struct, gc=False):
    """Changes of the label in force, columns of shape (N,), `segments` (N, D); `sign` -1 takes back what was counted before."""

    name: Ints
    segments: Ints
    timestamp_ms: Ints
    predicted: Ints
    score: Ints
    hashes: NDArray[np.uint64]
    known_ms: Ints
    delay_ms: Ints
    old: Ints
    new: Ints
    first: NDArray[np.bool_]
    sign: Ints

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]], dimensions: int) -> Self:
        """From tuples in the order of the columns."""
        columns = list(zip(*rows, strict=True)) if rows else [()] * 12
        timestamp, predicted, score, known, delay, old, new = (np.array(c, np.int64) for c in columns[2:5] + columns[6:10])
        return cls(
            name=np.array(columns[0], np.int64),
            segments=np.array(columns[1], np.int64).reshape(len(rows), dimensions),
            timestamp_ms=timestamp,
            predicted=predicted,
            score=score,
            hashes=np.array(columns[5], np.uint64),
            known_ms=known,
            delay_ms=delay,
            old=old,
            new=new,
            first=np.array(columns[10], np.bool_),
            sign=np.array(columns[11], np.int64),
        )


class Counting:
    """Fills the increments of one batch."""

    def __init__(self, config: Config, texts: Texts) -> None:
        self._config = config
        self._texts = texts
        self._lanes = {lane for lane, name in enumerate(lanes.LANE_NAMES) if name in config.lanes}
        self.arrivals = ARRIVALS in self._lanes
        self.increments = Increments(config.pane_ms)

    def predictions(self, rows: Predictions, columns: PredictionColumns) -> None:
        """Predictions that are new: traffic where in time, decisions at the rung of their own lateness."""
        if not len(rows):
            return
        if DECISIONS in self._lanes:
            at = np.flatnonzero(rows.predicted != NO_LABEL)
            rung = self._texts.rung_of(rows.lateness_ms[at], rows.name[at])
            counted = self._rows(DECISIONS, rows.name[at], rows.segments[at], rows.timestamp_ms[at], rung)
            counted.count(lanes.COUNT, 0, COUNTER_CODES["predictions"])
        late = rows.lateness_ms > 0
        if late.any():
            self.counter("late_predictions", rows.name[late], rows.segments[late], rows.floor_ms[late])
        if TRAFFIC in self._lanes:
            self._traffic(rows.take(np.flatnonzero(~late)) if late.any() else rows, columns)

    def _traffic(self, rows: Predictions, columns: PredictionColumns) -> None:
        if not len(rows):
            return
        counted = self._rows(TRAFFIC, rows.name, rows.segments, rows.timestamp_ms)
        counted.count(lanes.COUNT, 0, COUNTER_CODES["predictions"])
        counted.count(lanes.COUNT, 0, COUNTER_CODES["errors"], where=columns.failed[rows.at])
        latency_ms = columns.latency_ms[rows.at]
        measured = ~np.isnan(latency_ms)
        if measured.any():
            micros = np.rint(np.where(measured, latency_ms, 0.0) * _MICROSECONDS).astype(np.int64)
            counted.count(lanes.LATENCY, 0, bin_of(micros), where=measured)
        scored = rows.score >= 0
        if scored.any():
            counted.count(lanes.PREDICTED_SCORES, rows.predicted, score_bin(rows.score), where=scored)
        unscored = ~scored & (rows.predicted != NO_LABEL)
        if unscored.any():
            counted.count(lanes.PREDICTED, rows.predicted, 0, where=unscored)
        if columns.features is not None:
            self._features(rows, list(map(columns.features.__getitem__, rows.at.tolist())))

    def changes(self, rows: Changes) -> None:
        """Changes of outcomes.

        In decisions the old label is taken back and the new one counted at the rung of the delay; arrivals only has what truths say when
        they come, so it counts the new label.
        """
        if not len(rows.name):
            return
        new, old = rows.new != NO_LABEL, rows.old != NO_LABEL
        if DECISIONS in self._lanes:
            rung = self._texts.rung_of(rows.delay_ms, rows.name)
            counted = self._rows(DECISIONS, rows.name, rows.segments, rows.timestamp_ms, rung)
            self._labels(counted, rows, rows.new, rows.sign, new)
            if old.any():
                self._labels(counted, rows, rows.old, -rows.sign, old)
            counted.count(lanes.COUNT, 0, COUNTER_CODES["joined"], rows.sign, rows.first)
            counted.count(lanes.DELAY, 0, bin_of(rows.delay_ms), rows.sign, rows.first)
            if not rows.first.all():
                counted.count(lanes.COUNT, 0, COUNTER_CODES["corrected"], rows.sign, ~rows.first & new)
                counted.count(lanes.COUNT, 0, COUNTER_CODES["retracted"], rows.sign, ~new)
        if self.arrivals:
            self._rows(ARRIVALS, rows.name, rows.segments, rows.known_ms).count(lanes.CELLS, rows.new, rows.predicted, rows.sign, new)
            at = np.flatnonzero(rows.first)
            recent = (rows.known_ms[at], rows.hashes[at], rows.new[at], rows.predicted[at], rows.sign[at])
            self.increments.add_recent(rows.name[at], rows.segments[at], *recent)

    def _labels(self, counted: Rows, rows: Changes, label: Ints, sign: Ints, has: NDArray[np.bool_]) -> None:
        """Cells and scores of rows that have a label; an id is in the fit half if its hash is even, else in the hold-out half."""
        counted.count(lanes.CELLS, label, rows.predicted, sign, has)
        scored = has & (rows.score >= 0)
        if not scored.any():
            return
        half = (rows.hashes & np.uint64(1)).astype(np.bool_)
        bins, score = score_bin(rows.score), np.maximum(rows.score, 0)
        counted.count(lanes.SCORES_FIT, label, bins, sign, scored & ~half)
        counted.count(lanes.SCORES_HOLDOUT, label, bins, sign, scored & half)
        counted.count(lanes.SCORE_SUM, label, 0, score * sign, scored)
        counted.count(lanes.SCORE_SQUARES, label, 0, (score * score + SCORE_SCALE // 2) // SCORE_SCALE * sign, scored)

    def counter(self, counter: str, name: Ints, segments: Ints, time_ms: Ints, sign: Ints | None = None) -> None:
        """Count rows in the arrivals lane at the time at which they came to nothing."""
        if self.arrivals:
            self._rows(ARRIVALS, name, segments, time_ms).count(lanes.COUNT, 0, COUNTER_CODES[counter], sign)

    def _rows(self, lane: int, name: Ints, segments: Ints, time_ms: Ints, rung: Ints | None = None) -> Rows:
        return self.increments.rows(lane, name, segments, time_ms // self._config.pane_ms, rung)

    def _features(self, rows: Predictions, features: list[dict[str, Any] | None]) -> None:
        columns = by_name(features)
        if not columns:
            return
        pane_ms = self._config.pane_ms
        row, series = _feature_series(rows, self._texts, self._config)
        panes = rows.timestamp_ms // pane_ms
        # One group per (series, pane) that has rows; a feature's values are sorted once for all groups.
        first_pane, pane_span = int(panes.min()), int(panes.max() - panes.min()) + 1
        groups, group = np.unique(series * pane_span + (panes[row] - first_pane), return_inverse=True)
        keys = (groups // pane_span).tolist()
        starts = ((groups % pane_span + first_pane) * pane_ms).tolist()
        split = {feature: _split(values) for feature, values in columns.items()}
        numeric = _summaries({feature: numbers for feature, (numbers, _) in split.items() if numbers is not None}, row, group, len(groups))
        for feature, (_, texts) in split.items():
            textual = {} if texts is None else _texts_by_group(texts, row, group)
            summaries = numeric.get(feature) or [NO_NUMBERS] * len(groups)
            for number, (key, start, summary) in enumerate(zip(keys, starts, summaries, strict=True)):
                if number in textual or len(summary.keys):
                    # How many rows lack the feature follows in stage 2 from the rows of the pane: a batch cannot know all features.
                    found = FeatureSummary(summary, textual.get(number, NO_TEXTS))
                    self.increments.features.append((key, FeaturePartial(0, start, feature, found)))


def score_bin(score: Ints) -> Ints:
    """The score bin, in [0, SCORE_BINS), of scores in SCORE_SCALE."""
    return np.clip(score // (SCORE_SCALE // SCORE_BINS), 0, SCORE_BINS - 1)


def _feature_series(rows: Predictions, texts: Texts, config: Config) -> tuple[Ints, Ints]:
    """Row index and series key for "all" and for the dimensions in which the model's features are counted."""
    row, keys = [np.arange(len(rows))], [series_keys(rows.name, np.zeros_like(rows.name))]
    for d, dimension in enumerate(config.segments):
        wanted = np.array([dimension in config.for_model(model).feature_segments for model, _ in texts.names], np.bool_)
        at = np.flatnonzero(wanted[rows.name] & (rows.segments[:, d] > 0))
        row.append(at)
        keys.append(series_keys(rows.name[at], rows.segments[at, d]))
    return np.concatenate(row), np.concatenate(keys)


def _split(values: Sequence[Any]) -> tuple[NDArray[np.float64] | None, list[str | None] | None]:
    """Numbers, NaN where there is none, and texts (booleans among them), None where there is none; each None if there are none at all."""
    kinds = frozenset(map(type, values))
    if kinds <= _TEXT:
        return None, list(values)
    texts = None
    if str in kinds or bool in kinds:
        texts = [value if isinstance(value, str) else _BOOLEANS[value] if isinstance(value, bool) else None for value in values]
        values = [None if isinstance(value, str | bool) else value for value in values]
    numbers = None
    if float in kinds or int in kinds:
        numbers = np.array([NAN if value is None else value for value in values] if None in values else values, np.float64)
    return numbers, texts


def _summaries(
    numbers: dict[str, NDArray[np.float64]], row: Ints, group: Ints, group_count: int
) -> dict[str, list[NumericSummary]]:
    """Summaries of each feature by group: one sort for all of them."""
    if not numbers:
        return {}
    values = np.stack(list(numbers.values()))[:, row].ravel()
    groups = (np.arange(len(numbers))[:, None] * group_count + group).ravel()
    found = summaries_by_group(values, groups, len(numbers) * group_count)
    return {feature: found[i * group_count : (i + 1) * group_count] for i, feature in enumerate(numbers)}


def _texts_by_group(texts: list[str | None], row: Ints, group: Ints) -> dict[int, StringSummary]:
    codes: dict[str | None, int] = {text: code for code, text in enumerate(dict.fromkeys(texts))}
    known = list(codes)
    code = np.fromiter(map(codes.__getitem__, texts), np.int64, len(texts))
    pairs, times = np.unique(group * len(known) + code[row], return_counts=True)
    by_group: dict[int, dict[str, int]] = {}
    for number, at, n in zip((pairs // len(known)).tolist(), (pairs % len(known)).tolist(), times.tolist(), strict=True):
        text = known[at]
        if text is not None:
            by_group.setdefault(number, {})[text] = n
    return {number: StringSummary.of_counts(counts) for number, counts in by_group.items()}
