"""`driftline check --broker`: the newest records of the topics, without a group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker.topics import create
from tests.kafka.brokers import Names
from tests.kafka.pairs import prediction, send_pairs, truth

pytestmark = pytest.mark.kafka

KAFKA = "input_partitions = 2\npartitions = 1"


def checked(names: Names, folder: Path, *words: str) -> dict[str, Any]:
    config = folder / "driftline.toml"
    config.write_text(names.toml(kafka=KAFKA))
    command = ["check", "--broker", names.servers, "--config", str(config), "--json", *words]
    done = CliRunner().invoke(driftline, command)
    assert done.exit_code in (0, 1), done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_pairs_of_a_broker_meet_and_no_group_is_joined(names: Names, tmp_path: Path) -> None:
    connection = names.connection(kafka=KAFKA)
    create(connection)
    send_pairs(connection, range(40))
    found = checked(names, tmp_path)
    assert [(topic["topic"], topic["lines"]) for topic in found["topics"]] == [
        ("predictions", 40),
        ("ground-truth", 40),
    ]
    assert found["versions"][0]["labelled"] == 40
    assert not [each for each in found["findings"] if each["check"] == "keys"]
    groups = AdminClient({"bootstrap.servers": names.servers}).list_consumer_groups().result()
    assert not [group for group in groups.valid if names.app in group.group_id]


def test_the_newest_records_of_each_partition(names: Names, tmp_path: Path) -> None:
    connection = names.connection(kafka=KAFKA)
    create(connection)
    producer = connection.producer()
    for number in range(30):
        for topic, row in (("predictions", prediction(number)), ("ground-truth", truth(number))):
            value = json.dumps(row).encode()
            producer.produce(names.prefix + topic, value, row["prediction_id"], number % 2)
    producer.flush()
    found = checked(names, tmp_path, "--rows", "10")
    # Five of each partition: numbers 20 to 29.
    assert [topic["lines"] for topic in found["topics"]] == [10, 10]
    assert found["versions"][0]["labelled"] == 10
    assert [each["level"] for each in found["findings"] if each["check"] == "input"] == ["note"]


def test_records_without_key_and_with_another_key_are_told(names: Names, tmp_path: Path) -> None:
    connection = names.connection(kafka=KAFKA)
    create(connection)
    producer = connection.producer()
    for number in range(12):
        value = json.dumps(prediction(number)).encode()
        producer.produce(names.prefix + "predictions", value, None, 0)
        value = json.dumps(truth(number)).encode()
        producer.produce(names.prefix + "ground-truth", value, f"customer-{number % 3}", 1)
    producer.flush()
    found = checked(names, tmp_path)
    keys = [each["message"] for each in found["findings"] if each["check"] == "keys"]
    assert len(keys) == 3
    assert keys[0].startswith("of the newest 12 records of predictions, 12 (100.0%) have no key")
    assert keys[1].startswith(
        "of the newest 12 records of ground-truth, 12 (100.0%) have a key that"
    )
    assert keys[2].startswith("of 12 pairs among them, 0 (0.0%) can be joined")
    assert found["versions"][0]["labelled"] == 0, "they lie on different partitions"
