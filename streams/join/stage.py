"""The way of one batch through stage 1, for one partition.

Reads predictions and truths, joins them by id, and sends what the batch added to the counts. What
the counts mean over all partitions and time is stage 2.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from driftline.schemas.decode import Reject
from driftline.schemas.settings import Config
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, TICKS, WINDOW_PARTIALS
from driftline.streams.columns import PredictionColumns
from driftline.streams.join.batch_join import BatchJoin
from driftline.streams.join.batch_rows import Predictions, Truths
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.expiry import Ending
from driftline.streams.join.expiry_index import ExpiryIndex
from driftline.streams.join.lane_counts import Counting
from driftline.streams.join.outcomes import outcome_records
from driftline.streams.join.sequential_join import SequentialJoin
from driftline.streams.join.state_keys import NO_ID
from driftline.streams.masks import any_true
from driftline.streams.partial import Watermarks
from driftline.streams.stage import Batch, Record, State

_WATERMARKS: Final = NO_ID + b"w"


class Marks(msgspec.Struct, array_like=True, frozen=True):
    """Watermarks of both topics in ms, the frontiers that were last sent, and when the recorded log
    ended, None before its end.
    """

    version: int = 1
    prediction_ms: int = 0
    truth_ms: int = 0
    sent: tuple[int, int] = (-1, -1)
    ended_ms: int | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Marks).decode


class Join:
    """Stage 1 of one partition. What it keeps between calls it can rebuild from the state; after a
    failed commit take a new one.

    Parameters
    ----------
    partition, partitions
        Number of the partition of the inputs, and how many there are.
    homes
        Partitions of `window-partials`: models of the same one share a partial.
    """

    name = "join"
    inputs: tuple[str, ...] = (PREDICTIONS, GROUND_TRUTH, TICKS)

    def __init__(self, config: Config, partition: int, partitions: int, homes: int = 1) -> None:
        self._config = config
        self._homes = homes
        self._partition = partition
        self._partitions = partitions
        self._opened: tuple[CodeBook, ExpiryIndex, BatchJoin, Ending] | None = None
        self._at_rest = False

    @property
    def at_rest(self) -> bool:
        """False while entries that are due wait to be forgotten, or nothing has been processed yet:
        another call would change something.
        """
        return self._at_rest

    def marks(self, state: State) -> Marks:
        """How far the partition has come."""
        written = state.get(_WATERMARKS)
        return Marks() if written is None else _decode(written)

    def process(self, batch: Batch, state: State, /) -> list[Record]:
        """Join a batch; gives dead letters, outcomes, a partial for each home, and watermarks where
        a frontier entered a new pane.
        """
        if self._opened is None:
            texts, due = (
                CodeBook(self._config, state, self._homes),
                ExpiryIndex(self._config.pane_ms, state),
            )
            single = SequentialJoin(texts, due, self._config)
            self._opened = (
                texts,
                due,
                BatchJoin(texts, due, single, self._config),
                Ending(texts, due, single, self._config),
            )
        texts, due, join, ending = self._opened
        marks = self.marks(state)
        prediction_ms, truth_ms = marks.prediction_ms, marks.truth_ms
        counting = Counting(self._config, texts)
        predictions = truths = None
        if batch.predictions is not None and len(batch.predictions):
            arrived, prediction_ms = Predictions.of(
                batch.predictions, prediction_ms, texts, self._config, state
            )
            predictions = self._drop(arrived, texts, counting)
        if batch.ground_truth is not None and len(batch.ground_truth):
            truths, truth_ms = Truths.of(batch.ground_truth, truth_ms, texts, self._config, state)
        records: list[Record] = []
        found = join.apply(predictions, truths, counting, state)
        if predictions is not None and batch.predictions is not None:
            new = (
                predictions
                if len(found.accepted) == len(predictions)
                else predictions.take(np.array(found.accepted, np.int64))
            )
            counting.predictions(new, batch.predictions)
            records += [
                self._conflict(batch.predictions, int(predictions.at[i]))
                for i in sorted(found.conflicting)
            ]
        if batch.tick_ms is not None:
            prediction_ms, truth_ms = (
                max(prediction_ms, batch.tick_ms),
                max(truth_ms, batch.tick_ms),
            )
        reached_ms = min(
            prediction_ms - self._config.prediction_grace_ms, truth_ms - self._config.truth_grace_ms
        )
        ending.forget(reached_ms, counting, state)
        partials = counting.increments.partials(self._partition, texts)
        records += outcome_records(found.told, texts, self._config)
        records += [Record(WINDOW_PARTIALS, partial) for partial in partials]
        ended_ms = marks.ended_ms if batch.ended_ms is None else batch.ended_ms
        sent = self._announce(prediction_ms, truth_ms, due.first_ms(), marks, ended_ms, records)
        state.put(_WATERMARKS, _encode(Marks(1, prediction_ms, truth_ms, sent, ended_ms)))
        self._at_rest = not due.waits(reached_ms)
        return records

    def _drop(self, arrived: Predictions, texts: CodeBook, counting: Counting) -> Predictions:
        """Without the predictions that come so late that their entry may have been forgotten:
        nothing could tell a duplicate any more.
        """
        limit_ms = np.minimum(texts.label_horizon_ms, texts.correction_horizon_ms)[arrived.name]
        dropped = arrived.lateness_ms > limit_ms
        if not any_true(dropped):
            return arrived
        counting.counter(
            "dropped_predictions",
            arrived.name[dropped],
            arrived.segments[dropped],
            arrived.floor_ms[dropped],
        )
        return arrived.take(np.flatnonzero(~dropped))

    def _announce(
        self,
        prediction_ms: int,
        truth_ms: int,
        listed_from_ms: int | None,
        marks: Marks,
        ended_ms: int | None,
        records: list[Record],
    ) -> tuple[int, int]:
        """Send the watermarks where a frontier that follows from them is in a new pane.

        Entries that wait to be forgotten still count as expired or unmatched in the arrivals lane,
        so the watermark of truths, which that lane waits for, stays behind the first of them.
        """
        pane_ms, graces_ms = (
            self._config.pane_ms,
            (self._config.prediction_grace_ms, self._config.truth_grace_ms),
        )
        if listed_from_ms is not None:
            truth_ms = min(truth_ms, listed_from_ms + pane_ms + graces_ms[1] - 1)
        panes = (prediction_ms - graces_ms[0]) // pane_ms, (truth_ms - graces_ms[1]) // pane_ms
        if panes != marks.sent or ended_ms != marks.ended_ms:
            records.append(
                Record(
                    WINDOW_PARTIALS,
                    Watermarks(
                        self._partition, self._partitions, prediction_ms, truth_ms, ended_ms
                    ),
                )
            )
        return panes

    def _conflict(self, columns: PredictionColumns, at: int) -> Record:
        """The dead letter of a prediction that contradicts the one that stands; its bytes are the
        driver's to add.
        """
        text, offset = columns.ids[at].decode(), int(columns.offset[at])
        model, version = columns.names[columns.name[at]]
        error = (
            f'{PREDICTIONS}@{offset}: prediction_id "{text}" of {model} {version} came before with other content; '
            f"the first one stands, record sent to {PREDICTIONS}.dlq"
        )
        reject = Reject(offset=offset, reason="conflict", error=error)
        return Record(f"{PREDICTIONS}.dlq", reject)
