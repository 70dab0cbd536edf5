"""Inputs that cannot be read on: topics made anew, records deleted unread, partitions added; and
the way on with --resume.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions

from driftline.agents.cli.program import driftline
from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.input_logs import (
    InputLog,
    InvalidResume,
    Resume,
    find_fault,
    parse_resume,
)
from driftline.agents.kafka.broker.ranges import offset_ranges, read_records
from driftline.agents.kafka.tools.export import export
from driftline.agents.results import open as open_results
from driftline.schemas.config import parse_config
from driftline.schemas.results import WindowFigures, to_plain
from driftline.schemas.times import format_time
from tests.kafka.brokers import Names
from tests.kafka.worker_process import WorkerProcess

SMALL = "input_partitions = 1\npartitions = 1\nreplication_factor = 1\nsession_timeout = '6s'"
DATA_CLOCK = 'run.clock = "data"\nrun.outcomes = true'
START_MS = 1_700_000_000_000
NOTICE_S = 30.0

Starter = Callable[..., WorkerProcess]


# Without a broker


def test_position_counts_only_in_the_topic_with_the_same_id() -> None:
    same, anew = InputLog("A", 0, 500), InputLog("B", 0, 500)
    assert find_fault("rows", 0, 300, "A", same) is None
    fault = find_fault("rows", 0, 300, "A", anew)
    assert fault is not None
    assert fault.fault == "made_anew"
    assert "offset 300 is next in topic id A, but the topic has id B now" in fault.what
    assert "--resume earliest" in fault.remedy


@pytest.mark.parametrize(
    ("position", "log", "fault", "earliest"),
    [
        (100, InputLog("A", 150, 200), "deleted", 150),
        (100, InputLog("B", 0, 10), "made_anew", 0),
        (300, InputLog("A", 0, 200), "truncated", None),
        (300, None, "missing", None),
    ],
)
def test_earliest_goes_on_where_nothing_would_be_counted_twice(
    position: int, log: InputLog | None, fault: str, earliest: int | None
) -> None:
    found = find_fault("rows", 0, position, "A", log)
    assert found is not None
    assert found.fault == fault
    assert Resume().offset(found, log) is None
    assert Resume(earliest=True).offset(found, log) == earliest


def test_named_offset_goes_before_earliest_and_must_be_in_the_log() -> None:
    log = InputLog("A", 150, 200)
    fault = find_fault("rows", 0, 100, "A", log)
    assert fault is not None
    assert Resume(True, {("rows", 0): 160}).offset(fault, log) == 160
    with pytest.raises(ValueError, match="the log holds the offsets 150 to 200"):
        Resume(True, {("rows", 0): 99}).offset(fault, log)


def test_resume_names_a_topic_as_it_is_on_the_broker() -> None:
    connection = Connection(parse_config('run.topic_prefix = "p."'), "127.0.0.1:1")
    assert parse_resume(["p.predictions:3:17", "earliest"], connection) == Resume(
        True, {("p.predictions", 3): 17}
    )
    with pytest.raises(InvalidResume, match="expected earliest or TOPIC:PARTITION:OFFSET"):
        parse_resume(["latest"], connection)
    with pytest.raises(
        InvalidResume, match=r"no task reads the topic 'predictions'; .*p\.ground-truth"
    ):
        parse_resume(["predictions:3:17"], connection)


# On a broker


@pytest.fixture
def start(names: Names, tmp_path: Path) -> Iterator[Starter]:
    """Starts workers of the test's own application, and ends them after the test."""
    started: list[WorkerProcess] = []

    def start(*arguments: str, name: str = "w") -> WorkerProcess:
        toml = names.toml(DATA_CLOCK, kafka=SMALL)
        started.append(WorkerProcess(tmp_path, toml, *arguments, name=name).start())
        return started[-1]

    yield start
    for worker in started:
        worker.kill()


@pytest.fixture
def connection(names: Names) -> Connection:
    """A connection to the test's own topics, which exist."""
    own = names.connection(DATA_CLOCK, kafka=SMALL)
    topics.create(own)
    return own


@pytest.mark.kafka
@pytest.mark.parametrize("topic", ["predictions", "ground-truth"])
def test_topic_made_anew_is_refused_at_every_start_until_resumed(
    connection: Connection, start: Starter, tmp_path: Path, topic: str
) -> None:
    worker = start().until_ready()
    send(connection, range(30))
    wait_for_outcomes(connection, worker, 30)
    worker.terminate()
    make_anew(connection, topic)
    send(connection, range(100, 200))  # more records than before
    for _ in range(2):
        worker.start()
        assert worker.exit_code() == 78
    assert "the topic was deleted and created anew" in worker.read_log()
    assert "Traceback" not in worker.read_log()
    assert "so no window would be final" in finished(tmp_path)

    resumed = start("--resume", "earliest").until_ready()
    wait_for_outcomes(connection, resumed, 130)
    assert f'reason="made_anew",topic="{topic}"}} 1.0' in resumed.get("/metrics")[1]
    resumed.terminate()
    (letter,) = losses(connection, topic)
    assert (letter["dlq_fault"], letter["dlq_offset"]) == ("made_anew", "30")
    # From minute 29, the last one before the loss, to 115, the youngest of the first 16 rows after
    # it; the grace of predictions is 1 minute, that of truths 10.
    grace = 1 if topic == "predictions" else 10
    assert lost_events(connection) == [
        {
            "topic": topic,
            "fault": "made_anew",
            "position": 30,
            "resumed_at": 0,
            "from": minute(29 - grace),
            "until": minute(115 + grace),
            "records": None,
        }
    ]
    start().until_ready().terminate()
    assert len(losses(connection, topic)) == 1


@pytest.mark.kafka
def test_topic_made_anew_ends_a_running_worker_without_a_traceback(
    connection: Connection, start: Starter
) -> None:
    worker = start().until_ready()
    send(connection, range(30))
    wait_for_outcomes(connection, worker, 30)
    make_anew(connection, "predictions")
    send(connection, range(100, 200))
    assert worker.exit_code() == 78
    worker.start()
    assert worker.exit_code() == 78
    log = worker.read_log()
    assert "driftline worker stops" in log
    assert "Traceback" not in log
    assert "--resume earliest" in log


@pytest.mark.kafka
def test_records_deleted_unread_are_passed_over_with_resume_and_the_loss_is_recorded(
    connection: Connection, start: Starter, tmp_path: Path
) -> None:
    worker = stopped_by_deletion(connection, start, counted=30, deleted=50, sent=100)
    assert "records 30 to 49 were deleted before they were read" in worker.read_log()
    (problem,) = problems(tmp_path)
    assert "records 30 to 49 were deleted" in problem["message"]
    assert "--resume earliest" in problem["remedy"]

    at_60 = f"{connection.name('predictions')}:0:60"
    resumed = start("--resume", at_60).until_ready()
    wait_for_outcomes(connection, resumed, 70)
    metrics = resumed.get("/metrics")[1]
    assert 'driftline_lost_records_total{kind="join",partition="0",topic="predictions"} 30' in (
        metrics
    )
    (lost,) = [row for row in resumed.readiness()["not_counted"] if row["reason"] == "lost"]
    assert (lost["topic"], lost["rows"]) == ("predictions", 30)
    (letter,) = losses(connection, "predictions")
    assert letter["dlq_resumed_at"] == "60"
    assert letter["dlq_lost_records"] == "30"
    resumed.terminate()
    (event,) = lost_events(connection)
    assert (event["position"], event["resumed_at"], event["records"]) == (30, 60, 30)
    # The log has the offsets from 50 on; those that the worker passed over are no part of the run.
    export(connection, tmp_path / "export")
    lines = (tmp_path / "export" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["offset"] for line in lines] == list(range(60, 100))


#   minute   0 ---- 69 | 70 ------ 149 | 150 ------ 300    a row of each topic a minute
#            counted     deleted unread   counted
#   window   22:00  23:00 (46)  00:00 (106)  01:00 (166)
#   lost     predictions between the minutes 68 (69 less the grace) and 166 (165, the youngest of
#            the first 16 rows, and the grace)
@pytest.mark.kafka
def test_windows_that_lack_deleted_rows_are_marked_live_and_in_a_replay_of_the_export(
    connection: Connection, start: Starter, tmp_path: Path
) -> None:
    stopped_by_deletion(connection, start, counted=70, deleted=150, sent=301)
    resumed = start("--resume", "earliest").until_ready()
    wait_for_outcomes(connection, resumed, 70 + 151)
    result = CliRunner().invoke(driftline, ["finish", "--config", str(tmp_path / "w.toml")])
    assert result.exit_code == 0, result.output
    assert "may lack rows of predictions between 2023-11-14T23:21:20Z and" in result.output
    resumed.terminate()

    live = tmp_path / "export"
    export(connection, live)
    metrics = figures_of(live)
    (loss,) = {
        (loss.topic, format_time(loss.from_ms), format_time(loss.until_ms), loss.records)
        for figures in metrics.values()
        for loss in figures.losses
    }
    assert loss == ("predictions", "2023-11-14T23:21:20Z", "2023-11-15T00:59:20Z", 80)
    for lane in ("traffic", "decisions"):
        hours = {key[3]: bool(figures.losses) for key, figures in metrics.items() if key[0] == lane}
        assert {format_time(ms)[11:13]: marked for ms, marked in hours.items()} == {
            "22": False,
            "23": True,
            "00": True,
            "01": False,
            "02": False,
            "03": False,
        }

    config = parse_config((tmp_path / "w.toml").read_text())
    replay(live, tmp_path / "replayed", config, partitions=1)
    replayed = figures_of(tmp_path / "replayed")
    marks = {key: figures.losses for key, figures in metrics.items()}
    # The rows of the hours before are gone from the broker, and so are their windows.
    assert {key: figures.losses for key, figures in replayed.items()}.items() <= marks.items()
    after = {key for key in metrics if format_time(key[3]) >= "2023-11-15T01"}
    assert {key: plain(replayed[key]) for key in after} == {
        key: plain(metrics[key]) for key in after
    }
    assert {key[0] for key in after} == {"traffic", "decisions", "arrivals"}
    shown = CliRunner().invoke(
        driftline, ["performance", "summary", "--window", "1d", "--out", str(live)]
    )
    assert "1d !" in shown.output
    assert "were lost before they were read: 80 of predictions" in " ".join(shown.output.split())
    found = CliRunner().invoke(driftline, ["doctor", "--json", "--out", str(live)])
    assert "may lack rows of predictions between 2023-11-14T23:21:20Z" in found.output


@pytest.mark.kafka
@pytest.mark.parametrize("topic", ["predictions", "registry-commands", "metrics"])
def test_added_partitions_make_the_worker_unready_and_finish_refuse(
    connection: Connection, start: Starter, tmp_path: Path, topic: str
) -> None:
    worker = start().until_ready()
    name = connection.name(topic)
    admin = connection.admin()
    admin.create_partitions([NewPartitions(name, 3)])[name].result()
    began = time.monotonic()
    worker.until(lambda: worker.get("/health/ready")[0] == 503, "is ready")
    assert time.monotonic() - began < NOTICE_S
    (reason,) = worker.readiness()["reasons"]
    assert f"topic {name}: has 3 partitions" in reason
    assert "has 3 partitions" in finished(tmp_path)
    assert "has 3 partitions" in str(problems(tmp_path))
    worker.terminate()
    worker.start()
    assert worker.exit_code() == 2
    assert f"topic {name}: has 3 partitions" in worker.read_log()


def send(connection: Connection, ids: range) -> None:
    """Predictions and their truths, a minute of event time apart."""
    producer = connection.producer()
    for number in ids:
        row = {
            "prediction_id": f"p{number}",
            "timestamp": format_time(START_MS + number * 60_000),
            "model_name": "m",
            "model_version": "1",
            "prediction": "yes",
        }
        truth = {"prediction_id": f"p{number}", "timestamp": row["timestamp"], "label": "yes"}
        for topic, value in (("predictions", row), ("ground-truth", truth)):
            producer.produce(connection.name(topic), json.dumps(value), key=f"p{number}")
    assert producer.flush(30.0) == 0


def wait_for_outcomes(connection: Connection, worker: WorkerProcess, count: int) -> None:
    """Wait until so many predictions have an outcome."""
    worker.until(
        lambda: sum(len(rows) for rows in records(connection, "outcomes")) >= count,
        f"did not join {count} rows",
    )


def records(connection: Connection, topic: str):  # type: ignore[no-untyped-def]
    for part in offset_ranges(connection, [topic])[topic]:
        yield from read_records(connection, part)


def losses(connection: Connection, topic: str) -> list[dict[str, str]]:
    """Headers of the dead letters about lost records."""
    letters = [
        {name: value.decode() for name, value in record.headers.items()}
        for rows in records(connection, f"{topic}.dlq")
        for record in rows
    ]
    return [letter for letter in letters if letter["dlq_reason"] == "lost"]


Figures = dict[tuple[str, str, str | None, int], WindowFigures]


def figures_of(folder: Path) -> Figures:
    """The hourly figures of the model in a folder, by lane, window, maturity and start."""
    return {
        (figures.lane, figures.window, figures.maturity, figures.window_start_ms): figures
        for figures in open_results(folder).metrics.structs()
        if figures.model_name == "m" and figures.window == "1h" and not figures.provisional
    }


def plain(figures: WindowFigures) -> dict[str, Any]:
    """A record without what earlier windows have a part in."""
    return to_plain(figures) | {"completeness": None, "registry_revision": None}


def lost_events(connection: Connection) -> list[dict[str, Any]]:
    """The losses on the topic of ticks."""
    ticks = [json.loads(record.value) for rows in records(connection, "ticks") for record in rows]
    return [loss for tick in ticks for loss in tick.get("lost", ())]


def minute(number: int) -> str:
    """Event time of the row with this number, which `send` sent."""
    return format_time(START_MS + number * 60_000)


def make_anew(connection: Connection, topic: str) -> None:
    name = connection.name(topic)
    admin = connection.admin()  # must live until its futures are done
    admin.delete_topics([name], operation_timeout=30)[name].result()
    ends = time.monotonic() + 20
    while topic not in topics.describe(connection, [topic]):
        assert time.monotonic() < ends
        time.sleep(0.5)
        topics.create(connection)


def stopped_by_deletion(
    connection: Connection, start: Starter, *, counted: int, deleted: int, sent: int
) -> WorkerProcess:
    """A worker that ended at its start: of `sent` predictions it has counted the first `counted`,
    and those up to `deleted` are gone.
    """
    worker = start().until_ready()
    send(connection, range(counted))
    wait_for_outcomes(connection, worker, counted)
    worker.terminate()
    send(connection, range(counted, sent))
    delete_before(connection, "predictions", deleted)
    worker.start()
    assert worker.exit_code() == 78
    return worker


def delete_before(connection: Connection, topic: str, offset: int) -> None:
    place = TopicPartition(connection.name(topic), 0, offset)
    admin = connection.admin()
    admin.delete_records([place])[place].result(10)


def problems(folder: Path) -> list[dict[str, str]]:
    """Problems of the inputs that doctor reports."""
    words = ["doctor", "--json", "--config", str(folder / "w.toml"), "--out", str(folder / "none")]
    broker = parse_config((folder / "w.toml").read_text()).kafka.bootstrap_servers
    found = json.loads(CliRunner().invoke(driftline, [*words, "--broker", broker]).stdout)
    return [
        finding
        for finding in found
        if finding["level"] == "problem" and finding["check"] in ("inputs", "topics")
    ]


def finished(folder: Path) -> str:
    """What finish prints; it must refuse."""
    result = CliRunner().invoke(driftline, ["finish", "--config", str(folder / "w.toml")])
    assert result.exit_code != 0
    return result.output
