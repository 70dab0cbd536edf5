"""Batches that were damaged on the broker's disk: those of the inputs are put aside and all else
flows, those of a changelog end the worker.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges, read_all, read_records
from driftline.agents.kafka.tools.export import export
from driftline.agents.kafka.tools.finish import finish
from driftline.agents.kafka.tools.uncounted import uncounted_on_topics
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, REGISTRY_COMMANDS
from tests.kafka.brokers import BrokerProcess, Names
from tests.kafka.pairs import prediction, truth
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka

ONE_EACH = "input_partitions = 1\npartitions = 1\nreplication_factor = 1\nsession_timeout = '6s'"
DATA_CLOCK = 'run.clock = "data"\nrun.outcomes = true'
VALUE_AT = 72  # a byte of the first record of a batch


def test_damaged_batches_of_the_inputs_are_put_aside_and_a_damaged_changelog_ends_the_worker(
    own_broker: BrokerProcess, tmp_path: Path
) -> None:
    names = Names(own_broker.servers, "crc")
    connection = names.connection(DATA_CLOCK, kafka=ONE_EACH)
    topics.create(connection)
    toml = names.toml(DATA_CLOCK, kafka=ONE_EACH)
    #   predictions   0 .. 99 | 100 .. 109 | 110 .. 199      the batches of a topic; the second one
    #   ground-truth  0 .. 49 |  50 .. 69  |  70 .. 199      is damaged
    for numbers in (range(100), range(100, 110), range(110, 200)):
        send_batch(connection, PREDICTIONS, [prediction(number) for number in numbers])
    for numbers in (range(50), range(50, 70), range(70, 200)):
        send_batch(connection, GROUND_TRUTH, [truth(number) for number in numbers])
    for _ in range(3):
        send_batch(connection, REGISTRY_COMMANDS, [{"not": "a command"}])
    own_broker.stop()
    damaged = {
        topic: _damage(tmp_path / "broker", connection.name(topic), 1)
        for topic in (PREDICTIONS, GROUND_TRUTH, REGISTRY_COMMANDS)
    }
    own_broker.start()

    worker = WorkerProcess(tmp_path, toml).start()
    try:
        # 200 predictions and truths without 10 of the ones and 20 of the others.
        worker.until(lambda: count(connection, "outcomes") == 170, "does not join the other rows")
        worker.until(
            lambda: all(count(connection, f"{topic}.dlq") >= 1 for topic in damaged),
            "has no dead letters",
        )
        worker.until_ready()
        worker.until(
            lambda: (
                'driftline_uncounted_rows_total{reason="checksum",topic="predictions"} 10.0'
                in worker.get("/metrics")[1]
            ),
            "does not count the records of the damaged batch",
        )
        finish(connection, connection.config, timeout_s=60.0)
        worker.terminate()
        assert "Traceback" not in worker.read_log()
    finally:
        worker.kill()

    places = {PREDICTIONS: (100, 109), GROUND_TRUTH: (50, 69), REGISTRY_COMMANDS: (1, 1)}
    for topic, (first, last) in places.items():
        (letter,) = (
            letter for letter in _letters(connection, topic) if letter["dlq_reason"] == "checksum"
        )
        assert letter["value"] == b""
        assert (letter["dlq_topic"], letter["dlq_partition"]) == (topic, "0")
        assert (letter["dlq_offset"], letter["dlq_last_offset"]) == (str(first), str(last))
        assert letter["dlq_lost_records"] == str(last - first + 1)
        assert letter["dlq_size"] == str(len(damaged[topic]))
        assert letter["dlq_sha256"] == hashlib.sha256(damaged[topic]).hexdigest()
        assert f"{topic}[0]@{first}" in letter["dlq_error"]
    rows = {
        (total.topic, total.reason): total.rows for total in uncounted_on_topics(connection).totals
    }
    assert rows[PREDICTIONS, "checksum"] == 10
    assert rows[GROUND_TRUTH, "checksum"] == 20

    # Tools read past them too, and a replay of the export has the rows of the live run.
    ranges = offset_ranges(connection, [PREDICTIONS, GROUND_TRUTH])
    read = [
        topic for topic, _ in read_all(connection, [*ranges[PREDICTIONS], *ranges[GROUND_TRUTH]])
    ]
    assert (read.count(PREDICTIONS), read.count(GROUND_TRUTH)) == (190, 180)
    export(connection, tmp_path / "log")
    summary = replay(tmp_path / "log", tmp_path / "out", connection.config, partitions=1)
    assert summary.rejected[PREDICTIONS] == {"checksum": 1}
    assert summary.rejected[GROUND_TRUTH] == {"checksum": 1}
    outcomes = (tmp_path / "out" / "outcomes.jsonl").read_text().splitlines()
    assert len(outcomes) == 170

    own_broker.stop()
    _damage(tmp_path / "broker", connection.name(f"{names.app}-join-changelog"), 0)
    own_broker.start()
    heir = WorkerProcess(tmp_path, toml, name="heir").start()
    try:
        assert heir.exit_code() == 78
    finally:
        heir.kill()
    assert f"{names.app}-join-changelog[0]: cannot be read" in heir.read_log()
    assert "CRC" in heir.read_log()


def send_batch(connection: Connection, topic: str, rows: Sequence[dict[str, Any]]) -> None:
    """Send rows that the producer puts into one batch."""
    producer = connection.producer(linger_ms=1_000, batch_num_messages=len(rows))
    for row in rows:
        producer.produce(connection.name(topic), json.dumps(row), row.get("prediction_id", "k"), 0)
    assert producer.flush(30) == 0


def _damage(folder: Path, topic: str, number: int) -> bytes:
    """Flip a bit in a batch of partition 0 of a topic; returns the damaged batch."""
    (segment,) = folder.rglob(f"{topic}-0/*.log")
    data = bytearray(segment.read_bytes())
    start = 0
    for _ in range(number):
        start += 12 + struct.unpack_from(">i", data, start + 8)[0]
    end = start + 12 + struct.unpack_from(">i", data, start + 8)[0]
    data[start + VALUE_AT] ^= 1
    segment.write_bytes(data)
    return bytes(data[start:end])


def count(connection: Connection, topic: str) -> int:
    return sum(
        len(chunk)
        for part in offset_ranges(connection, [topic])[topic]
        for chunk in read_records(connection, part)
    )


def _letters(connection: Connection, topic: str) -> list[dict[str, Any]]:
    return [
        {name: value.decode() for name, value in record.headers.items()} | {"value": record.value}
        for part in offset_ranges(connection, [f"{topic}.dlq"])[f"{topic}.dlq"]
        for chunk in read_records(connection, part)
        for record in chunk
    ]
