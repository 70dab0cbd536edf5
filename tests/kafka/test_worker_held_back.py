"""While a backlog is read, the input that is ahead in event time is held back for the other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
from faust.types import TP

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.stages.join import JoinProcessor
from driftline.agents.state.dict_state import MemoryState
from driftline.agents.worker.task_router import TaskRouter
from driftline.schemas.config import parse_config
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, TICKS

MINUTE = 60_000
BEGIN = 28_000_000 * MINUTE
CONFIG = parse_config('[run]\ntopic_prefix = "p-"\n[kafka]\ninput_partitions = 1')


def take(processor: JoinProcessor, topic: str, minute: int) -> None:
    names = (
        '"model_name":"m","model_version":"1","score":0.5' if topic == PREDICTIONS else '"label":1'
    )
    value = f'{{"prediction_id":"{minute}","timestamp":{BEGIN + minute * MINUTE},{names}}}'.encode()
    processor.take(
        ReceivedRecords(
            topic=topic,
            partition=0,
            offsets=[0],
            keys=[b"a"],
            values=[value],
            timestamps_ms=[0],
            start=0,
            next=1,
        )
    )


def processor() -> JoinProcessor:
    return JoinProcessor(CONFIG, 0, MemoryState(), clock=lambda: BEGIN + 10_000 * MINUTE)


def test_input_more_than_five_minutes_ahead_waits() -> None:
    join = processor()
    assert join.waits() is None
    take(join, GROUND_TRUTH, 100)
    assert join.waits() == (GROUND_TRUTH, PREDICTIONS)
    take(join, PREDICTIONS, 95)
    assert join.waits() is None
    take(join, PREDICTIONS, 106)
    assert join.waits() == (PREDICTIONS, GROUND_TRUTH)


def test_rows_processed_before_a_restart_count() -> None:
    state = MemoryState()
    before = JoinProcessor(CONFIG, 0, state, clock=lambda: BEGIN + 10_000 * MINUTE)
    take(before, GROUND_TRUTH, 100)
    before.process({GROUND_TRUTH: 1})
    assert JoinProcessor(CONFIG, 0, state, clock=lambda: 0).waits() == (GROUND_TRUTH, PREDICTIONS)


def test_input_is_held_back_only_while_the_other_one_is_unread() -> None:
    join = processor()
    take(join, GROUND_TRUTH, 100)
    router = TaskRouter(JoinProcessor.inputs, Connection(CONFIG))
    tasks: Any = SimpleNamespace(tasks=lambda: [SimpleNamespace(partition=0, processor=join)])
    router.tasks = tasks
    assert router.held_back({TP("p-predictions", 0), TP("p-ground-truth", 0)}, 0) == {
        TP("p-ground-truth", 0)
    }
    assert router.held_back({TP("p-ground-truth", 0)}, 0) == set()
    assert router.held_back({TP("p-predictions", 1)}, 0) == set()


def test_rows_wait_for_an_input_that_is_behind_and_unread() -> None:
    join = processor()
    take(join, GROUND_TRUTH, 100)
    assert not join.defers(), (
        "no input is known to be unread, and with clock = wall rows do not wait otherwise"
    )
    join.note_unread(frozenset({PREDICTIONS}), now_ms=BEGIN + 10_000 * MINUTE)
    assert join.defers()
    join.note_unread(frozenset({GROUND_TRUTH}), now_ms=BEGIN + 10_000 * MINUTE)
    assert not join.defers()


def test_rows_of_a_fed_history_wait_half_a_second_for_the_next_row_and_at_most_one() -> None:
    now_ms = BEGIN + 10_000 * MINUTE
    config = msgspec.structs.replace(CONFIG, clock="data")
    join = JoinProcessor(config, 0, MemoryState(), clock=lambda: now_ms)
    take(join, GROUND_TRUTH, 100)
    assert join.defers()
    now_ms += 400
    take(join, PREDICTIONS, 1)
    now_ms += 400
    assert join.defers()
    take(join, PREDICTIONS, 2)
    now_ms += 200
    assert not join.defers(), "the truth has waited for a second"
    join.process({GROUND_TRUTH: 1, PREDICTIONS: 1})
    take(join, GROUND_TRUTH, 101)
    assert join.defers()
    now_ms += 500
    assert not join.defers()


def test_first_rows_of_a_fed_history_wait_half_a_second_after_any_silence() -> None:
    now_ms = BEGIN + 10_000 * MINUTE
    join = JoinProcessor(
        msgspec.structs.replace(CONFIG, clock="data", park_ms=2 * BEGIN),
        0,
        MemoryState(),
        clock=lambda: now_ms,
    )
    now_ms += MINUTE
    take(join, GROUND_TRUTH, 100)
    assert join.defers()
    now_ms += 500
    assert not join.defers()


def test_truths_of_a_fed_history_beyond_park_wait_for_predictions_or_a_request() -> None:
    now_ms = BEGIN + 10_000 * MINUTE
    config = msgspec.structs.replace(CONFIG, clock="data", park_ms=60 * MINUTE)
    join = JoinProcessor(config, 0, MemoryState(), clock=lambda: now_ms)
    take(join, PREDICTIONS, 100)
    take(join, GROUND_TRUTH, 160)
    now_ms += 10 * MINUTE
    assert not join.defers()
    take(join, GROUND_TRUTH, 161)
    now_ms += 10 * MINUTE
    assert join.defers(), (
        "the entry of a truth of minute 100 would expire, and its prediction may still be fed"
    )
    request = b'{"timestamp":"1970-01-01T00:00:00Z"}'
    join.take(
        ReceivedRecords(
            topic=TICKS,
            partition=0,
            offsets=[0],
            keys=[b"0"],
            values=[request],
            timestamps_ms=[0],
            start=0,
            next=1,
        )
    )
    assert not join.defers()
    join.note_caught_up(True, now_ms=now_ms)
    join.process({PREDICTIONS: 1, GROUND_TRUTH: 2, TICKS: 1})
    assert join.process({PREDICTIONS: 1, GROUND_TRUTH: 2, TICKS: 1})[0].topic == TICKS, "the answer"
    take(join, GROUND_TRUTH, 162)
    now_ms += 10 * MINUTE
    assert join.defers()
    take(join, PREDICTIONS, 102)
    now_ms += 1_000
    assert not join.defers()
