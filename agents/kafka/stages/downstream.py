"""Stages 2 to 4 of one partition of `window-partials`, between their task and the stages: commands,
panes and what goes where.

What the stages compute and in which order they run is `driftline.streams.pipeline`; transactions
and positions are the task's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.broker.wire import WireEncoder, dead_letter, partition_of
from driftline.agents.kafka.stages.held_commands import HeldCommands
from driftline.agents.kafka.stages.maturity_ladders import MaturityLadders
from driftline.agents.kafka.stages.provisional_budget import ProvisionalBudget, ProvisionalTimer
from driftline.agents.kafka.stages.ticking import IdlePartitionRequests
from driftline.agents.kafka.task.processor import ProcessorFactory
from driftline.schemas.decode import decode_commands
from driftline.schemas.events import Tick
from driftline.schemas.rejects import Reject
from driftline.schemas.results import encode
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time, parse_time
from driftline.schemas.topics import REGISTRY_COMMANDS, TICKS, WINDOW_PARTIALS, dlq_name
from driftline.streams.end_of_time import end_of_time
from driftline.streams.partial import ForeignFormat, Partial, Watermarks, decode
from driftline.streams.pipeline import Downstream
from driftline.streams.registry import Registry
from driftline.streams.stage import Record, State

PANES_AT_ONCE: Final = 32
RECORDS_AT_ONCE: Final = 5_000
"""Of one commit, about: a transaction stays short though event time jumps far ahead."""


class DownstreamProcessor:
    """Stages 2 to 4 of one partition.

    Parameters
    ----------
    config
        The settings; `config.kafka` says how many partitions there are.
    partition
        Number of the partition, of all inputs.
    state_of
        State of a stage, by its name.
    clock
        Milliseconds since the epoch.
    timer
        Tells when windows that are still open may be announced.

    Raises
    ------
    StateFormatError
        If a model was counted by another ladder of maturity.
    """

    inputs: tuple[str, ...] = (WINDOW_PARTIALS, REGISTRY_COMMANDS)

    def __init__(
        self,
        config: Config,
        partition: int,
        state_of: Callable[[str], State],
        *,
        clock: Callable[[], int],
        timer: ProvisionalTimer,
    ) -> None:
        self._config = config
        self._partition = partition
        self._clock = clock
        self._provisional_timer = timer
        self._stages = Downstream(
            config, state_of, provisional=config.kafka.provisional_ms is not None
        )
        self._encoder = WireEncoder(config.kafka.app, config.kafka.partitions)
        # All tasks see all watermarks; one of them asks.
        self._data_clock = (
            IdlePartitionRequests(config) if config.clock == "data" and partition == 0 else None
        )
        self._partials: list[Partial | Watermarks] = []
        self._commands: list[tuple[Record, bytes]] = []
        self._held = HeldCommands(state_of(Registry.name))
        self._ladders = MaturityLadders(config, state_of(Registry.name), b"ladders")
        self._others: list[Outgoing] = []
        self._settled_ms = -1
        self._panes_due = True
        self._news = False
        self._unread: frozenset[str] = frozenset()

    def note_unread(self, unread: frozenset[str], /, *, now_ms: int) -> None:
        """Take note of the inputs that are not read to their ends."""
        self._unread = unread

    def note_caught_up(self, caught_up: bool, /, *, now_ms: int) -> None:
        """Stages 2 to 4 take their time from the watermarks of stage 1."""

    def take(self, received: ReceivedRecords, /) -> int:
        """Decode records of one input and buffer them.

        Raises
        ------
        ForeignFormat
            If another release wrote a partial: without it the counts would be wrong.
        """
        if received.topic == WINDOW_PARTIALS:
            self._take_partials(received)
        else:
            self._take_commands(received)
        return len(self._partials) + len(self._commands) + len(self._others)

    def process(self, positions: Mapping[str, int], /) -> list[Outgoing]:
        """Add up partials, carry out commands, and complete some of the panes that are due."""
        outgoing, self._others = self._others, []
        if self._partials:
            self._ladders.note(
                name
                for partial in self._partials
                if isinstance(partial, Partial)
                for name, _, _ in partial.series
            )
            self._stages.merge(self._partials)
            self._partials, self._news = [], True
        said = self._taken_commands()
        panes = 0
        while (
            (due_ms := self._stages.due()) is not None
            and panes < PANES_AT_ONCE
            and len(said) < RECORDS_AT_ONCE
            and not self.defers()
        ):
            said += self._stages.advance(self._held.before(due_ms))
            panes += 1
        self._panes_due = due_ms is not None
        if self._held and not self._panes_due:
            said += self._stages.finish(
                self._held.before(None if self._time_is_over() else self._stages.next_ms())
            )
        if self._may_show():
            begun = self._provisional_timer.begin()
            said += self._stages.provisional()
            self._news = False
            self._provisional_timer.end(begun)
        # What the stages command each other is told by the events that follow from it.
        outgoing += self._encoder.said(
            record for record in said if record.topic != REGISTRY_COMMANDS
        )
        return outgoing + self._settled() + self._requests()

    def waits(self) -> None:
        """Commands and partials are not compared."""

    def defers(self) -> bool:
        """Whether there are commands to be read, by the data clock: one that counts before the next
        pane may be among them.
        """
        return self._config.clock == "data" and REGISTRY_COMMANDS in self._unread

    def pending(self) -> bool:
        """Whether panes are due, open windows have changed, or partitions that stand still are to
        be asked to move on.
        """
        return self._panes_due or self._may_show() or bool(self._asked())

    def _may_show(self) -> bool:
        return self._news and not self._panes_due and self._provisional_timer.due()

    def _take_partials(self, received: ReceivedRecords) -> None:
        for offset, key, value in zip(
            received.offsets, received.keys, received.values, strict=True
        ):
            try:
                self._partials.append(decode(value or b""))
            except ForeignFormat:
                raise
            except ValueError as error:
                text = f"{WINDOW_PARTIALS}[{self._partition}]@{offset}: {error}; record sent to {dlq_name(WINDOW_PARTIALS)}"
                reject = Reject(offset, "encoding", text, value or b"")
                self._others.append(
                    dead_letter(
                        WINDOW_PARTIALS, self._partition, reject, key, value, now_ms=self._clock()
                    )
                )

    def _take_commands(self, received: ReceivedRecords) -> None:
        now_ms = self._clock()
        commands, good, rejects = decode_commands(
            received.values, received.offsets, now_ms + self._config.max_ahead_ms
        )
        place = (
            dict(zip(received.offsets, range(len(received.offsets)), strict=True))
            if rejects
            else {}
        )
        for reject in rejects:
            key, value = received.keys[place[reject.offset]], received.values[place[reject.offset]]
            self._others.append(
                dead_letter(REGISTRY_COMMANDS, self._partition, reject, key, value, now_ms=now_ms)
            )
        for at, command in zip(good, commands, strict=True):
            home = partition_of(command.model_name, self._config.kafka.partitions)
            if home == self._partition:
                self._commands.append(
                    (Record(REGISTRY_COMMANDS, command), received.values[at] or b"")
                )
            else:
                # A producer with another partitioner, such as kcat's CRC32, puts it where its model
                # is not.
                self._others.append(
                    Outgoing(REGISTRY_COMMANDS, home, command.key().encode(), received.values[at])
                )

    def _taken_commands(self) -> list[Record]:
        """Carry out the commands that were taken, or keep them until their time comes where that is
        the records'.
        """
        taken, self._commands = self._commands, []
        if self._config.clock == "data":
            for command, value in taken:
                self._held.add(parse_time(command.value.timestamp), value)
            return []
        # Some may have been held when the clock was another one.
        commands = [*self._held.before(None), *(command for command, _ in taken)]
        return self._stages.finish(commands) if commands else []

    def _time_is_over(self) -> bool:
        """Whether all partitions have come to the end of time."""
        frontier = self._stages.frontier()
        if frontier.ended_ms is None:
            return False
        return min(min(both) for both in frontier.marks.values()) >= end_of_time(
            self._config, frontier.ended_ms
        )

    def _settled(self) -> list[Outgoing]:
        """Say so when everything up to the end of time has been announced, after a history has
        ended.
        """
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
        asked = self._asked()
        if self._data_clock is not None:
            self._data_clock.asked(asked)
        return [
            Outgoing(
                TICKS,
                partition,
                str(partition).encode(),
                encode(Tick(timestamp=format_time(time_ms))),
            )
            for partition, time_ms in asked.items()
        ]

    def _asked(self) -> dict[int, int]:
        if self._data_clock is None:
            return {}
        frontier = self._stages.frontier()
        return self._data_clock.requests(frontier.marks, frontier.partitions, self._clock())


def downstream_processors(config: Config, *, clock: Callable[[], int]) -> ProcessorFactory:
    """What makes the processor of a partition; all of them share one budget of processor time for
    windows that are still open.
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
            timer=ProvisionalTimer(config.kafka.provisional_ms, budget),
        )

    return make
