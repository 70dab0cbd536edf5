"""Held registry commands, on Kafka and in a replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.stages.downstream import PANES_S, DownstreamProcessor
from driftline.agents.kafka.stages.held_commands import HeldCommands
from driftline.agents.kafka.stages.provisional_budget import ProvisionalBudget, ProvisionalTimer
from driftline.agents.recorded.registry_log import RecordedCommands
from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import parse_config
from driftline.schemas.topics import REGISTRY_COMMANDS, REGISTRY_EVENTS, WINDOW_PARTIALS
from driftline.streams.partial import Watermarks
from driftline.streams.partial import encode as encode_partial
from driftline.streams.stage import Record
from driftline.streams.work_slices import WorkSlices

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
BEGIN = 1_767_571_200_000  # 2026-01-05T00:00:00Z


def command(name: str, at_ms: int) -> bytes:
    value = {
        "command_id": name,
        "command": "register",
        "model_name": "m",
        "model_version": name,
        "timestamp": at_ms,
        "requested_by": "t",
    }
    return json.dumps(value).encode()


def names(records: list[Record]) -> list[str]:
    return [record.value.command_id for record in records]


def test_a_command_is_released_once_before_the_first_moment_after_its_time() -> None:
    held = HeldCommands(MemoryState())
    held.add(REGISTRY_COMMANDS, 20, command("a", 20))
    assert (names(held.release_before(20)), len(held)) == ([], 1)
    assert (names(held.release_before(21)), len(held)) == (["a"], 0)
    assert names(held.release_before(None)) == []


def test_a_command_with_an_earlier_time_waits_for_its_predecessor() -> None:
    #   read     a 10   b 30   c 20   d 30   e 40
    #   counts   10     30     30     30     40
    held = HeldCommands(MemoryState())
    for name, at_ms in (("a", 10), ("b", 30), ("c", 20), ("d", 30), ("e", 40)):
        held.add(REGISTRY_COMMANDS, at_ms, command(name, at_ms))
    assert names(held.release_before(30)) == ["a"]
    assert names(held.release_before(31)) == ["b", "c", "d"]
    assert names(held.release_before(None)) == ["e"]


def test_the_state_holds_the_waiting_commands_and_nothing_else() -> None:
    state = MemoryState()
    held = HeldCommands(state)
    for number in range(3):
        held.add(REGISTRY_COMMANDS, number, command(str(number), number))
    assert names(HeldCommands(state).release_before(1)) == ["0"]
    again = HeldCommands(state)
    again.add(REGISTRY_COMMANDS, 0, command("late", 0))
    assert names(HeldCommands(state).release_before(None)) == ["1", "2", "late"]
    assert len(state.values) == 1, "the numbers of the queue"


@pytest.mark.parametrize("seed", range(30))
def test_commands_are_released_as_in_a_replay_despite_crashes(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    values = [
        command(str(number), BEGIN + random.randrange(60) * MINUTE)
        for number in range(random.randrange(40))
    ]
    path = tmp_path / "registry-commands.jsonl"
    path.write_bytes(b"".join(value + b"\n" for value in values))
    # Event time passes a moment only after all commands with an earlier time have been read.
    moments = sorted(BEGIN + random.randrange(70) * MINUTE for _ in range(random.randrange(12)))
    replayed = RecordedCommands(
        {REGISTRY_COMMANDS: path},
        {},
        latest_ms=BEGIN + DAY,
        write_rejected=lambda topic, portion: None,
    )
    state, read = MemoryState(), 0
    held = HeldCommands(state)
    for moment in [*moments, None]:
        due = [
            number
            for number, value in enumerate(values)
            if moment is None or json.loads(value)["timestamp"] < moment
        ]
        upto = max([read, *(number + 1 for number in due)])
        for value in values[read : random.randint(upto, len(values))]:
            held.add(REGISTRY_COMMANDS, json.loads(value)["timestamp"], value)
            read += 1
            if random.random() < 0.2:
                held = HeldCommands(state)
        assert names(held.release_before(moment)) == names(replayed.before(moment)[0]), (
            f"seed {seed}, {moment}"
        )
    replayed.close()


class Running:
    """A processor of stages 2 to 4 behind one partition of stage 1."""

    def __init__(
        self,
        clock: str,
        state: dict[str, MemoryState] | None = None,
        stages: Any = None,
        elapsed: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.config = parse_config(
            f'[run]\nclock = "{clock}"\n[kafka]\ninput_partitions = 1\npartitions = 1'
        )
        self.state = {} if state is None else state
        self.offset = 0
        timer = ProvisionalTimer(None, ProvisionalBudget())
        self.processor = DownstreamProcessor(
            self.config,
            0,
            self._state,
            clock=lambda: BEGIN + DAY,
            timer=timer,
            stages=stages,
            elapsed=elapsed,
        )

    def _state(self, stage: str) -> MemoryState:
        return self.state.setdefault(stage, MemoryState())

    def answers(self, topic: str = "", *values: bytes) -> list[str]:
        """Command ids of the events that one commit emits, after records of a topic."""
        if values:
            offsets = list(range(self.offset, self.offset + len(values)))
            start, self.offset = self.offset, self.offset + len(values)
            no_keys: list[bytes | None] = [None] * len(values)
            self.processor.take(
                ReceivedRecords(
                    topic, 0, offsets, no_keys, list(values), [0] * len(values), start, self.offset
                )
            )
        emitted = self.processor.process({})
        return [
            json.loads(out.value or b"")["command_id"]
            for out in emitted
            if out.topic == REGISTRY_EVENTS
        ]

    def advance_to(self, time_ms: int, ended_ms: int | None = None) -> list[str]:
        """Advance the watermarks of both topics of the only partition of stage 1."""
        return self.answers(
            WINDOW_PARTIALS, encode_partial(Watermarks(0, 1, time_ms, time_ms, ended_ms))
        )


def test_by_the_data_clock_a_command_takes_effect_at_its_event_time() -> None:
    # Panes of an hour, graces of 1 minute (predictions) and 10 minutes (truths). The truths' pane
    # that ends at 09:00 is open at 09:09 and complete at 09:10. The next steps: 10:01 and 10:10.
    running = Running("data")
    at = BEGIN + 10 * HOUR
    assert (
        running.answers(
            REGISTRY_COMMANDS,
            command("a", at - 1),
            command("b", at + MINUTE - 1),
            command("c", at + MINUTE),
        )
        == []
    )
    assert running.advance_to(at - 51 * MINUTE) == []
    assert running.advance_to(at - 50 * MINUTE) == ["a", "b"]
    assert running.advance_to(at + MINUTE - 1) == []
    assert running.advance_to(at + MINUTE) == ["c"]


def test_by_the_wall_clock_a_command_takes_effect_when_it_is_read() -> None:
    assert Running("wall").answers(REGISTRY_COMMANDS, command("a", BEGIN + 10 * HOUR)) == ["a"]


def test_commands_beyond_the_end_of_time_take_effect_there() -> None:
    running = Running("data")
    running.answers(REGISTRY_COMMANDS, command("a", BEGIN + DAY))
    assert running.advance_to(BEGIN + HOUR, ended_ms=BEGIN + HOUR) == []
    horizons = 30 * DAY + 7 * DAY
    assert running.advance_to(BEGIN + HOUR + horizons // 2, ended_ms=BEGIN + HOUR) == ["a"]
    running.answers(REGISTRY_COMMANDS, command("b", BEGIN + DAY), command("c", BEGIN + DAY))
    assert running.advance_to(BEGIN + HOUR + 2 * horizons, ended_ms=BEGIN + HOUR) == []


def test_held_commands_take_effect_at_once_after_a_change_to_the_wall_clock() -> None:
    before = Running("data")
    assert before.answers(REGISTRY_COMMANDS, command("a", BEGIN + 10 * HOUR)) == []
    assert Running("wall", before.state).answers() == ["a"]


class OnePane:
    """Stages with one due pane; keeps the commands that took effect before it."""

    def __init__(self) -> None:
        self.panes: list[list[str]] = []

    def due(self) -> int | None:
        return None if self.panes else BEGIN + 2 * HOUR

    def due_after_quiet(self, command_ms: int | None) -> int | None:
        return self.due()

    def next_ms(self) -> int:
        return 0

    def advance_in_slices(self, commands: list[Record]) -> WorkSlices[list[Record]]:
        self.panes.append(names(commands))
        yield
        return []

    def finish(self, commands: list[Record]) -> list[Record]:
        return []

    def new_label_reports(self) -> list[Any]:
        return []

    def frontier(self) -> Any:
        return SimpleNamespace(
            ended_ms=None, marks={}, partitions=0, reached_since=lambda pane_ms: 0
        )


class DuePanes(OnePane):
    """Stages with 100 due panes."""

    def due(self) -> int | None:
        return None if len(self.panes) == 100 else BEGIN + 2 * HOUR + len(self.panes)


@pytest.mark.parametrize(
    ("pane_s", "panes_of_calls"),
    [
        (0.0, [32, 32, 32, 4]),
        (PANES_S * 0.4, [3] * 33 + [1]),
        (PANES_S * 2, [1] * 100),
    ],
)
def test_a_call_completes_the_panes_of_one_slice_of_time(
    pane_s: float, panes_of_calls: list[int]
) -> None:
    seconds = count(0.0, pane_s)
    stages = DuePanes()
    running = Running("wall", stages=stages, elapsed=lambda: next(seconds))
    completed = []
    while running.processor.pending():
        before = len(stages.panes)
        running.answers()
        completed.append(len(stages.panes) - before)
    assert completed == panes_of_calls


@pytest.mark.parametrize(("clock", "panes"), [("data", []), ("wall", [[]])])
def test_by_the_data_clock_no_pane_is_completed_while_commands_are_unread(
    clock: str, panes: list[list[str]]
) -> None:
    stages = OnePane()
    running = Running(clock, stages=stages)
    running.processor.note_unread(frozenset((REGISTRY_COMMANDS,)), now_ms=0)
    assert running.processor.defers() is (clock == "data")
    assert (running.answers(), stages.panes) == ([], panes)
    running.processor.note_unread(frozenset(), now_ms=0)
    assert running.processor.pending() is (clock == "data")
    running.answers(REGISTRY_COMMANDS, command("a", BEGIN + HOUR))
    assert stages.panes == ([["a"]] if clock == "data" else [[]])
