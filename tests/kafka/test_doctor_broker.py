"""The checks of `driftline doctor` on a broker: topics, partitioners, lag."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import TopicPartition, murmur2

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker import topics
from tests.kafka.brokers import Names

pytestmark = pytest.mark.kafka


def examined(
    names: Names, folder: Path, broker: str | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Findings by check."""
    config = folder / "driftline.toml"
    config.write_text(names.toml(kafka="input_partitions = 4\npartitions = 1"))
    words = [
        "doctor",
        "--json",
        "--config",
        str(config),
        "--out",
        str(folder / "none"),
        "--broker",
        broker or names.servers,
    ]
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(CliRunner().invoke(driftline, words).stdout):
        found.setdefault(finding["check"], []).append(finding)
    return found


def send(names: Names, topic: str, partition_of: Callable[[bytes], int]) -> None:
    producer = names.connection().producer()
    for number in range(60):
        key = f"id-{number}".encode()
        producer.produce(names.prefix + topic, b"{}", key=key, partition=partition_of(key))
    assert producer.flush(30.0) == 0


def test_without_topics_the_remedy_is_to_create_them(names: Names, tmp_path: Path) -> None:
    found = examined(names, tmp_path)
    assert found["broker"][0]["level"] == "ok"
    assert f"Kafka answers at {names.servers}" in found["broker"][0]["message"]
    assert {finding["level"] for finding in found["topics"]} == {"problem"}
    assert found["topics"][0]["remedy"] == "create it: driftline topics create"


def test_different_partitioners_are_a_problem_and_lag_is_reported(
    names: Names, tmp_path: Path
) -> None:
    connection = names.connection(kafka="input_partitions = 4\npartitions = 1")
    topics.create(connection)
    send(names, "predictions", lambda key: murmur2(key, 4))
    send(names, "ground-truth", lambda key: murmur2(key, 4))
    found = examined(names, tmp_path)
    assert [finding["level"] for finding in found["partitioners"]] == ["ok", "ok"]
    assert {finding["message"] for finding in found["workers"]} == {
        f"group {names.prefix}{names.app}-{kind} has read nothing yet"
        for kind in ("join", "downstream")
    }

    send(names, "ground-truth", lambda key: zlib.crc32(key) % 4)
    send(names, "ground-truth", lambda key: zlib.crc32(key) % 4)
    consumer = connection.consumer(group_id=connection.group("join"))
    consumer.commit(
        offsets=[TopicPartition(names.prefix + "predictions", 0, 1)], asynchronous=False
    )
    consumer.close()
    found = examined(names, tmp_path)
    (problem,) = found["partitioners"]
    assert problem["level"] == "problem"
    assert "murmur2_random" in problem["remedy"]
    assert f"group {names.prefix}{names.app}-join is 239 records behind" in {
        finding["message"] for finding in found["workers"]
    }  # 60 + 180 - 1


def test_a_broker_that_is_away_is_a_problem_with_a_remedy(names: Names, tmp_path: Path) -> None:
    (found,) = examined(names, tmp_path, "127.0.0.1:1")["broker"]
    assert found["level"] == "problem"
    assert found["remedy"].startswith("start it, or name another with --broker")
