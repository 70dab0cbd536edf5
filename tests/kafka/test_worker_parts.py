"""Parts of the worker that need no broker: its command line, its start positions, its log."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import click
import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError
from aiokafka.structs import TopicPartition
from faust.types import TP

from driftline.agents.cli.worker import task_kinds_of
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.worker.fetch_thread import ask_log_ends
from driftline.agents.worker.logging_setup import JsonFormatter, RepeatFilter, TextFormatter
from driftline.agents.worker.seek_positions import LostPosition, start_in_log
from driftline.agents.worker.task_router import TaskRouter, UnevenAssignment
from driftline.schemas.settings import Config


@pytest.mark.parametrize(
    ("stages", "kinds"),
    [
        ("join,measure,decide,registry", ("join", "downstream")),
        ("join", ("join",)),
        (" registry, decide,measure", ("downstream",)),
    ],
)
def test_stages_select_whole_kinds_of_task(stages: str, kinds: tuple[str, ...]) -> None:
    assert task_kinds_of(stages) == kinds


@pytest.mark.parametrize("stages", ["join,measure", "measure", "measure,decide"])
def test_stages_of_one_kind_of_task_cannot_be_separated(stages: str) -> None:
    with pytest.raises(click.BadParameter, match="measure, decide and registry run in one task"):
        task_kinds_of(stages)


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(
        click.BadParameter,
        match="'scoring' is not a stage; the stages are join, measure, decide, registry",
    ):
        task_kinds_of("scoring")


#   log:   |----- deleted -----[ 100 ........ 200 )
def test_task_resumes_at_its_position_or_starts_at_the_beginning_of_the_log() -> None:
    rows = TP("rows", 3)
    assert start_in_log(rows, None, 100, 200) == 100
    assert [start_in_log(rows, position, 100, 200) for position in (100, 150, 200)] == [
        100,
        150,
        200,
    ]


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (
            99,
            r"rows\[3\]: records 99 to 99 were deleted before they were read: the log begins at "
            "100; to go on without them, start the workers with --resume earliest .* and give the "
            "topic a retention that is longer than the longest stop",
        ),
        (
            201,
            r"rows\[3\]: records up to 201 have been applied, but the log ends at 200: "
            "the topic was created anew or has lost records",
        ),
    ],
)
def test_position_outside_the_log_is_an_error(position: int, message: str) -> None:
    with pytest.raises(LostPosition, match=message):
        start_in_log(TP("rows", 3), position, 100, 200)


def test_inputs_of_a_task_on_different_workers_are_an_error() -> None:
    router = TaskRouter(("a", "b"), Connection(Config()))
    with pytest.raises(UnevenAssignment, match=r"this worker has a \[0, 1\], b \[0\]"):
        asyncio.run(router.assign([TP("a", 0), TP("a", 1), TP("b", 0)]))


def test_log_line_as_text_and_as_json() -> None:
    record = logging.LogRecord(
        "driftline.agents.kafka.task.task",
        logging.WARNING,
        __file__,
        1,
        "restored in %.1f s",
        (2.5,),
        None,
    )
    record.created, record.msecs = 1_700_000_000.25, 250.0
    assert (
        TextFormatter().format(record) == "2023-11-14T22:13:20.250Z WARNING task: restored in 2.5 s"
    )
    assert json.loads(JsonFormatter().format(record)) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "source": "task",
        "message": "restored in 2.5 s",
    }


def test_traceback_belongs_to_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    assert TextFormatter().format(record).splitlines()[-1] == "ValueError: broken"
    assert (
        json.loads(JsonFormatter().format(record))["traceback"].splitlines()[-1]
        == "ValueError: broken"
    )


def test_repeated_line_of_a_library_is_written_every_ten_seconds_with_the_number_left_out() -> None:
    now = 0.0
    repeat_filter = RepeatFilter(clock=lambda: now)

    def written(name: str, line: int) -> str | None:
        record = logging.LogRecord(
            name, logging.ERROR, "client.py", line, "no connection to %s", ("broker",), None
        )
        return record.getMessage() if repeat_filter.filter(record) else None

    assert written("aiokafka.client", 7) == "no connection to broker"
    assert [written("aiokafka.client", 7) for _ in range(3)] == [None, None, None]
    assert written("aiokafka.client", 8) == "no connection to broker"
    assert [written("driftline.agents.kafka.task.task", 7) for _ in range(2)] == [
        "no connection to broker"
    ] * 2
    now = 10.0
    assert written("aiokafka.client", 7) == "no connection to broker (and 3 more like this)"
    now = 20.0
    assert written("aiokafka.client", 7) == "no connection to broker"


def test_log_ends_are_requested_until_the_broker_answers() -> None:
    tp = TP("rows", 0)
    answers = iter(
        [KafkaTimeoutError("no answer within 30 s"), KafkaConnectionError("refused"), {tp: 3}]
    )

    class UnreliableConsumer:
        async def beginning_offsets(self, asked: list[TopicPartition]) -> dict[TopicPartition, int]:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return {TopicPartition(*tp): offset for tp, offset in answer.items()}

        async def end_offsets(self, asked: list[TopicPartition]) -> dict[TopicPartition, int]:
            return dict.fromkeys(asked, 9)

    ends = ask_log_ends(
        UnreliableConsumer(),
        [tp],
        call=lambda ask: ask(),
        log=logging.getLogger("test"),
        retry_seconds=0.0,
    )
    assert asyncio.run(ends) == {tp: (3, 9)}
