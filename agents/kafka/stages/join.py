"""Processor of stage 1 for one partition: decodes rows, writes ticks, encodes the results.

All rows since the last commit are one call of the stage. Joining and counting are
`driftline.streams.join`; `ticking.py` decides when an idle partition advances; transactions and
positions belong to the task.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.broker.wire import DLQ_LOG, WireEncoder, dead_letter_at
from driftline.agents.kafka.stages.lost_rows import LostRows, loss_event
from driftline.agents.kafka.stages.recorded_settings import RecordedSettings
from driftline.agents.kafka.stages.ticking import Ticking, tick_event
from driftline.agents.kafka.task.input_positions import Loss
from driftline.agents.kafka.task.processor import ProcessorFactory
from driftline.agents.record_keys import wrong_keys
from driftline.agents.recorded.log_files import decoders
from driftline.agents.recorded.merge import columns_by_topic
from driftline.agents.recorded.topic_log import AsColumns
from driftline.agents.uncounted_rows import BatchTally, Uncounted
from driftline.schemas.events import Tick
from driftline.schemas.rejects import Reject, RowNote
from driftline.schemas.results import encode
from driftline.schemas.rows import TickRow
from driftline.schemas.settings import Config
from driftline.schemas.times import MINUTE_MS, format_time
from driftline.schemas.topics import (
    GROUND_TRUTH,
    PREDICTIONS,
    TICKS,
    WINDOW_PARTIALS,
    rekeyed_name,
)
from driftline.streams.columns import GroundTruthColumns, PredictionColumns, concatenate_columns
from driftline.streams.join import Join
from driftline.streams.join.state_keys import NO_ID
from driftline.streams.partial import LostSpan
from driftline.streams.pipeline import Upstream
from driftline.streams.stage import Batch, Record, State
from driftline.streams.watermark import advance

_ROWS = (PREDICTIONS, GROUND_TRUTH)
AHEAD_MS: Final = 5 * MINUTE_MS
"""Most that one topic may be ahead of the other in event time while that one is unread."""
FED_MS: Final = 500
"""Time after its last records for which a topic counts as still being fed, under the data clock."""
DEFERRED_MS: Final = 1_000
"""Longest time for which rows are deferred to see whether a topic is still being fed."""


class JoinProcessor:
    """Stage 1 of one partition.

    Parameters
    ----------
    config
        The settings; `config.kafka` has the numbers of partitions.
    partition
        Number of the partition, the same for all inputs.
    state
        State of the stage.
    clock
        Gives the time in milliseconds since the epoch: live, the broker's.
    ahead
        Gives by how many milliseconds the machine's clock is ahead of `clock`; negative if behind.

    Raises
    ------
    StateFormatError
        If a setting was changed that the counts depend on, or the tick request or the losses have
        another format.
    """

    inputs: tuple[str, ...] = (PREDICTIONS, GROUND_TRUTH, TICKS)

    def __init__(
        self,
        config: Config,
        partition: int,
        state: State,
        *,
        clock: Callable[[], int],
        ahead: Callable[[], int] = lambda: 0,
    ) -> None:
        self._recorded = RecordedSettings(config, state, NO_ID)
        self._config = config
        self._partition = partition
        self._state = state
        self._clock = clock
        self._ahead = ahead
        self._upstream = Upstream(
            config, partition, config.kafka.input_partitions, config.kafka.partitions
        )
        self._ticking = Ticking(config, state, clock())
        self._lost_rows = LostRows(config, state)
        self._tally = BatchTally()
        self._encoder = WireEncoder(config.kafka.app, config.kafka.partitions)
        self._columns: dict[str, AsColumns] = columns_by_topic(
            lambda model: config.for_model(model).positive_label
        )
        self._taken: list[ReceivedRecords] = []
        self._predictions: list[PredictionColumns] = []
        self._truths: list[GroundTruthColumns] = []
        self._rejected: list[Outgoing] = []
        self._rows = 0
        self._caught_up = False
        self._unread: frozenset[str] = frozenset()
        self._fed_ms = dict.fromkeys(_ROWS, clock())
        self._since_ms = clock()
        marks = self._upstream.marks(state)
        self._heads = {PREDICTIONS: marks.prediction, GROUND_TRUTH: marks.truth}

    def note_loss(self, loss: Loss, /) -> None:
        """Keep a loss until it is known which windows it concerns."""
        self._lost_rows.note(loss, self._upstream.marks(self._state), now_ms=self._clock())

    def note_unread(self, unread: frozenset[str], /, *, now_ms: int) -> None:
        """Note the inputs that are not read to their ends: they are still being fed."""
        self._unread = unread
        self._fed_ms.update((topic, now_ms) for topic in _ROWS if topic in unread)

    def note_caught_up(self, caught_up: bool, /, *, now_ms: int) -> None:
        """Note whether all records have been taken; only then can a partition be idle."""
        if not caught_up:
            self._ticking.reset_idle(now_ms)
        self._caught_up = caught_up

    def take(self, received: ReceivedRecords, /) -> int:
        """Decode records of one input and buffer them."""
        now_ms = self._clock()
        # Rejected for good, so by the later clock: the other one may be wrong.
        latest_ms = now_ms + max(0, self._ahead()) + self._config.max_ahead_ms
        decode, _ = decoders(latest_ms, self._config.missing_labels)[received.topic]
        values: list[Any] = received.values
        notes: list[RowNote] = []
        rows, good, rejects = decode(values, received.offsets, notes=notes)
        if notes:
            self._tally.add_rejects(received.topic, self._partition, notes)
        rejects = received.explained(rejects)
        self._tally.add_received(received.topic, len(values))
        if rejects:
            self._reject(received, rejects, now_ms)
        if received.topic == TICKS:
            self._ticking.add_requests(rows)
        elif rows:
            self._fed_ms[received.topic] = now_ms
            if not (self._predictions or self._truths):
                self._since_ms = now_ms
            self._ticking.note_records(_ROWS.index(received.topic), now_ms)
            offsets = np.array(received.offsets, np.int64)
            columns = self._columns[received.topic](rows, offsets[good] if rejects else offsets)
            self._tally.uncounted += wrong_keys(
                received.topic,
                self._partition,
                self._config.kafka.input_partitions,
                [received.keys[i] for i in good] if rejects else received.keys,
                columns.ids,
                columns.offset,
            )
            self._heads[received.topic] = advance(
                self._heads[received.topic], columns.timestamp_ms, 0, columns.ids, columns.offset
            ).after
            if received.topic == PREDICTIONS:
                self._predictions.append(columns)
                self._taken.append(received)
            else:
                self._truths.append(columns)
        self._rows += len(values)
        return self._rows

    def process(self, positions: Mapping[str, int], /) -> list[Outgoing]:
        """Join and count the buffered rows, and write a tick if one is due."""
        tick = self._tick()
        self._ticking.store_request(answered=tick is not None)
        outgoing, taken = self._rejected, self._taken
        batch = Batch(partition=self._partition)
        batch.predictions = concatenate_columns(self._predictions) if self._predictions else None
        batch.ground_truth = concatenate_columns(self._truths) if self._truths else None
        self._predictions, self._truths, self._rejected, self._taken, self._rows = [], [], [], [], 0
        names = [] if batch.predictions is None else batch.predictions.names
        self._recorded.note(model for model, _ in names)
        if tick is not None:
            tick = msgspec.structs.replace(
                tick, after={topic: positions.get(topic, 0) for topic in _ROWS}
            )
            batch.tick_ms = tick_ms = tick.timestamp_ms
            self._heads = {topic: head.raised(tick_ms) for topic, head in self._heads.items()}
            batch.ended_ms = tick.ended_ms
            if tick.ended_ms is not None:
                batch.predictions_ended_ms = 0
            outgoing.append(
                Outgoing(
                    TICKS, self._partition, str(self._partition).encode(), encode(tick_event(tick))
                )
            )
        elif batch.predictions is None and batch.ground_truth is None and self._upstream.at_rest:
            return outgoing
        outgoing += self._losses(batch, tick, positions)
        result = self._upstream.process(batch, self._state)
        self._tally.add_rows(self._partition, result.uncounted_rows)
        self._tally.add_rejects(PREDICTIONS, self._partition, result.conflicts)
        outgoing += [self._conflict(reject, taken) for reject in result.conflicts]
        return (
            outgoing
            + self._encoder.events(result.outcomes)
            + self._encoder.partials(result.partials)
        )

    def tally(self) -> BatchTally:
        """Rows that were read and rows that do not count, since the last call."""
        tally, self._tally = self._tally, BatchTally()
        if self._config.kafka.rekey:
            tally.uncounted = list(map(_in_rekeyed_log, tally.uncounted))
        return tally

    def waits(self) -> tuple[str, str] | None:
        """The topic that is ahead and the other one, if it is ahead by more than AHEAD_MS.

        While a backlog is read, truths would run far ahead of predictions, because more of them fit
        into a fetch, and each would have to be parked.
        """
        heads_ms = {topic: head.final_ms for topic, head in self._heads.items()}
        ahead, behind = sorted(heads_ms, key=heads_ms.__getitem__, reverse=True)
        return (ahead, behind) if heads_ms[ahead] > heads_ms[behind] + AHEAD_MS else None

    def defers(self) -> bool:
        """Whether one topic is ahead and the other has more rows to come.

        Rows of both topics in one call are joined as a batch, others mostly by way of parked
        truths. While recorded history is sent, a topic may have nothing unread for a moment
        although more follows. Truths more than `park` beyond all predictions would only fill the
        state: they wait for further predictions, or for a request to advance the partition.
        """
        if (pair := self.waits()) is None:
            return False
        _, behind = pair
        if behind in self._unread:
            return True
        if self._config.clock == "wall":
            return False
        if (
            self._truths
            and self._heads[GROUND_TRUTH].final_ms
            > self._heads[PREDICTIONS].final_ms + self._config.park_ms
        ):
            return not self._ticking.has_request
        return self._clock() < min(
            max(self._fed_ms[behind], self._since_ms) + FED_MS, self._since_ms + DEFERRED_MS
        )

    def pending(self) -> bool:
        """Whether entries must still expire, a tick is due, or changed settings have to be
        recorded.
        """
        return self._recorded.is_due or not self._upstream.at_rest or self._tick() is not None

    def _tick(self) -> TickRow | None:
        # A tick reports the marks of the partition, which lack the rows that are only buffered.
        if not self._caught_up or self._predictions or self._truths:
            return None
        # By the earlier clock: rows behind a tick are late for good.
        limit_ms = self._clock() + min(0, self._ahead())
        marks = self._upstream.marks(self._state)
        return self._ticking.due_tick(self._clock(), marks, limit_ms)

    def _losses(
        self, batch: Batch, tick: TickRow | None, positions: Mapping[str, int]
    ) -> list[Outgoing]:
        """The losses that are known now: an event for a replay, and one record for each task of
        stage 2, before the watermark that passes them.
        """
        if not self._lost_rows.is_any_waiting:
            return []
        marks = self._upstream.marks(self._state)
        rows = {PREDICTIONS: batch.predictions, GROUND_TRUTH: batch.ground_truth}
        known = self._lost_rows.known(rows, tick, marks)
        if not known:
            return []
        event = Tick(
            # Neither topic is advanced by it.
            timestamp=format_time(min(marks.prediction_ms, marks.truth_ms)),
            after={topic: positions.get(topic, 0) for topic in _ROWS},
            lost=[loss_event(loss) for loss in known],
        )
        spans = [Record(WINDOW_PARTIALS, LostSpan.of(self._partition, loss)) for loss in known]
        return [
            Outgoing(TICKS, self._partition, str(self._partition).encode(), encode(event)),
            *self._encoder.partials(spans),
        ]

    def _reject(self, received: ReceivedRecords, rejects: list[Reject], now_ms: int) -> None:
        self._tally.add_rejects(received.topic, self._partition, rejects)
        place = dict(zip(received.offsets, range(len(received.offsets)), strict=True))
        for reject in rejects:
            self._rejected.append(self._letter(received, place[reject.offset], reject, now_ms))

    def _conflict(self, reject: Reject, taken: list[ReceivedRecords]) -> Outgoing:
        """The dead letter of a prediction that contradicts an accepted one."""
        received = next(r for r in taken if r.offsets[-1] >= reject.offset)
        at = bisect_left(received.offsets, reject.offset)
        return self._letter(received, at, reject, self._clock())

    def _letter(self, received: ReceivedRecords, at: int, reject: Reject, now_ms: int) -> Outgoing:
        settings = self._config.kafka
        letter = dead_letter_at(received, at, reject, app=settings.app, now_ms=now_ms)
        if not settings.rekey or received.topic not in _ROWS:
            return letter
        log = (DLQ_LOG, rekeyed_name(received.topic).encode())
        return msgspec.structs.replace(letter, headers=[*letter.headers, log])


def _in_rekeyed_log(rows: Uncounted) -> Uncounted:
    """The same rows, whose place is named as one in the re-keyed log."""
    if rows.topic not in _ROWS:
        return rows
    example = rows.example.replace(rows.topic, rekeyed_name(rows.topic), 1)
    return msgspec.structs.replace(rows, example=example)


def join_processors(
    config: Config, *, clock: Callable[[], int], ahead: Callable[[], int] = lambda: 0
) -> ProcessorFactory:
    """Return the factory of the processors; the parameters are those of `JoinProcessor`."""

    def make(
        partition: int, state_of: Callable[[str], State], positions: Mapping[str, int]
    ) -> JoinProcessor:
        return JoinProcessor(config, partition, state_of(Join.name), clock=clock, ahead=ahead)

    return make
