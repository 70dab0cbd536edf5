"""Processor of stages 2 to 4 for one partition of `window-partials`.

Decodes partials and commands, completes the panes that are due, and encodes the records that the
stages emit. The stages and their order are `driftline.streams.pipeline`; transactions and positions
belong to the task.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.broker.wire import WireEncoder, dead_letter_at, partition_of
from driftline.agents.kafka.stages.held_commands import HeldCommands
from driftline.agents.kafka.stages.lost_partials import LostPartials
from driftline.agents.kafka.stages.provisional_budget import ProvisionalBudget, ProvisionalTimer
from driftline.agents.kafka.stages.recorded_settings import RecordedSettings
from driftline.agents.kafka.stages.ticking import IdlePartitionRequests
from driftline.agents.kafka.task.input_positions import Loss
from driftline.agents.kafka.task.processor import ProcessorFactory
from driftline.agents.label_notes import log_labels
from driftline.agents.uncounted_rows import BatchTally, of_unwatched
from driftline.schemas.decode import SIDE_DECODERS
from driftline.schemas.events import Tick
from driftline.schemas.rejects import Reject
from driftline.schemas.results import RegistryEffect, encode
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time, parse_time
from driftline.schemas.topics import (
    COMMANDS,
    REGISTRY_EFFECTS,
    REPORTS,
    SIDE_INPUTS,
    TICKS,
    WINDOW_PARTIALS,
    dlq_name,
)
from driftline.streams.end_of_time import end_of_time
from driftline.streams.lanes import NO_MODEL
from driftline.streams.measure.drift.unwatched_features import UNWATCHED_FEATURES
from driftline.streams.partial import ForeignFormat, Partial, PartialValue, decode
from driftline.streams.pipeline import Downstream
from driftline.streams.registry import Registry
from driftline.streams.stage import Record, State
from driftline.streams.work_slices import WorkSlices, in_slices, run_slices

log = logging.getLogger(__name__)

PANES_AT_ONCE: Final = 32
RECORDS_AT_ONCE: Final = 5_000
"""Soft limit of the records of one commit, so that a transaction stays short although event time
jumps far ahead.
"""
ROWS_AT_ONCE: Final = 4_000
"""Rows of partials that are merged together; a single partial may have more."""
SUMMARIES_A_ROW: Final = 4
"""Feature summaries that cost as much as a row of counts."""
PANES_S: Final = 0.1
"""Seconds after which a commit completes no further pane, so that it stays short."""


class DownstreamProcessor:
    """Stages 2 to 4 of one partition.

    Parameters
    ----------
    config
        The settings; `config.kafka` has the numbers of partitions.
    partition
        Number of the partition, the same for all inputs.
    state_of
        Gives the state of a stage by its name.
    clock
        Gives the time in milliseconds since the epoch: live, the broker's.
    ahead
        Gives by how many milliseconds the machine's clock is ahead of `clock`; negative if behind.
    timer
        Decides when provisional figures are emitted.
    stages
        The stages to run; by default those of the pipeline.
    elapsed
        Seconds of a monotonic clock, which bounds the time of one call and nothing else.

    Raises
    ------
    StateFormatError
        If a setting was changed that the counts depend on, or the held commands or the losses have
        another format.
    """

    inputs: tuple[str, ...] = (WINDOW_PARTIALS, *SIDE_INPUTS)

    def __init__(
        self,
        config: Config,
        partition: int,
        state_of: Callable[[str], State],
        *,
        clock: Callable[[], int],
        ahead: Callable[[], int] = lambda: 0,
        timer: ProvisionalTimer,
        stages: Downstream | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recorded = RecordedSettings(config, state_of(Registry.name), b"")
        self._config = config
        self._partition = partition
        self._clock = clock
        self._ahead = ahead
        self._elapsed = elapsed
        self._provisional_timer = timer
        self._stages = stages or Downstream(
            config, state_of, provisional=config.kafka.provisional_ms is not None
        )
        self._encoder = WireEncoder(config.kafka.app, config.kafka.partitions)
        # All tasks see all watermarks; the first one sends the requests.
        self._idle_requests = (
            IdlePartitionRequests(config) if config.clock == "data" and partition == 0 else None
        )
        self._partials: list[PartialValue] = []
        self._commands: list[tuple[Record, bytes]] = []
        self._held = HeldCommands(state_of(Registry.name))
        self._lost_partials = LostPartials(partition, state_of(Registry.name))
        self._forwarded: list[Outgoing] = []
        self._taken, self._tally = BatchTally(), BatchTally()
        self._settled_ms = -1
        self._panes_due = True
        self._has_new_counts = False
        self._unread: frozenset[str] = frozenset()

    def note_loss(self, loss: Loss, /) -> None:
        """Keep a loss until it is known which windows it concerns."""
        self._lost_partials.note(loss, self._stages.frontier())

    def note_unread(self, unread: frozenset[str], /, *, now_ms: int) -> None:
        """Note the inputs that are not read to their ends."""
        self._unread = unread

    def note_caught_up(self, caught_up: bool, /, *, now_ms: int) -> None:
        """Do nothing: stages 2 to 4 follow the watermarks of stage 1."""

    def take(self, received: ReceivedRecords, /) -> int:
        """Decode records of one input and buffer them.

        Raises
        ------
        ForeignFormat
            If a partial has the format of another release: skipping it would make counts wrong.
        """
        self._taken.add_received(received.topic, len(received.values))
        if received.topic == WINDOW_PARTIALS:
            self._take_partials(received)
        else:
            self._take_commands(received)
        return len(self._partials) + len(self._commands) + len(self._forwarded)

    def process(self, positions: Mapping[str, int], /) -> list[Outgoing]:
        """`work` in one call."""
        return run_slices(self.work(positions))

    def work(self, positions: Mapping[str, int], /) -> WorkSlices[list[Outgoing]]:
        """Merge partials, execute commands, and complete some of the panes that are due."""
        outgoing, self._forwarded = self._forwarded, []
        partials, self._partials = self._partials, []
        commands, self._commands = self._commands, []
        self._tally.add(self._taken)
        self._taken = BatchTally()
        records = self._settings_in_force()
        self._recorded.note(
            name
            for partial in partials
            if isinstance(partial, Partial)
            for name, _, _ in partial.series
        )
        if partials:
            for part in _parts(partials):
                yield from self._stages.merge_in_slices(part)
                yield
            self._has_new_counts = True
        if lost := self._lost_partials.spans(partials, self._stages.frontier()):
            self._stages.merge(lost)
        records += self._execute(commands)
        yield
        panes, until_s = 0, self._elapsed() + PANES_S
        while (
            self._stages.due() is not None
            and panes < PANES_AT_ONCE
            and len(records) < RECORDS_AT_ONCE
            and not self.defers()
            # A command that was taken between slices may take effect before the next pane.
            and not self._commands
        ):
            due_ms = self._stages.due_after_quiet(self._held.next_ms)
            if due_ms is None:
                break
            before = self._held.release_before(due_ms)
            records += yield from self._stages.advance_in_slices(before)
            panes += 1
            if self._elapsed() >= until_s:
                break
        self._panes_due = self._stages.due() is not None
        if self._held and not self._panes_due:
            records += self._stages.finish(
                self._held.release_before(None if self._has_ended() else self._stages.next_ms())
            )
        if self._may_emit_provisional():
            begun = self._provisional_timer.begin()
            records += yield from self._stages.provisional_in_slices()
            self._has_new_counts = False
            self._provisional_timer.end(begun)
        if panes:
            log_labels(self._stages.new_label_reports())
        self._tally.uncounted += [
            of_unwatched(record.value) for record in records if record.topic == UNWATCHED_FEATURES
        ]
        # Commands between the stages are not emitted: the events that follow from them are.
        emitted = [
            record for record in records if record.topic not in (*SIDE_INPUTS, UNWATCHED_FEATURES)
        ]
        for some in in_slices(emitted):
            yield
            outgoing += self._encoder.events(some)
        return outgoing + self._settled() + self._requests()

    def waits(self) -> None:
        """Return None: neither input waits for the other."""

    def defers(self) -> bool:
        """Whether commands are unread under the data clock: one of them may take effect before the
        next pane.
        """
        return self._config.clock == "data" and not self._unread.isdisjoint(COMMANDS)

    def tally(self) -> BatchTally:
        """Rows that were read and rows that do not count, since the last call."""
        tally, self._tally = self._tally, BatchTally()
        return tally

    def pending(self) -> bool:
        """Whether panes are due, provisional figures may be emitted, idle partitions must be
        requested to advance, or changed settings have to be recorded.
        """
        return (
            self._recorded.is_due
            or self._panes_due
            or self._may_emit_provisional()
            or bool(self._due_requests())
        )

    def _may_emit_provisional(self) -> bool:
        return self._has_new_counts and not self._panes_due and self._provisional_timer.due()

    def _settings_in_force(self) -> list[Record]:
        """Put changed settings in force; gives the records that say so, of the whole program from
        one task only.
        """
        if not self._recorded.is_new:
            return []
        records: list[Record] = []
        if self._partition == 0:
            for change in self._recorded.changes:
                log.info("%s; in force from this start on", change)
            of_program = RegistryEffect(
                model_name=NO_MODEL,
                revision=0,
                frontier=format_time(self._stages.frontier().reached_since(0)),
                settings=self._recorded.settings,
            )
            records.append(Record(REGISTRY_EFFECTS, of_program))
        for model, (before, now) in self._recorded.decisions.items():
            records += self._stages.change_settings(model, before, now)
        return records

    def _take_partials(self, received: ReceivedRecords) -> None:
        for at, value in enumerate(received.values):
            try:
                self._partials.append(decode(value or b""))
            except ForeignFormat:
                raise
            except ValueError as error:
                offset = received.offsets[at]
                text = (
                    f"{WINDOW_PARTIALS}[{self._partition}]@{offset}: {error}; record sent to "
                    f"{dlq_name(WINDOW_PARTIALS)}"
                )
                reject = Reject(offset, "encoding", text, value or b"")
                (reject,) = received.explained([reject])
                self._taken.add_rejects(WINDOW_PARTIALS, self._partition, [reject])
                self._forwarded.append(
                    dead_letter_at(
                        received, at, reject, app=self._config.kafka.app, now_ms=self._clock()
                    )
                )

    def _take_commands(self, received: ReceivedRecords) -> None:
        now_ms = self._clock()
        topic = received.topic
        commands, good, rejects = SIDE_DECODERS[topic](
            received.values,
            received.offsets,
            now_ms + max(0, self._ahead()) + self._config.max_ahead_ms,
        )
        place = (
            dict(zip(received.offsets, range(len(received.offsets)), strict=True))
            if rejects
            else {}
        )
        rejects = received.explained(rejects)
        self._taken.add_rejects(topic, self._partition, rejects)
        for reject in rejects:
            self._forwarded.append(
                dead_letter_at(
                    received,
                    place[reject.offset],
                    reject,
                    app=self._config.kafka.app,
                    now_ms=now_ms,
                )
            )
        for at, command in zip(good, commands, strict=True):
            target = partition_of(command.model_name, self._config.kafka.partitions)
            if target == self._partition:
                self._commands.append((Record(topic, command), received.values[at] or b""))
            else:
                # A producer with another partitioner, such as kcat's CRC32, sent the command to a
                # partition that is not the target partition of its model.
                self._forwarded.append(
                    Outgoing(topic, target, command.key().encode(), received.values[at])
                )

    def _execute(self, taken: Sequence[tuple[Record, bytes]]) -> list[Record]:
        """Execute commands; under the data clock, hold them until their time comes. Reports have
        times of the clock and are judged at once.
        """
        if self._config.clock == "data":
            reports = [record for record, _ in taken if record.topic in REPORTS]
            for command, value in taken:
                if command.topic not in REPORTS:
                    self._held.add(command.topic, parse_time(command.value.timestamp), value)
            return self._stages.finish(reports) if reports else []
        # Commands may have been held while the data clock was configured.
        commands = [*self._held.release_before(None), *(command for command, _ in taken)]
        return self._stages.finish(commands) if commands else []

    def _has_ended(self) -> bool:
        """Whether all partitions have reached the end of time."""
        frontier = self._stages.frontier()
        if frontier.ended_ms is None:
            return False
        return min(min(both) for both in frontier.marks.values()) >= end_of_time(
            self._config, frontier.ended_ms
        )

    def _settled(self) -> list[Outgoing]:
        """A tick that reports that all windows up to the end of time are final, once."""
        frontier = self._stages.frontier()
        if self._panes_due or frontier.ended_ms is None:
            return []
        settled_ms = min(min(both) for both in frontier.marks.values())
        if settled_ms <= self._settled_ms:
            return []
        self._settled_ms = settled_ms
        tick = Tick(
            timestamp=format_time(settled_ms),
            ended=format_time(frontier.ended_ms),
            settled=self._partition,
        )
        return [Outgoing(TICKS, 0, b"0", encode(tick))]

    def _requests(self) -> list[Outgoing]:
        asked = self._due_requests()
        if self._idle_requests is not None:
            self._idle_requests.note_sent(asked)
        return [
            Outgoing(
                TICKS,
                partition,
                str(partition).encode(),
                encode(Tick(timestamp=format_time(time_ms))),
            )
            for partition, time_ms in asked.items()
        ]

    def _due_requests(self) -> dict[int, int]:
        if self._idle_requests is None:
            return {}
        frontier = self._stages.frontier()
        return self._idle_requests.requests(frontier.marks, frontier.partitions, self._clock())


def _parts(partials: Sequence[PartialValue]) -> Iterator[list[PartialValue]]:
    """The partials in parts of about ROWS_AT_ONCE rows."""
    part: list[PartialValue] = []
    rows = 0
    for partial in partials:
        part.append(partial)
        rows += _rows(partial) if isinstance(partial, Partial) else 1
        if rows >= ROWS_AT_ONCE:
            yield part
            part, rows = [], 0
    if part:
        yield part


def _rows(partial: Partial) -> int:
    return len(partial.counts["pane"]) + len(partial.features) // SUMMARIES_A_ROW


def downstream_processors(
    config: Config, *, clock: Callable[[], int], ahead: Callable[[], int] = lambda: 0
) -> ProcessorFactory:
    """Return the factory of the processors; the parameters are those of `DownstreamProcessor`.

    They share one budget of processor time for provisional figures.
    """
    budget = ProvisionalBudget()

    def make(
        partition: int, state_of: Callable[[str], State], positions: Mapping[str, int]
    ) -> DownstreamProcessor:
        return DownstreamProcessor(
            config,
            partition,
            state_of,
            clock=clock,
            ahead=ahead,
            timer=ProvisionalTimer(config.kafka.provisional_ms, budget),
        )

    return make
