"""Stage 1 of one partition: joins predictions and truths by id and counts what each batch adds.

Adding up partitions and panes, windows and metrics are stage 2.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np

from driftline.schemas.rejects import Reject
from driftline.schemas.settings import Config
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, TICKS, WINDOW_PARTIALS
from driftline.streams.columns import PredictionColumns
from driftline.streams.join.batch_join import BatchJoin
from driftline.streams.join.batch_rows import Predictions, Truths
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.entry import ENTRY_FORMAT
from driftline.streams.join.expiry import Expiry
from driftline.streams.join.expiry_index import INDEX_FORMAT, ExpiryIndex
from driftline.streams.join.lane_counts import BatchCounts
from driftline.streams.join.outcomes import outcome_records
from driftline.streams.join.sequential_join import JoinResult, SequentialJoin
from driftline.streams.join.state_keys import NO_ID
from driftline.streams.join.uncounted_rows import UNCOUNTED_ROWS
from driftline.streams.log_order import rank_rows
from driftline.streams.masks import any_true
from driftline.streams.partial import Watermarks
from driftline.streams.stage import Batch, Record, State
from driftline.streams.watermark import Passage, Watermark, advance

_WATERMARKS: Final = NO_ID + b"w"
MARKS_FORMAT: Final = 3
STATE_FORMAT: Final = (ENTRY_FORMAT, INDEX_FORMAT, MARKS_FORMAT)
"""Formats of what the stage keeps; a state with others cannot be read."""


class Marks(msgspec.Struct, array_like=True, frozen=True):
    """How far a partition has come.

    Attributes
    ----------
    version
        MARKS_FORMAT.
    prediction, truth
        Watermarks of both topics.
    sent
        Panes of both frontiers when watermarks were last emitted.
    ended_ms
        Largest event time of the recorded log, None before its end.
    predictions_ended_ms
        Watermark of the predictions when the recorded log had no further one, None before.
    """

    version: int = MARKS_FORMAT
    prediction: Watermark = Watermark()
    truth: Watermark = Watermark()
    sent: tuple[int, int] = (-1, -1)
    ended_ms: int | None = None
    predictions_ended_ms: int | None = None

    @property
    def prediction_ms(self) -> int:
        """Watermark of the predictions in ms."""
        return self.prediction.ms

    @property
    def truth_ms(self) -> int:
        """Watermark of the ground truths in ms."""
        return self.truth.ms

    @property
    def final_ms(self) -> int:
        """The later one of both watermarks if no further row comes, in ms."""
        return max(self.prediction.final_ms, self.truth.final_ms)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Marks).decode


class _Parts(NamedTuple):
    """The parts of the stage that are built from the state."""

    book: CodeBook
    expiry_index: ExpiryIndex
    join: BatchJoin
    expiry: Expiry


class Join:
    """Stage 1 of one partition.

    What it keeps between calls follows from the state. After a failed commit the driver needs a new
    one.

    Parameters
    ----------
    partition, partitions
        Number of the partition of the input topics, and how many there are.
    target_partitions
        Number of partitions of `window-partials`: models of the same one share a partial.
    """

    name = "join"
    inputs: tuple[str, ...] = (PREDICTIONS, GROUND_TRUTH, TICKS)
    state_format: tuple[int, ...] = STATE_FORMAT

    def __init__(
        self, config: Config, partition: int, partitions: int, target_partitions: int = 1
    ) -> None:
        self._config = config
        self._target_partitions = target_partitions
        self._partition = partition
        self._partitions = partitions
        self._opened: _Parts | None = None
        self._at_rest = False

    @property
    def at_rest(self) -> bool:
        """Whether another call without rows would change nothing.

        False before the first call and while entries wait to expire.
        """
        return self._at_rest

    def marks(self, state: State) -> Marks:
        """How far the partition has come."""
        stored = state.get(_WATERMARKS)
        return Marks() if stored is None else _decode(stored)

    def process(self, batch: Batch, state: State, /) -> list[Record]:
        """Join a batch.

        Returns
        -------
        list of Record
            Dead letters of conflicting predictions, outcomes, one partial for each target partition
            that gains something, watermarks where a frontier entered a new pane, and the rows that
            do not count as a side output.
        """
        if self._opened is None:
            self._opened = self._open(state)
        book, index, join, expiry = self._opened
        marks = self.marks(state)
        prediction, truth = marks.prediction, marks.truth
        counts = BatchCounts(self._config, book)
        passages = _passages(batch, marks)
        for topic, passage in passages.items():
            counts.add_misdated(topic, passage.misdated)
        if not batch.ranked:
            rank_rows(batch.predictions, batch.ground_truth, passages)
        predictions = truths = None
        if batch.predictions is not None and PREDICTIONS in passages:
            prediction = passages[PREDICTIONS].after
            rows = Predictions.of(
                batch.predictions, passages[PREDICTIONS].ms, book, self._config, state
            )
            predictions = self._without_dropped(rows, batch.predictions, book, counts)
        if batch.ground_truth is not None and GROUND_TRUTH in passages:
            truth = passages[GROUND_TRUTH].after
            truths = Truths.of(
                batch.ground_truth, passages[GROUND_TRUTH].ms, book, self._config, state
            )
        result = join.apply(predictions, truths, counts, state)
        records: list[Record] = []
        if predictions is not None and batch.predictions is not None:
            records += self._count_accepted(predictions, batch.predictions, result, counts)
        predictions_ended_ms = marks.predictions_ended_ms
        if predictions_ended_ms is None and batch.predictions_ended_ms is not None:
            predictions_ended_ms = prediction.raised(batch.predictions_ended_ms).final_ms
        if batch.tick_ms is not None:
            prediction, truth = prediction.raised(batch.tick_ms), truth.raised(batch.tick_ms)
        if batch.ended_ms is not None:
            # No row will bear them out any more.
            for topic, mark in ((PREDICTIONS, prediction), (GROUND_TRUTH, truth)):
                counts.add_misdated(topic, mark.given_up())
            prediction, truth = Watermark(prediction.ms), Watermark(truth.ms)
        reached_ms = min(
            prediction.ms - self._config.prediction_grace_ms, truth.ms - self._config.truth_grace_ms
        )
        expiry.expire(reached_ms, counts, state)
        partials = counts.increments.partials(self._partition, book)
        records += outcome_records(result.outcomes, book, self._config)
        records += [Record(WINDOW_PARTIALS, partial) for partial in partials]
        records += [Record(UNCOUNTED_ROWS, row) for row in counts.uncounted_rows]
        ended_ms = marks.ended_ms if batch.ended_ms is None else batch.ended_ms
        now = msgspec.structs.replace(
            marks,
            prediction=prediction,
            truth=truth,
            ended_ms=ended_ms,
            predictions_ended_ms=predictions_ended_ms,
        )
        sent = self._emit_watermarks(now, marks, index.first_ms(), records)
        state.put(_WATERMARKS, _encode(msgspec.structs.replace(now, sent=sent)))
        self._at_rest = not index.has_ids(reached_ms)
        return records

    def _open(self, state: State) -> _Parts:
        book = CodeBook(self._config, state, self._target_partitions)
        index = ExpiryIndex(self._config.pane_ms, state)
        sequential = SequentialJoin(book, index, self._config)
        return _Parts(
            book,
            index,
            BatchJoin(book, index, sequential, self._config),
            Expiry(book, index, sequential, self._config),
        )

    def _without_dropped(
        self, rows: Predictions, columns: PredictionColumns, book: CodeBook, counts: BatchCounts
    ) -> Predictions:
        """Drop the predictions that come so late that their entry may have expired: a duplicate
        could not be recognised any more.
        """
        horizon_ms = np.minimum(book.label_horizon_ms, book.correction_horizon_ms)[rows.name]
        dropped = rows.lateness_ms > horizon_ms
        if not any_true(dropped):
            return rows
        limit_ms = rows.floor_ms - horizon_ms
        counts.add_late("dropped_prediction", rows, np.flatnonzero(dropped), limit_ms, columns)
        return rows.take(np.flatnonzero(~dropped))

    def _count_accepted(
        self,
        rows: Predictions,
        columns: PredictionColumns,
        result: JoinResult,
        counts: BatchCounts,
    ) -> list[Record]:
        """Count the new predictions; gives the dead letters of the conflicting ones."""
        if len(result.accepted) < len(rows):
            counts.predictions(rows.take(np.array(result.accepted, np.int64)), columns)
        else:
            counts.predictions(rows, columns)
        if result.duplicates:
            counts.add_duplicates(rows, sorted(result.duplicates), columns)
        return [self._conflict(columns, int(rows.at[i])) for i in sorted(result.conflicting)]

    def _emit_watermarks(
        self, now: Marks, before: Marks, first_expiry_ms: int | None, records: list[Record]
    ) -> tuple[int, int]:
        """Emit the watermarks where a frontier that follows from them is in a new pane; gives the
        panes of both frontiers.

        Entries that wait to expire will still count as expired or unmatched in the arrivals lane,
        so the watermark of truths, which that lane waits for, stays behind the first of them.
        """
        pane_ms, prediction_grace_ms = self._config.pane_ms, self._config.prediction_grace_ms
        truth_grace_ms = self._config.truth_grace_ms
        prediction_ms, truth_ms = now.prediction_ms, now.truth_ms
        if first_expiry_ms is not None:
            truth_ms = min(truth_ms, first_expiry_ms + pane_ms + truth_grace_ms - 1)
        panes = (
            (prediction_ms - prediction_grace_ms) // pane_ms,
            (truth_ms - truth_grace_ms) // pane_ms,
        )
        ends = now.ended_ms, now.predictions_ended_ms
        if panes != before.sent or ends != (before.ended_ms, before.predictions_ended_ms):
            watermarks = Watermarks(
                self._partition,
                self._partitions,
                prediction_ms,
                truth_ms,
                *ends,
                now.final_ms,
            )
            records.append(Record(WINDOW_PARTIALS, watermarks))
        return panes

    def _conflict(self, columns: PredictionColumns, at: int) -> Record:
        """The dead letter of a prediction that contradicts an accepted one; the driver adds its
        bytes.
        """
        text, offset = columns.ids[at].decode(), int(columns.offset[at])
        model, version = columns.names[columns.name[at]]
        error = (
            f'{PREDICTIONS}@{offset}: prediction_id "{text}" of {model} {version} came before with'
            f" other content; the first one stands, record sent to {PREDICTIONS}.dlq"
        )
        reject = Reject(offset=offset, reason="conflict", error=error)
        return Record(f"{PREDICTIONS}.dlq", reject)


def _passages(batch: Batch, marks: Marks) -> dict[str, Passage]:
    """The watermark over the rows of each topic that has any."""
    topics = (
        (PREDICTIONS, batch.predictions, marks.prediction),
        (GROUND_TRUTH, batch.ground_truth, marks.truth),
    )
    return {
        topic: advance(before, columns.timestamp_ms, columns.tick_ms, columns.ids, columns.offset)
        for topic, columns, before in topics
        if columns is not None and len(columns)
    }
