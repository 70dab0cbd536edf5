"""`driftline worker` on a real broker: assignment of partitions, readiness, and its end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition

from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import Connection
from tests.kafka.brokers import BrokerProcess, Names
from tests.kafka.worker_process import PATIENCE_S, WorkerProcess

pytestmark = pytest.mark.kafka

SMALL = "input_partitions = 4\npartitions = 2\nreplication_factor = 1\nsession_timeout = '6s'"
START_MS = 1_700_000_000_000
DATA_CLOCK = 'run.clock = "data"\nrun.outcomes = true'

Starter = Callable[..., WorkerProcess]


@pytest.fixture
def start(names: Names, tmp_path: Path) -> Iterator[Starter]:
    """Starts workers of the test's own application, and ends them after the test."""
    started: list[WorkerProcess] = []

    def start(
        *arguments: str, name: str = "w", text: str = DATA_CLOCK, kafka: str = SMALL
    ) -> WorkerProcess:
        started.append(
            WorkerProcess(tmp_path, names.toml(text, kafka=kafka), *arguments, name=name).start()
        )
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


def test_every_pair_is_joined_once_and_no_lag_remains(
    connection: Connection, start: Starter
) -> None:
    worker = start().until_ready()
    _send(connection, range(3_000))
    worker.until(lambda: _lag(connection) == {"join": 0, "downstream": 0}, "has a lag")
    joined = _values(connection, "outcomes", 3_000)
    assert sorted(row["prediction_id"] for row in joined) == sorted(
        f"p{number}" for number in range(3_000)
    )
    began, used = time.monotonic(), worker.cpu_seconds()
    time.sleep(3)
    share = (worker.cpu_seconds() - used) / (time.monotonic() - began)
    print(f"idle: {share:.1%} of a core, load {os.getloadavg()[0]:.1f}")
    worker.terminate()
    assert _lag(connection) == {"join": 0, "downstream": 0}
    assert "Traceback" not in worker.read_log()


def test_workers_share_all_partitions_and_take_over_those_of_a_killed_one(
    connection: Connection, start: Starter
) -> None:
    all_partitions = {"join": [0, 1, 2, 3], "downstream": [0, 1]}
    workers = [start(name="w1"), start(name="w2"), start(name="w3")]
    workers[0].until(
        lambda: sorted(len(worker.tasks("join")) for worker in workers) == [1, 1, 2],
        "does not share evenly",
    )
    workers[0].until(lambda: _share(workers) == all_partitions, "does not share all partitions")
    workers.pop().terminate()
    workers[0].until(
        lambda: _share(workers) == all_partitions, "does not share the partitions of the third"
    )
    workers.pop().kill()
    workers[0].until(
        lambda: _share(workers) == all_partitions, "does not take over from the killed one"
    )
    _send(connection, range(500))
    assert len(_values(connection, "outcomes", 500)) == 500


def test_restarted_static_member_gets_its_partitions_back_without_disturbing_the_other(
    connection: Connection, start: Starter
) -> None:
    patient = SMALL.replace("6s", "45s")
    stays, leaves = (
        start("--name", "stays", name="w1", kafka=patient),
        start("--name", "leaves", name="w2", kafka=patient),
    )
    stays.until(
        lambda: len(stays.tasks("join")) == 2 and len(leaves.tasks("join")) == 2,
        "does not share evenly",
    )
    had, restored = leaves.tasks("join"), stays.read_log().count("restored in")
    leaves.kill()
    leaves.start().until_ready()
    assert leaves.tasks("join") == had
    assert stays.read_log().count("restored in") == restored


def test_worker_runs_only_its_stages_and_ends_on_an_interrupt(
    connection: Connection, start: Starter
) -> None:
    worker = start("--stages", "measure,decide,registry").until_ready()
    assert set(worker.readiness()["tasks"]) == {"downstream"}
    os.kill(worker.pid, signal.SIGINT)
    assert worker.exit_code() == 0


def test_topic_with_another_number_of_partitions_ends_the_worker_with_name_and_numbers(
    connection: Connection, start: Starter
) -> None:
    worker = start(kafka=SMALL.replace("input_partitions = 4", "input_partitions = 6"))
    assert worker.exit_code() == 2
    assert (
        f"topic {connection.name('predictions')}: has 4 partitions, but kafka.input_partitions = 6"
        in worker.read_log()
    )


def test_changed_ladder_of_a_counted_model_ends_the_worker_and_a_new_model_may_have_one(
    connection: Connection, start: Starter
) -> None:
    worker = start(name="w1").until_ready()
    _send(connection, range(60))
    assert len(_values(connection, "outcomes", 60)) == 60
    worker.terminate()
    changed = start(name="w2", text=DATA_CLOCK + '\nmodels.m1.maturity = ["2h"]')
    assert changed.exit_code() == 78
    before, now = '["1h", "6h", "1d", "3d", "7d", "30d"]', '["2h", "30d"]'
    assert f"models.m1.maturity was {before}, is now {now}" in changed.read_log()
    assert "Restore them, or give the program another kafka.app" in changed.read_log()
    added = start(name="w3", text=DATA_CLOCK + '\nmodels.m9.maturity = ["2h"]').until_ready()
    _send(connection, range(60, 90))
    assert len(_values(connection, "outcomes", 90)) == 90
    added.terminate()


def test_producers_with_different_partitioners_make_the_worker_unready_with_the_remedy(
    connection: Connection, start: Starter
) -> None:
    worker = start("--stages", "join").until_ready()
    for first in range(0, 500, 100):
        _send(connection, range(first, first + 100), truths=False)
        _send(
            connection,
            range(first, first + 100),
            predictions=False,
            partitioner="consistent_random",
        )
        time.sleep(0.2)
    worker.until(lambda: worker.get("/health/ready")[0] == 503, "is ready")
    (reason,) = worker.readiness()["reasons"]
    assert "keys are spread differently" in reason
    assert "partitioner=murmur2_random" in reason


def test_inputs_deleted_before_they_were_read_end_the_worker_with_the_offsets(
    connection: Connection, start: Starter
) -> None:
    worker = start("--stages", "join").until_ready()
    _send(connection, range(400))
    worker.until(lambda: _lag(connection)["join"] == 0, "has a lag")
    worker.terminate()
    _send(connection, range(400, 800))
    place = TopicPartition(connection.name("predictions"), 0, -1)
    admin = connection.admin()
    admin.delete_records([place])[place].result(10)
    worker.start()
    assert worker.exit_code() == 78
    assert "were deleted before they were read" in worker.read_log()


def test_worker_waits_for_a_broker_that_is_away_and_obeys_signals_meanwhile(
    own_broker: BrokerProcess, tmp_path: Path
) -> None:
    names = Names(own_broker.servers, "away")
    topics.create(names.connection(DATA_CLOCK, kafka=SMALL))
    own_broker.kill()
    worker = WorkerProcess(tmp_path, names.toml(DATA_CLOCK, kafka=SMALL)).start()
    try:
        worker.until(lambda: bool(worker.readiness()), "does not answer")
        assert worker.get("/health/live")[0] == 200
        worker.until(
            lambda: "does not answer" in str(worker.readiness()["reasons"]),
            "does not say what it waits for",
        )
        worker.terminate()
        worker.start()
        worker.until(
            lambda: "does not answer" in str(worker.readiness().get("reasons")),
            "does not say what it waits for",
        )
        own_broker.start()
        worker.until_ready()
        own_broker.kill()
        worker.until(
            lambda: "does not answer" in str(worker.readiness().get("reasons")),
            "does not say that the broker went away",
        )
        own_broker.start()
        worker.until_ready()
        _send(names.connection(DATA_CLOCK, kafka=SMALL), range(300))
        assert len(_values(names.connection(DATA_CLOCK, kafka=SMALL), "outcomes", 300)) == 300
        worker.terminate()
    finally:
        worker.kill()


def _send(
    connection: Connection,
    numbers: range,
    *,
    predictions: bool = True,
    truths: bool = True,
    partitioner: str = "murmur2_random",
) -> None:
    producer = connection.producer(partitioner=partitioner)
    for number in numbers:
        key, at_ms = f"p{number}", START_MS + number * 10
        row = {
            "prediction_id": key,
            "model_name": f"m{number % 3}",
            "model_version": "1",
            "timestamp": at_ms,
            "prediction": "yes",
        }
        if predictions:
            producer.produce(connection.name("predictions"), json.dumps(row), key)
        if truths:
            truth = {"prediction_id": key, "label": "yes", "timestamp": at_ms + 1_000}
            producer.produce(connection.name("ground-truth"), json.dumps(truth), key)
    assert producer.flush(30) == 0


def _values(connection: Connection, topic: str, count: int) -> list[dict[str, str]]:
    """All values of a topic once it has `count` records, plus those of another half second, which
    there should not be.
    """
    consumer: Consumer = connection.consumer()
    parts = (
        consumer.list_topics(connection.name(topic), timeout=10)
        .topics[connection.name(topic)]
        .partitions
    )
    consumer.assign([TopicPartition(connection.name(topic), number, 0) for number in parts])
    values: list[dict[str, str]] = []
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        fresh = [
            json.loads(message.value() or b"")
            for message in consumer.consume(10_000, 0.5)
            if message.error() is None
        ]
        values += fresh
        if len(values) >= count and not fresh:
            break
    consumer.close()
    return values


def _lag(connection: Connection) -> dict[str, int]:
    """Distance from the committed offsets of both groups to the ends of the logs, computed as
    kafka-consumer-groups does.
    """
    admin = connection.admin()
    lags = {}
    for kind in ("join", "downstream"):
        group = connection.group(kind)
        answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[
            group
        ].result(10)
        consumer = connection.consumer()
        inputs = ("predictions", "ground-truth") if kind == "join" else ("window-partials",)
        committed = {
            (place.topic, place.partition): place.offset for place in answer.topic_partitions
        }
        lag = 0
        for topic in map(connection.name, inputs):
            for number in range(4 if kind == "join" else 2):
                _, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
                lag += end - max(0, committed.get((topic, number), 0))
        consumer.close()
        lags[kind] = lag
    return lags


def _share(workers: list[WorkerProcess]) -> dict[str, list[int]]:
    """Partitions of all workers together, by kind of task."""
    return {
        kind: sorted(part for worker in workers for part in worker.tasks(kind))
        for kind in ("join", "downstream")
    }
