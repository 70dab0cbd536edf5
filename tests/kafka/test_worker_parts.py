"""Parts of the worker that need no broker: what its command line takes, what it refuses to read,
how it logs.
"""

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
from driftline.agents.worker import fetch_thread
from driftline.agents.worker.fetch_thread import Reader
from driftline.agents.worker.logging_setup import Json, Line, Seldom
from driftline.agents.worker.seek_positions import LostPosition, place_in_log
from driftline.agents.worker.task_router import Feed, Uneven
from driftline.schemas.settings import Config


@pytest.mark.parametrize(
    ("stages", "kinds"),
    [
        ("join,measure,decide,registry", ("join", "downstream")),
        ("join", ("join",)),
        (" registry, decide,measure", ("downstream",)),
    ],
)
def test_stages_are_run_by_whole_kinds(stages: str, kinds: tuple[str, ...]) -> None:
    assert task_kinds_of(stages) == kinds


@pytest.mark.parametrize("stages", ["join,measure", "measure", "measure,decide"])
def test_stages_that_come_to_rest_together_are_not_run_apart(stages: str) -> None:
    with pytest.raises(click.BadParameter, match="measure, decide and registry run together"):
        task_kinds_of(stages)


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(
        click.BadParameter,
        match="'scoring' is no stage; there are join, measure, decide, registry",
    ):
        task_kinds_of("scoring")


#   log:   |----- deleted -----[ 100 ........ 200 )
def test_a_task_reads_on_where_it_stopped_or_at_the_beginning_of_the_log() -> None:
    rows = TP("rows", 3)
    assert place_in_log(rows, None, 100, 200) == 100
    assert [place_in_log(rows, position, 100, 200) for position in (100, 150, 200)] == [
        100,
        150,
        200,
    ]


@pytest.mark.parametrize(
    ("position", "said"),
    [
        (
            99,
            "rows-3: records 99 to 99 were deleted before they were read: the log starts at 100. Give the topic a longer retention",
        ),
        (
            201,
            "rows-3: records up to 201 have been applied, but the log ends at 200: the topic was made anew or has lost records",
        ),
    ],
)
def test_a_position_that_the_log_does_not_have_is_never_moved(position: int, said: str) -> None:
    with pytest.raises(LostPosition, match=said):
        place_in_log(TP("rows", 3), position, 100, 200)


def test_inputs_of_a_task_on_different_workers_are_refused() -> None:
    feed = Feed(("a", "b"), Connection(Config()))
    with pytest.raises(Uneven, match=r"assigned apart: a \[0, 1\], b \[0\]"):
        asyncio.run(feed.assign([TP("a", 0), TP("a", 1), TP("b", 0)]))


def test_a_log_line_for_people_and_one_for_machines() -> None:
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
    assert Line().format(record) == "2023-11-14T22:13:20.250Z WARNING task: restored in 2.5 s"
    assert json.loads(Json().format(record)) == {
        "time": "2023-11-14T22:13:20.250Z", "level": "warning", "source": "task", "message": "restored in 2.5 s",
    }  # fmt: skip


def test_a_traceback_stays_with_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    assert Line().format(record).splitlines()[-1] == "ValueError: broken"
    assert json.loads(Json().format(record))["traceback"].splitlines()[-1] == "ValueError: broken"


def test_what_a_library_repeats_is_written_now_and_then_with_how_often_it_was_not() -> None:
    now = 0.0
    seldom = Seldom(clock=lambda: now)

    def written(name: str, line: int) -> str | None:
        record = logging.LogRecord(
            name, logging.ERROR, "client.py", line, "no connection to %s", ("broker",), None
        )
        return record.getMessage() if seldom.filter(record) else None

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


def test_the_ends_of_the_logs_are_asked_until_the_broker_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tp = TP("rows", 0)
    answers = iter(
        [KafkaTimeoutError("no answer within 30 s"), KafkaConnectionError("refused"), {tp: 3}]
    )

    class Away:
        async def beginning_offsets(self, asked: list[TopicPartition]) -> dict[TopicPartition, int]:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return {TopicPartition(*tp): offset for tp, offset in answer.items()}

        async def end_offsets(self, asked: list[TopicPartition]) -> dict[TopicPartition, int]:
            return dict.fromkeys(asked, 9)

    monkeypatch.setattr(fetch_thread, "RETRY_SECONDS", 0.0)
    reader = Reader.__new__(Reader)
    reader._consumer, reader.call_thread, reader.log = (
        Away(),
        lambda ask: ask(),
        logging.getLogger("test"),
    )
    assert asyncio.run(reader.ends([tp])) == {tp: (3, 9)}
