"""Logs that the broker does not serve, because the length of a batch was damaged on its disk."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from driftline.agents.doctor.broker import check_inputs
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.input_logs import InputLog, PositionFault
from driftline.agents.kafka.tools.finish import FinishError, finish
from driftline.agents.worker import stalled_inputs
from driftline.agents.worker.stalled_inputs import STILL_S, StalledInputs
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from tests.kafka.brokers import BrokerProcess, Names
from tests.kafka.pairs import prediction, truth
from tests.kafka.test_checksum import DATA_CLOCK, ONE_EACH, count, send_batch
from tests.kafka.worker_process import WorkerProcess

BATCH, ROWS = 100, 1_000


@pytest.mark.kafka
@pytest.mark.slow
def test_a_worker_is_not_ready_while_the_broker_gives_no_records_of_a_damaged_log(
    own_broker: BrokerProcess, tmp_path: Path
) -> None:
    names = Names(own_broker.servers, "length")
    connection = names.connection(DATA_CLOCK, kafka=ONE_EACH)
    topics.create(connection)
    for topic, row in ((PREDICTIONS, prediction), (GROUND_TRUTH, truth)):
        for first in range(0, ROWS, BATCH):
            numbers = range(first, first + BATCH)
            send_batch(connection, topic, [row(number) for number in numbers])
    #   offset       0 .. 299 | 300 .. 399 | 400 .. 499 | 500 .. 999
    #   predictions  read     | damaged    | not served | served again
    #   ground-truth read       not served              | served again
    damage_length(tmp_path / "broker", connection.name(PREDICTIONS), 3, lambda length: length + 50)
    damage_length(tmp_path / "broker", connection.name(GROUND_TRUTH), 3, lambda length: 3)

    toml = names.toml(DATA_CLOCK, kafka=ONE_EACH)
    worker = WorkerProcess(tmp_path, toml).start()
    try:
        worker.until(
            lambda: (
                worker.get("/health/ready")[1].count(
                    "the log ends at 1000, but the broker gives no"
                )
                == 2
            ),
            "does not say that it gets no records",
        )
        status, text = worker.get("/health/ready")
        assert status == 503
        assert f"{connection.name(PREDICTIONS)}[0]" in text
        assert f"{connection.name(GROUND_TRUTH)}[0]" in text
        assert count(connection, "outcomes") == 300
        with pytest.raises(FinishError, match="the broker gives no record from 400 on"):
            finish(connection, connection.config, timeout_s=120.0)
        found = [result for result in check_inputs(connection) if result.level == "problem"]
        assert len(found) == 2
        assert all("kafka-delete-records" in result.remedy for result in found)
        worker.terminate()
    finally:
        worker.kill()

    admin = connection.admin()
    kept = [TopicPartition(connection.name(topic), 0, 500) for topic in (PREDICTIONS, GROUND_TRUTH)]
    for answer in admin.delete_records(kept).values():
        answer.result()
    heir = WorkerProcess(tmp_path, toml, "--resume", "earliest", name="heir").start()
    try:
        heir.until(lambda: count(connection, "outcomes") == 800, "does not read the rest")
        heir.until_ready()
        finish(connection, connection.config, timeout_s=120.0)
        heir.terminate()
    finally:
        heir.kill()


def damage_length(folder: Path, topic: str, number: int, change: Any) -> None:
    """Change the length in the head of a batch of partition 0 of a topic, under a running
    broker.
    """
    (segment,) = folder.rglob(f"{topic}-0/*.log")
    data, start = segment.read_bytes(), 0
    for _ in range(number):
        start += 12 + struct.unpack_from(">i", data, start + 8)[0]
    (length,) = struct.unpack_from(">i", data, start + 8)
    with segment.open("r+b") as file:
        file.seek(start + 8)
        file.write(struct.pack(">i", change(length)))


class Broker:
    """Logs of which some are not served; stands for the connection too."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **ends: int) -> None:
        self.ends = ends
        self.damaged: set[str] = set()
        self.asked: list[str] = []
        self.now = 0.0
        monkeypatch.setattr(stalled_inputs, "patiently", lambda connection, call: call(None))
        monkeypatch.setattr(stalled_inputs, "input_logs", self._logs)
        monkeypatch.setattr(stalled_inputs, "unserved", self._unserved)

    def name(self, topic: str) -> str:
        return f"live.{topic}"

    def _logs(self, admin: None, connection: Connection, places: Any) -> Any:
        return {(topic, number): InputLog("id", 0, self.ends[topic]) for topic, number in places}

    def _unserved(self, connection: Connection, behind: Any) -> list[PositionFault]:
        self.asked += [topic for topic, _ in behind]
        return [
            PositionFault(topic, number, position, "unserved", f"{topic} {position} of {end}", "!")
            for (topic, number), (position, end) in behind.items()
            if topic in self.damaged
        ]


def test_the_broker_is_asked_once_a_position_has_stayed_behind_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker: Any = Broker(monkeypatch, a=10, b=10, c=10)
    broker.damaged = {"live.a"}
    stalled = StalledInputs(broker, lambda: broker.now)
    #   a is damaged, b is at its end, c moves
    assert stalled.look({("a", 0): 4, ("b", 0): 10, ("c", 0): 1}) is None
    broker.now = STILL_S - 1
    assert stalled.look({("a", 0): 4, ("b", 0): 10, ("c", 0): 2}) is None
    assert broker.asked == []
    broker.now = STILL_S
    assert stalled.look({("a", 0): 4, ("b", 0): 10, ("c", 0): 2}) == "live.a 4 of 10; !"
    assert broker.asked == ["live.a"]
    # It is not asked again and again, and the problem is over when the position moves.
    assert stalled.look({("a", 0): 4, ("b", 0): 10, ("c", 0): 3}) == "live.a 4 of 10; !"
    assert broker.asked == ["live.a"]
    assert stalled.look({("a", 0): 5, ("b", 0): 10, ("c", 0): 4}) is None


def test_a_task_that_only_waits_is_no_fault_and_its_log_is_asked_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker: Any = Broker(monkeypatch, a=10)
    stalled = StalledInputs(broker, lambda: broker.now)
    for _ in range(5):
        assert stalled.look({("a", 0): None}) is None  # from the beginning of the log
        broker.now += STILL_S
    assert broker.asked == ["live.a"]
    broker.ends["a"] = 11
    stalled.look({("a", 0): None})
    assert broker.asked == ["live.a", "live.a"]


def test_many_damaged_partitions_are_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    broker: Any = Broker(monkeypatch, a=10)
    broker.damaged = {"live.a"}
    stalled = StalledInputs(broker, lambda: broker.now)
    positions = {("a", number): 1 for number in range(8)}
    stalled.look(positions)
    broker.now = STILL_S
    assert (stalled.look(positions) or "").endswith("; and 5 more partitions")
