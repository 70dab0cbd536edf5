"""Records that nobody can use never stop a partition: they are put aside, all else flows."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import LARGEST_RECORD, Connection
from driftline.agents.kafka.broker.ranges import MAX_BATCH_BYTES, offset_ranges, read_records
from driftline.agents.kafka.tools.export import export
from tests.kafka.brokers import Names
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka

SMALL = "input_partitions = 2\npartitions = 2\nreplication_factor = 1\nsession_timeout = '6s'"
DATA_CLOCK = 'run.clock = "data"\nrun.outcomes = true'
START_MS = 1_700_000_000_000
INPUTS = (
    "predictions",
    "ground-truth",
    "ticks",
    "registry-commands",
    "alert-commands",
    "window-partials",
)
FOREIGN = {
    "schema_registry": b"\0\0\0\0\x11\x02a\x0echurn\xff",
    "avro": b"Obj\x01\x04\x14avro.codec\x08null\0\xff",
    "compressed": gzip.compress(b"{}", mtime=0),
}
Poison = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


@pytest.fixture
def connection(names: Names) -> Connection:
    """A connection to the test's own topics, which exist."""
    own = names.connection(DATA_CLOCK, kafka=SMALL)
    topics.create(own)
    return own


@pytest.fixture
def worker(names: Names, tmp_path: Path, connection: Connection) -> Iterator[WorkerProcess]:
    """A running worker of the test's own application."""
    process = WorkerProcess(tmp_path, names.toml(DATA_CLOCK, kafka=SMALL)).start()
    yield process
    process.kill()


def test_poison_of_any_kind_is_put_aside_and_the_rows_around_it_are_joined(
    connection: Connection, worker: WorkerProcess, tmp_path: Path
) -> None:
    # The topic of the dead letters may have been made with another limit than the input.
    _set_limit(connection, "ground-truth.dlq", 200_000)
    largest, random = os.urandom(LARGEST_RECORD - 200), os.urandom(500_000)
    long_key = os.urandom(LARGEST_RECORD - 300)
    small: list[Poison] = [
        (None, None, []),
        (b"empty", b"", []),
        (b"text", b"\xff\xfe{", []),
        (b"json", b"{", []),
        (b"deep", b"[" * 100_000, []),
        (b"random", random, []),
        *((reason.encode(), value, []) for reason, value in FOREIGN.items()),
    ]
    large: list[Poison] = [
        (b"largest", largest, []),
        (long_key, b"{}", []),
        (b"headers", b"[]", [("h", b"x" * 1_000_000)] * 15),
    ]
    expected = dict.fromkeys(INPUTS, len(small) + 1)
    expected["predictions"] += len(large) + 1
    worker.until_ready()
    _send_rows(connection, range(100))
    for topic in INPUTS:
        _send(connection, topic, small)
        _send_zipped(connection, topic, b"zip", 17_500_000)
    _send_rows(connection, range(100, 200))
    _send(connection, "predictions", large)
    _send_zipped(connection, "predictions", b"bomb", MAX_BATCH_BYTES + 1)
    _send_rows(connection, range(200, 300))

    worker.until(lambda: len(_read(connection, "outcomes")) >= 300, "does not join all rows")
    for topic, count in expected.items():
        worker.until(
            lambda topic=topic, count=count: len(_read(connection, f"{topic}.dlq")) == count,  # type: ignore[misc]
            f"has not put all poison of {topic} aside",
        )
    assert len(_read(connection, "outcomes")) == 300
    worker.until_ready()
    worker.terminate()
    assert "Traceback" not in worker.read_log()
    for topic in INPUTS:
        letters = _letters(connection, topic)
        by_key = {letter["key"]: letter for letter in letters}
        assert (by_key[b"json"]["value"], "dlq_size" in by_key[b"json"]) == (b"{", False)
        for reason, value in FOREIGN.items():
            letter = by_key[reason.encode()]
            assert letter["value"] == value
            if topic != "window-partials":  # these are no JSON
                assert letter["dlq_reason"] == reason
        if topic != "window-partials":
            assert "tombstone" in {each["dlq_reason"] for each in letters if each["key"] is None}
            assert by_key[b"empty"]["dlq_reason"] == "empty"
        _has_digest(by_key[b"zip"], bytes(17_500_000))
        if topic == "ground-truth":
            _has_digest(by_key[b"random"], random)
            assert "which takes 200000 bytes a record" in by_key[b"random"]["dlq_error"]
        else:
            assert by_key[b"random"]["value"] == random
        if topic == "predictions":
            _has_digest(by_key[b"largest"], largest)
            assert by_key[b"headers"]["value"] == b"[]"
            (long,) = (letter for letter in letters if "dlq_key_size" in letter)
            assert (long["key"], long["value"]) == (None, b"{}")
            assert long["dlq_key_sha256"] == hashlib.sha256(long_key).hexdigest()
            (bomb,) = (letter for letter in letters if "decompress" in letter["dlq_error"])
            assert (bomb["value"], bomb["dlq_reason"]) == (b"", "too_large")
            assert int(bomb["dlq_size"]) < 1_000_000

    export(connection, tmp_path / "log")
    summary = replay(tmp_path / "log", tmp_path / "out", connection.config, partitions=2)
    rejected = {topic: sum(counts.values()) for topic, counts in summary.rejected.items()}
    del expected["window-partials"]
    assert rejected == expected
    for topic in ("predictions", "ground-truth", "registry-commands", "alert-commands"):
        assert summary.rejected[topic].keys() >= {"tombstone", "empty", *FOREIGN}


def _has_digest(letter: dict[str, Any], value: bytes) -> None:
    assert letter["value"] == b""
    assert letter["dlq_size"] == str(len(value))
    assert letter["dlq_sha256"] == hashlib.sha256(value).hexdigest()
    assert "only size and SHA-256 are kept" in letter["dlq_error"]


def _send_rows(connection: Connection, numbers: range) -> None:
    producer = connection.producer()
    for number in numbers:
        key, at_ms = f"p{number}", START_MS + number * 10
        row = {
            "prediction_id": key,
            "model_name": f"m{number % 3}",
            "model_version": "1",
            "timestamp": at_ms,
            "prediction": "yes",
        }
        producer.produce(connection.name("predictions"), json.dumps(row), key)
        truth = {"prediction_id": key, "label": "yes", "timestamp": at_ms + 1_000}
        producer.produce(connection.name("ground-truth"), json.dumps(truth), key)
    assert producer.flush(30) == 0


def _send(connection: Connection, topic: str, poison: Sequence[Poison]) -> None:
    producer = connection.producer()
    for key, value, headers in poison:
        producer.produce(connection.name(topic), value, key, headers=list(headers))
    assert producer.flush(30) == 0


def _send_zipped(connection: Connection, topic: str, key: bytes, size: int) -> None:
    """Send a value that is larger than the topic takes, but travels as a few kB."""
    producer = connection.producer(
        compression_type="zstd", message_max_bytes=1_000_000_000, linger_ms=0
    )
    producer.produce(connection.name(topic), bytes(size), key)
    assert producer.flush(60) == 0


def _set_limit(connection: Connection, topic: str, limit: int) -> None:
    entry = ConfigEntry(
        "max.message.bytes", str(limit), incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(
        ResourceType.TOPIC, connection.name(topic), incremental_configs=[entry]
    )
    admin = connection.admin()  # must live until its futures are done
    for done in admin.incremental_alter_configs([resource]).values():
        done.result()


def _read(connection: Connection, topic: str) -> list[Any]:
    return [
        record
        for part in offset_ranges(connection, [topic])[topic]
        for chunk in read_records(connection, part)
        for record in chunk
    ]


def _letters(connection: Connection, topic: str) -> list[dict[str, Any]]:
    return [
        {name: value.decode() for name, value in record.headers.items()}
        | {"key": record.key, "value": record.value}
        for record in _read(connection, f"{topic}.dlq")
    ]
