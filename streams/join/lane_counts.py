"""What a prediction, a change of its outcome, and a row that changes nothing add to the three
lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.schemas.settings import Config
from driftline.streams import lanes
from driftline.streams.columns import PredictionColumns
from driftline.streams.join.batch_rows import Predictions
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.feature_counts import summarised
from driftline.streams.join.increments import Increments, Ints, Rows
from driftline.streams.lanes import (
    ARRIVALS,
    COUNTER_CODES,
    DECISIONS,
    NO_LABEL,
    SCORE_BINS,
    SCORE_SCALE,
    TRAFFIC,
)
from driftline.streams.masks import all_true, any_true
from driftline.streams.summaries.loglinear import bin_of

_MICROSECONDS = 1_000.0


class Changes(msgspec.Struct, gc=False):
    """Changes of the label in force, columns of shape (N,), `segments` (N, D);

    `sign` -1 takes back what was counted before.
    """

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
        timestamp, predicted, score, known, delay, old, new = (
            np.array(c, np.int64) for c in columns[2:5] + columns[6:10]
        )
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

    def __init__(self, config: Config, texts: CodeBook) -> None:
        self._config = config
        self._texts = texts
        self._lanes = {lane for lane, name in enumerate(lanes.LANE_NAMES) if name in config.lanes}
        self.arrivals = ARRIVALS in self._lanes
        self.increments = Increments(config.pane_ms)

    def predictions(self, rows: Predictions, columns: PredictionColumns) -> None:
        """Predictions that are new: traffic where in time, decisions at the rung of their own
        lateness.
        """
        if not len(rows):
            return
        if DECISIONS in self._lanes:
            at = np.flatnonzero(rows.predicted != NO_LABEL)
            rung = self._texts.rung_of(rows.lateness_ms[at], rows.name[at])
            counted = self._rows(
                DECISIONS, rows.name[at], rows.segments[at], rows.timestamp_ms[at], rung
            )
            counted.count(lanes.COUNT, 0, COUNTER_CODES["predictions"])
        late = rows.lateness_ms > 0
        if any_true(late):
            self.counter(
                "late_predictions", rows.name[late], rows.segments[late], rows.floor_ms[late]
            )
        if TRAFFIC in self._lanes:
            self._traffic(rows.take(np.flatnonzero(~late)) if any_true(late) else rows, columns)

    def _traffic(self, rows: Predictions, columns: PredictionColumns) -> None:
        if not len(rows):
            return
        counted = self._rows(TRAFFIC, rows.name, rows.segments, rows.timestamp_ms)
        counted.count(lanes.COUNT, 0, COUNTER_CODES["predictions"])
        counted.count(lanes.COUNT, 0, COUNTER_CODES["errors"], where=columns.failed[rows.at])
        latency_ms = columns.latency_ms[rows.at]
        measured = ~np.isnan(latency_ms)
        if any_true(measured):
            micros = np.rint(np.where(measured, latency_ms, 0.0) * _MICROSECONDS).astype(np.int64)
            counted.count(lanes.LATENCY, 0, bin_of(micros), where=measured)
        scored = rows.score >= 0
        if any_true(scored):
            counted.count(
                lanes.PREDICTED_SCORES, rows.predicted, score_bin(rows.score), where=scored
            )
        unscored = ~scored & (rows.predicted != NO_LABEL)
        if any_true(unscored):
            counted.count(lanes.PREDICTED, rows.predicted, 0, where=unscored)
        self.increments.add_features(*summarised(rows, columns.features, self._texts, self._config))

    def changes(self, rows: Changes) -> None:
        """Changes of outcomes.

        In decisions the old label is taken back and the new one counted at the rung of the delay;
        arrivals only has what truths say when they come, so it counts the new label.
        """
        if not len(rows.name):
            return
        new, old = rows.new != NO_LABEL, rows.old != NO_LABEL
        if DECISIONS in self._lanes:
            rung = self._texts.rung_of(rows.delay_ms, rows.name)
            counted = self._rows(DECISIONS, rows.name, rows.segments, rows.timestamp_ms, rung)
            self._labels(counted, rows, rows.new, rows.sign, new)
            if any_true(old):
                self._labels(counted, rows, rows.old, -rows.sign, old)
            counted.count(lanes.COUNT, 0, COUNTER_CODES["joined"], rows.sign, rows.first)
            counted.count(lanes.DELAY, 0, bin_of(rows.delay_ms), rows.sign, rows.first)
            if not all_true(rows.first):
                counted.count(
                    lanes.COUNT, 0, COUNTER_CODES["corrected"], rows.sign, ~rows.first & new
                )
                counted.count(lanes.COUNT, 0, COUNTER_CODES["retracted"], rows.sign, ~new)
        if self.arrivals:
            self._rows(ARRIVALS, rows.name, rows.segments, rows.known_ms).count(
                lanes.CELLS, rows.new, rows.predicted, rows.sign, new
            )
            at = np.flatnonzero(rows.first & self._texts.has_last_n[rows.name])
            recent = (
                rows.known_ms[at],
                rows.hashes[at],
                rows.new[at],
                rows.predicted[at],
                rows.sign[at],
            )
            self.increments.add_recent(rows.name[at], rows.segments[at], *recent)

    def _labels(
        self, counted: Rows, rows: Changes, label: Ints, sign: Ints, has: NDArray[np.bool_]
    ) -> None:
        """Cells and scores of rows that have a label; an id is in the fit half if its hash is even,
        else in the hold-out half.
        """
        counted.count(lanes.CELLS, label, rows.predicted, sign, has)
        scored = has & (rows.score >= 0)
        if not any_true(scored):
            return
        half = (rows.hashes & np.uint64(1)).astype(np.bool_)
        bins, score = score_bin(rows.score), np.maximum(rows.score, 0)
        counted.count(lanes.SCORES_FIT, label, bins, sign, scored & ~half)
        counted.count(lanes.SCORES_HOLDOUT, label, bins, sign, scored & half)
        counted.count(lanes.SCORE_SUM, label, 0, score * sign, scored)
        counted.count(
            lanes.SCORE_SQUARES,
            label,
            0,
            (score * score + SCORE_SCALE // 2) // SCORE_SCALE * sign,
            scored,
        )

    def counter(
        self, counter: str, name: Ints, segments: Ints, time_ms: Ints, sign: Ints | None = None
    ) -> None:
        """Count rows in the arrivals lane at the time at which they came to nothing."""
        if self.arrivals:
            self._rows(ARRIVALS, name, segments, time_ms).count(
                lanes.COUNT, 0, COUNTER_CODES[counter], sign
            )

    def _rows(
        self, lane: int, name: Ints, segments: Ints, time_ms: Ints, rung: Ints | None = None
    ) -> Rows:
        return self.increments.rows(lane, name, segments, time_ms // self._config.pane_ms, rung)


def score_bin(score: Ints) -> Ints:
    """The score bin, in [0, SCORE_BINS), of scores in SCORE_SCALE."""
    # For few scores a sixth of the time of np.clip.
    return np.minimum(np.maximum(score // (SCORE_SCALE // SCORE_BINS), 0), SCORE_BINS - 1)
