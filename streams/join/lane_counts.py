"""Counts of the three lanes: what a prediction, a change of its label, and a row without effect
add.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.settings import Config
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams import lanes
from driftline.streams.columns import PredictionColumns
from driftline.streams.join.batch_rows import Predictions
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.feature_counts import summarize_features
from driftline.streams.join.increments import Increments, Ints, Rows
from driftline.streams.join.label_changes import LabelChanges
from driftline.streams.join.uncounted_rows import UncountedRow, UncountedRows
from driftline.streams.lanes import (
    ARRIVALS,
    COUNTER_CODES,
    DECISIONS,
    NO_LABEL,
    TRAFFIC,
)
from driftline.streams.masks import all_true, any_true
from driftline.streams.score_bins import SUM_UNITS, bins_of, sum_units
from driftline.streams.summaries.loglinear import bin_of
from driftline.streams.watermark import JUMP_MS, Misdated

_MICROSECONDS = 1_000.0


class BatchCounts:
    """Counts of one batch.

    Attributes
    ----------
    has_arrivals
        Whether the arrivals lane is configured.
    increments
        The counts.
    uncounted_rows
        The rows that did not count, or not everywhere, for the log.
    """

    def __init__(self, config: Config, book: CodeBook) -> None:
        self._config = config
        self._book = book
        self._lanes = {lane for lane, name in enumerate(lanes.LANE_NAMES) if name in config.lanes}
        self.has_arrivals = ARRIVALS in self._lanes
        self.increments = Increments(config.pane_ms)
        self.uncounted_rows = UncountedRows()

    def predictions(self, rows: Predictions, columns: PredictionColumns) -> None:
        """Count new predictions: in traffic those in time, in decisions all at the rung of their
        lateness.
        """
        if not len(rows):
            return
        if DECISIONS in self._lanes:
            at = np.flatnonzero(rows.predicted != NO_LABEL)
            rung = self._book.rung_of(rows.lateness_ms[at], rows.name[at])
            counted = self._rows(
                DECISIONS, rows.name[at], rows.segments[at], rows.timestamp_ms[at], rung
            )
            counted.count(lanes.COUNT, 0, COUNTER_CODES["predictions"])
        late = rows.lateness_ms > 0
        if any_true(late):
            self.add_late("late_prediction", rows, np.flatnonzero(late), rows.floor_ms, columns)
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
            counted.count(lanes.PREDICTED_SCORES, rows.predicted, bins_of(rows.score), where=scored)
        unscored = ~scored & (rows.predicted != NO_LABEL)
        if any_true(unscored):
            counted.count(lanes.PREDICTED, rows.predicted, 0, where=unscored)
        self.increments.add_features(
            *summarize_features(rows, columns.features, self._book, self._config)
        )

    def add_late(
        self,
        reason: Literal["late_prediction", "dropped_prediction"],
        rows: Predictions,
        at: Ints,
        limit_ms: Ints,
        columns: PredictionColumns,
    ) -> None:
        """Count the predictions at the indexes `at`, whose event times are before `limit_ms`."""
        counter = f"{reason}s"
        self.counter(counter, rows.name[at], rows.segments[at], rows.floor_ms[at])

        def example() -> UncountedRow:
            i = at[0]
            return UncountedRow(
                reason=reason,
                count=len(at),
                topic=PREDICTIONS,
                prediction_id=rows.keys[i].decode(),
                offset=int(columns.offset[rows.at[i]]),
                event_ms=int(rows.timestamp_ms[i]),
                known_ms=int(rows.timestamp_ms[i]),
                watermark_ms=int(rows.floor_ms[i]) + self._config.prediction_grace_ms,
                limit_ms=int(limit_ms[i]),
            )

        self.uncounted_rows.add(reason, len(at), example)

    def add_misdated(self, topic: str, misdated: Sequence[Misdated]) -> None:
        """Note rows that were too far ahead of the others to move the watermark."""
        if not misdated:
            return
        first = misdated[0]
        self.uncounted_rows.add(
            "misdated_prediction" if topic == PREDICTIONS else "misdated_truth",
            len(misdated),
            lambda: UncountedRow(
                reason="misdated_prediction" if topic == PREDICTIONS else "misdated_truth",
                count=len(misdated),
                topic=topic,
                prediction_id=first.row.id.decode(),
                offset=first.row.offset,
                event_ms=first.row.timestamp_ms,
                known_ms=first.row.timestamp_ms,
                watermark_ms=first.watermark_ms,
                limit_ms=first.watermark_ms + JUMP_MS,
            ),
        )

    def add_duplicates(self, rows: Predictions, at: list[int], columns: PredictionColumns) -> None:
        """Note the duplicates at the indexes `at`; `counter` counts them."""
        i = at[0]
        self.uncounted_rows.add(
            "duplicate_prediction",
            len(at),
            lambda: UncountedRow(
                reason="duplicate_prediction",
                count=len(at),
                topic=PREDICTIONS,
                prediction_id=rows.keys[i].decode(),
                offset=int(columns.offset[rows.at[i]]),
                event_ms=int(rows.timestamp_ms[i]),
                known_ms=int(rows.timestamp_ms[i]),
                watermark_ms=int(rows.floor_ms[i]) + self._config.prediction_grace_ms,
                limit_ms=None,
            ),
        )

    def add_expired(
        self, count: int, key: bytes, event_ms: int, expires_ms: int, reached_ms: int
    ) -> None:
        """Note `count` predictions that expired without a truth; `counter` counts them. The other
        parameters are those of the first one, and the frontier.
        """
        self.uncounted_rows.add(
            "expired_prediction",
            count,
            lambda: UncountedRow(
                reason="expired_prediction",
                count=count,
                topic=PREDICTIONS,
                prediction_id=key.decode(),
                offset=None,
                event_ms=event_ms,
                known_ms=event_ms,
                watermark_ms=reached_ms,
                limit_ms=expires_ms,
            ),
        )

    def add_unmatched(
        self, count: int, key: bytes, event_ms: int, known_ms: int, reached_ms: int
    ) -> None:
        """Note `count` truths whose park time ended; `counter` counts them. The other parameters
        are those of the first one, and the frontier.
        """
        self.uncounted_rows.add(
            "unmatched_truth",
            count,
            lambda: UncountedRow(
                reason="unmatched_truth",
                count=count,
                topic=GROUND_TRUTH,
                prediction_id=key.decode(),
                offset=None,
                event_ms=event_ms,
                known_ms=known_ms,
                watermark_ms=reached_ms,
                limit_ms=known_ms + self._config.park_ms,
            ),
        )

    def changes(self, rows: LabelChanges) -> None:
        """Count changes of labels.

        In decisions the old label is taken back and the new one counted at the rung of the delay.
        In arrivals a label counts when it arrives and is never taken back.
        """
        if not len(rows.name):
            return
        new, old = rows.new != NO_LABEL, rows.old != NO_LABEL
        if DECISIONS in self._lanes:
            rung = self._book.rung_of(rows.delay_ms, rows.name)
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
        if self.has_arrivals:
            self._rows(ARRIVALS, rows.name, rows.segments, rows.known_ms).count(
                lanes.CELLS, rows.new, rows.predicted, rows.sign, new
            )
            at = np.flatnonzero(rows.first & self._book.has_last_n[rows.name])
            self.increments.add_recent(
                name=rows.name[at],
                segments=rows.segments[at],
                time=rows.known_ms[at],
                hashes=rows.hashes[at],
                actual=rows.new[at],
                predicted=rows.predicted[at],
                sign=rows.sign[at],
            )

    def _labels(
        self, counted: Rows, rows: LabelChanges, label: Ints, sign: Ints, has: NDArray[np.bool_]
    ) -> None:
        """Count cells and scores of the rows in `has`. Ids with an even hash are the fit half, the
        others the hold-out half.
        """
        counted.count(lanes.CELLS, label, rows.predicted, sign, has)
        scored = has & (rows.score >= 0)
        if not any_true(scored):
            return
        half = (rows.hashes & np.uint64(1)).astype(np.bool_)
        bins, score = bins_of(rows.score), sum_units(np.maximum(rows.score, 0))
        counted.count(lanes.SCORES_FIT, label, bins, sign, scored & ~half)
        counted.count(lanes.SCORES_HOLDOUT, label, bins, sign, scored & half)
        counted.count(lanes.SCORE_SUM, label, 0, score * sign, scored)
        counted.count(
            lanes.SCORE_SQUARES,
            label,
            0,
            (score * score + SUM_UNITS // 2) // SUM_UNITS * sign,
            scored,
        )

    def counter(
        self, counter: str, name: Ints, segments: Ints, time_ms: Ints, sign: Ints | None = None
    ) -> None:
        """Count rows without effect in the arrivals lane, at the times `time_ms`."""
        if self.has_arrivals:
            self._rows(ARRIVALS, name, segments, time_ms).count(
                lanes.COUNT, 0, COUNTER_CODES[counter], sign
            )

    def _rows(
        self, lane: int, name: Ints, segments: Ints, time_ms: Ints, rung: Ints | None = None
    ) -> Rows:
        return self.increments.rows(lane, name, segments, time_ms // self._config.pane_ms, rung)
