"""`driftline worker` on a real broker: who gets which partitions, when it is ready, how it ends."""

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
    """Starts workers of the test's own program, and ends them."""
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
    """To the test's own topics, which are there."""
    own = names.connection(DATA_CLOCK, kafka=SMALL)
    topics.create(own)
    return own


def test_everything_sent_is_joined_once_and_the_groups_have_no_lag_left(
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
    print(
        f"idle: {(worker.cpu_seconds() - used) / (time.monotonic() - began):.1%} of a core, load {os.getloadavg()[0]:.1f}"
    )
    took = worker.terminate()
    assert took < 10, f"took {took} s to stop"
    assert _lag(connection) == {"join": 0, "downstream": 0}
    assert "Traceback" not in worker.said()


def test_one_to_three_workers_share_all_partitions_and_one_that_is_killed_is_replaced(
    connection: Connection, start: Starter
) -> None:
    everything = {"join": [0, 1, 2, 3], "downstream": [0, 1]}
    workers = [start(name="w1"), start(name="w2"), start(name="w3")]
    workers[0].until(
        lambda: sorted(len(worker.tasks("join")) for worker in workers) == [1, 1, 2],
        "has not shared evenly",
    )
    workers[0].until(lambda: _share(workers) == everything, "has not shared everything")
    workers.pop().terminate()
    workers[0].until(
        lambda: _share(workers) == everything, "has not shared what the third one left"
    )
    workers.pop().kill()
    workers[0].until(
        lambda: _share(workers) == everything, "has not taken over from the killed one"
    )
    _send(connection, range(500))
    assert len(_values(connection, "outcomes", 500)) == 500


def test_a_static_member_comes_back_to_its_partitions_without_the_other_being_disturbed(
    connection: Connection, start: Starter
) -> None:
    patient = SMALL.replace("6s", "45s")
    stays, leaves = (
        start("--name", "stays", name="w1", kafka=patient),
        start("--name", "leaves", name="w2", kafka=patient),
    )
    stays.until(lambda: len(stays.tasks("join")) == 2 and len(leaves.tasks("join")) == 2, "shares")
    had, restored = leaves.tasks("join"), stays.said().count("restored in")
    leaves.kill()
    leaves.start().until_ready()
    assert leaves.tasks("join") == had
    assert stays.said().count("restored in") == restored


def test_a_worker_of_some_stages_runs_those_only_and_ends_on_an_interrupt(
    connection: Connection, start: Starter
) -> None:
    worker = start("--stages", "measure,decide,registry").until_ready()
    assert set(worker.readiness()["tasks"]) == {"downstream"}
    os.kill(worker.pid, signal.SIGINT)
    assert worker.exit_code() == 0


def test_a_topic_with_another_number_of_partitions_is_refused_by_name_and_counts(
    connection: Connection, start: Starter
) -> None:
    worker = start(kafka=SMALL.replace("input_partitions = 4", "input_partitions = 6"))
    assert worker.exit_code() == 2
    assert (
        f"topic {connection.name('predictions')}: has 4 partitions, but kafka.input_partitions = 6"
        in worker.said()
    )


def test_another_ladder_for_a_model_that_was_counted_is_refused_with_both_and_a_new_model_may_have_one(
    connection: Connection, start: Starter
) -> None:
    worker = start(name="w1").until_ready()
    _send(connection, range(60))
    assert len(_values(connection, "outcomes", 60)) == 60
    worker.terminate()
    changed = start(name="w2", text=DATA_CLOCK + '\nmodels.m1.maturity = ["2h"]')
    assert changed.exit_code() == 78
    ladder = "1h and 6h and 1d and 3d and 7d and 30d"
    assert (
        f'model "m1" was counted at maturity {ladder}; the configuration now has 2h and 30d'
        in changed.said()
    )
    assert (
        "Put its maturity and label_horizon back, or give the program another kafka.app"
        in changed.said()
    )
    added = start(name="w3", text=DATA_CLOCK + '\nmodels.m9.maturity = ["2h"]').until_ready()
    _send(connection, range(60, 90))
    assert len(_values(connection, "outcomes", 90)) == 90
    added.terminate()


def test_producers_that_use_different_partitioners_make_it_unready_with_the_remedy(
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


def test_inputs_that_were_deleted_unread_end_the_worker_with_the_numbers(
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
    assert "were deleted before they were read" in worker.said()


def test_a_broker_that_is_away_is_waited_for_and_signals_are_obeyed_meanwhile(
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
        assert worker.terminate() < 10
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
        assert worker.terminate() < 10
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
    """Everything on a topic once it holds so many records, and half a second more for those that
    should not be there.
    """
    consumer: Consumer = connection.consumer()
    parts = (
        consumer.list_topics(connection.name(topic), timeout=10)
        .topics[connection.name(topic)]
        .partitions
    )
    consumer.assign([TopicPartition(connection.name(topic), number, 0) for number in parts])
    found: list[dict[str, str]] = []
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        fresh = [
            json.loads(message.value() or b"")
            for message in consumer.consume(10_000, 0.5)
            if message.error() is None
        ]
        found += fresh
        if len(found) >= count and not fresh:
            break
    consumer.close()
    return found


def _lag(connection: Connection) -> dict[str, int]:
    """Committed offsets of both groups against the ends of the logs, as kafka-consumer-groups
    computes it.
    """
    admin = connection.admin()
    found = {}
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
        found[kind] = lag
    return found


def _share(workers: list[WorkerProcess]) -> dict[str, list[int]]:
    """Partitions that the workers have together, by kind."""
    return {
        kind: sorted(part for worker in workers for part in worker.tasks(kind))
        for kind in ("join", "downstream")
    }
