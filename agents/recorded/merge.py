"""The topics of a recorded log merged into steps, in an order that is a function of the files
alone.

The order is that of `driftline.streams.log_order`: predictions before ground truth before ticks if
keys are equal, then by line. The next row is known without reading ahead. The order depends neither
on the number of partitions nor on the size of a step.

Every row carries the tick in force when it arrives. In a log without recorded ticks that is the
start of the pane that the merged order has reached: all partitions are ticked when the merged order
enters a pane. Ticks of a plain file apply to all partitions, in merged order; ticks of an exported
file name the rows that they apply to (`recorded_ticks.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np
from msgspec import Struct

from driftline.agents.recorded.recorded_ticks import END, TICKED, RecordedTicks
from driftline.agents.recorded.topic_log import (
    AsColumns,
    Indexes,
    Portion,
    Position,
    TopicLog,
    check_partitions,
)
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, TICKS
from driftline.streams.columns import GroundTruthColumns, PredictionColumns
from driftline.streams.hashing import partitions_of
from driftline.streams.log_order import merged_ranks
from driftline.streams.stage import Batch

# In the order in which equal keys are merged.
TOPICS = (PREDICTIONS, GROUND_TRUTH, TICKS)


class Step(Struct, gc=False):
    """The input of stage 1 in one step.

    Attributes
    ----------
    batches
        One per partition, in order.
    portions
        The lines of the step by topic.
    lines
        Number of lines.
    event_ms
        Largest key so far.
    """

    batches: list[Batch]
    portions: dict[str, Portion]
    lines: int
    event_ms: int


class Merge:
    """Cuts a recorded log into steps.

    Parameters
    ----------
    logs
        The open files by topic; TICKS may be missing.
    partitions
        Number of partitions of stage 1.
    pane_ms
        Length of a pane, in ms, for ticks.
    ticks
        Latest tick of each partition at which an earlier call stopped.
    recorded
        The ticks of an exported log, in place of a TICKS file.
    offsets
        With `recorded`: by topic, the next offset of each partition where an earlier call stopped.
    """

    def __init__(
        self,
        logs: dict[str, TopicLog],
        *,
        partitions: int,
        pane_ms: int,
        ticks: Sequence[int] = (),
        recorded: RecordedTicks | None = None,
        offsets: Mapping[str, Sequence[int]] = MappingProxyType({}),
    ) -> None:
        self._logs = [(topic, logs[topic]) for topic in TOPICS if topic in logs]
        self._plain_ticks = TICKS in logs
        self._recorded = recorded
        self._partitions = partitions
        self._pane_ms = pane_ms
        self.ticks = list(ticks) or [0] * partitions
        self.offsets = {topic: list(offsets.get(topic, [0] * partitions)) for topic in TICKED}

    @property
    def positions(self) -> dict[str, Position]:
        """Position of each topic's file."""
        positions = {topic: log.position for topic, log in self._logs}
        return positions if self._recorded is None else positions | {TICKS: self._recorded.position}

    def step(self, lines: int) -> Step | None:
        """The next step of at least one and at most `lines` lines; None at the end of all files."""
        for _, log in self._logs:
            log.fill(lines)
        keys = [log.keys(lines) for _, log in self._logs]
        ranks = merged_ranks(keys)
        total = sum(map(len, keys))
        if not total:
            return None
        cut = min(lines, total)
        for (_, log), rank in zip(self._logs, ranks, strict=True):
            if not log.exhausted or log.buffered > len(rank):
                # More lines follow that have not been read, so the merged order is known only up to
                # the last line that has.
                cut = min(cut, int(rank[-1]) + 1)
        portions = {}
        row_ranks = {}
        for (topic, log), rank in zip(self._logs, ranks, strict=True):
            first_line = log.position.line
            portion = log.take(int(np.searchsorted(rank, cut)))
            check_partitions(portion, self._partitions, log.path)
            portions[topic] = portion
            row_ranks[topic] = rank[portion.line - first_line]
        event_ms = max(log.position.key_ms for _, log in self._logs)
        return Step(
            batches=self._batches(portions, row_ranks, event_ms),
            portions=portions,
            lines=cut,
            event_ms=event_ms,
        )

    def last_batches(self, recorded: RecordedTicks) -> list[Batch]:
        """The last ticks of every partition, at the end of all files of an exported log."""
        batches = []
        for partition in range(self._partitions):
            tick_ms, ended_ms = recorded.reached(partition, [END] * len(TICKED))
            self.ticks[partition] = tick_ms
            batch = Batch(partition=partition, tick_ms=tick_ms, ended_ms=ended_ms)
            if ended_ms is not None:
                batch.predictions_ended_ms = recorded.before_end_ms[partition]
            batches.append(batch)
        return batches

    def close(self) -> None:
        """Close the files."""
        for _, log in self._logs:
            log.close()

    def _batches(
        self, portions: dict[str, Portion], ranks: dict[str, Indexes], event_ms: int
    ) -> list[Batch]:
        predicted, known = portions[PREDICTIONS], portions[GROUND_TRUTH]
        # The rows of a portion without lines are an empty list, not columns.
        predictions: PredictionColumns = predicted.rows or PredictionColumns.of(
            [], predicted.offset, lambda model: None
        )
        truths: GroundTruthColumns = known.rows or GroundTruthColumns.of([], known.offset)
        for topic, columns in ((PREDICTIONS, predictions), (GROUND_TRUTH, truths)):
            columns.rank, columns.tick_ms = (
                ranks[topic],
                portions[topic].key - portions[topic].key % self._pane_ms,
            )
        predictions_at = _by_partition(predicted.partition, predictions.ids, self._partitions)
        truths_at = _by_partition(known.partition, truths.ids, self._partitions)
        batches = []
        for partition in range(self._partitions):
            batch = Batch(partition=partition, ranked=True)
            if len(at := predictions_at[partition]):
                batch.predictions = predictions.take(at)
            if len(at := truths_at[partition]):
                batch.ground_truth = truths.take(at)
            if self._recorded is not None:
                self._tick_as_recorded(self._recorded, batch, portions)
            elif self._plain_ticks:
                batch.tick_ms = self._tick(batch, portions, ranks, partition)
            else:
                batch.tick_ms = event_ms - event_ms % self._pane_ms
                if self._ended(PREDICTIONS):
                    batch.predictions_ended_ms = 0
            self.ticks[partition] = batch.tick_ms or 0
            batches.append(batch)
        return batches

    def _ended(self, topic: str) -> bool:
        """Whether every line of a topic has been taken."""
        return all(log.exhausted and not log.buffered for name, log in self._logs if name == topic)

    def _tick_as_recorded(
        self, recorded: RecordedTicks, batch: Batch, portions: dict[str, Portion]
    ) -> None:
        """Assign the recorded ticks to the rows of a partition, and advance the partition by the
        ticks whose preceding rows have all been read.
        """
        for topic, columns in (
            (PREDICTIONS, batch.predictions),
            (GROUND_TRUTH, batch.ground_truth),
        ):
            portion, offsets = portions[topic], self.offsets[topic]
            read = [
                reject.offset
                for reject, partition in zip(portion.rejects, portion.reject_partition, strict=True)
                if partition == batch.partition
            ]
            if columns is not None:
                columns.tick_ms = recorded.floors(topic, batch.partition, columns.offset)
                read.append(int(columns.offset[-1]))
            offsets[batch.partition] = max(
                [offsets[batch.partition], *(offset + 1 for offset in read)]
            )
        batch.tick_ms, batch.ended_ms = recorded.reached(
            batch.partition, [self.offsets[topic][batch.partition] for topic in TICKED]
        )
        if batch.ended_ms is not None:
            batch.predictions_ended_ms = recorded.before_end_ms[batch.partition]

    def _tick(
        self, batch: Batch, portions: dict[str, Portion], ranks: dict[str, Indexes], partition: int
    ) -> int:
        """Assign to each row of a partition the tick before it; returns the last tick."""
        times, at = self._ticks_of(portions, ranks, partition)
        for columns in (batch.predictions, batch.ground_truth):
            if columns is not None:
                columns.tick_ms = times[np.searchsorted(at, columns.rank) - 1]
        return int(times[-1])

    def _ticks_of(
        self, portions: dict[str, Portion], ranks: dict[str, Indexes], partition: int
    ) -> tuple[Indexes, Indexes]:
        """Running maximum and rank of the ticks, starting with the one before this step."""
        times = np.array(
            [self.ticks[partition], *(row.timestamp_ms for row in portions[TICKS].rows)], np.int64
        )
        return np.maximum.accumulate(times), np.concatenate([[-1], ranks[TICKS]])


def columns_by_topic(positive_label: Callable[[str], str | None]) -> dict[str, AsColumns]:
    """Functions that make columns of a topic's rows.

    Parameters
    ----------
    positive_label
        Configured positive label of a model.
    """
    return {
        PREDICTIONS: partial(PredictionColumns.of, positive_label=positive_label),
        GROUND_TRUTH: GroundTruthColumns.of,
    }


def _by_partition(partition: Indexes, ids: list[bytes], partitions: int) -> list[Indexes]:
    """Indexes of each partition's rows, in order; a partition below 0 is computed from the id."""
    if (partition < 0).all():
        partition = partitions_of(ids, partitions)
    else:
        by_key = np.flatnonzero(partition < 0)
        partition = partition.copy()
        partition[by_key] = partitions_of([ids[i] for i in by_key.tolist()], partitions)
    # The stable sort of 16-bit integers is a radix sort.
    order = np.argsort(partition.astype(np.uint16), kind="stable")
    return np.split(order, np.searchsorted(partition[order], np.arange(1, partitions)))
