"""A log exported from a real broker replays like the files from which it was produced."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from confluent_kafka import IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

import driftline
from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker.moving_partitions import patiently
from driftline.agents.kafka.broker.topics import create
from driftline.agents.kafka.tools.export import ExportError, export, in_order_of_effect
from driftline.agents.recorded.export_manifest import read_manifest
from driftline.agents.sample_log import write_sample
from driftline.schemas.config import load_config
from tests.kafka.brokers import Names

pytestmark = pytest.mark.kafka


@pytest.fixture
def connection(names: Names):
    connection = names.connection(kafka="input_partitions = 3\npartitions = 2")
    create(connection)
    return connection


def producer(names: Names) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": names.servers,
            "partitioner": "murmur2_random",
            "transactional.id": f"{names.app}-test",
            "linger.ms": 5,
        }
    )
    producer.init_transactions(30)
    return producer


def send(
    names: Names,
    producer: Producer,
    topic: str,
    values: list[bytes],
    *,
    aborted: bool = False,
    headers: dict[str, bytes] | None = None,
) -> None:
    """One transaction, readable on return; the key is the prediction id, if there is
    one.
    """
    producer.begin_transaction()
    for value in values:
        try:
            key = json.loads(value)["prediction_id"]
        except ValueError:
            key = "?"
        producer.produce(topic, value, key.encode(), headers=headers)
    producer.flush()  # aborting records that were never sent is an error
    if aborted:
        producer.abort_transaction()
    else:
        producer.commit_transaction()
    until_ended(names, topic)


def until_ended(names: Names, topic: str) -> None:
    """Wait until no transaction is open: the broker writes markers after it has acknowledged."""
    connection = names.connection()
    places = [
        TopicPartition(topic, partition)
        for partition in connection.reach().topics[topic].partitions
    ]

    def ends(level: IsolationLevel) -> list[int]:
        def asked(admin: AdminClient) -> list[int]:
            found = admin.list_offsets(
                dict.fromkeys(places, OffsetSpec.latest()),
                isolation_level=level,
                request_timeout=30,
            )
            return [found[place].result().offset for place in places]

        # The broker of a new topic may not be its leader yet.
        return patiently(connection, asked)

    deadline = time.monotonic() + 60
    while ends(IsolationLevel.READ_COMMITTED) != ends(IsolationLevel.READ_UNCOMMITTED):
        assert time.monotonic() < deadline, f"a transaction on {topic} is still open"
        time.sleep(0.01)


def prediction(name: str, at: str) -> bytes:
    return json.dumps(
        {
            "prediction_id": name,
            "model_name": "m",
            "model_version": "1",
            "timestamp": at,
            "score": 0.5,
        }
    ).encode()


def truth(name: str, at: str) -> bytes:
    return json.dumps({"prediction_id": name, "label": "yes", "timestamp": at}).encode()


def lines(folder: Path, topic: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{topic}.jsonl").read_text().splitlines()]


def test_replay_of_an_export_equals_replay_of_the_files_without_aborted_records(
    names, connection, tmp_path
):
    write_sample(tmp_path)
    sender = producer(names)
    for topic in ("predictions", "ground-truth"):
        values = (tmp_path / "sample-log" / f"{topic}.jsonl").read_bytes().splitlines()
        for begin in range(0, len(values), 700):
            send(
                names,
                sender,
                connection.name(topic),
                values[begin : begin + 700][::-1],
                aborted=True,
            )
            send(names, sender, connection.name(topic), values[begin : begin + 700])

    log = export(connection, tmp_path / "log")

    assert log == read_manifest(tmp_path / "log")
    assert (log.partitions, log.records["predictions"], log.records["ground-truth"]) == (
        3,
        2002,
        1925,
    )
    config = load_config(tmp_path / "driftline.toml")
    replay(tmp_path / "log", tmp_path / "exported", config, partitions=3)
    replay(tmp_path / "sample-log", tmp_path / "plain", config, partitions=3)
    for path in sorted((tmp_path / "plain").glob("*.jsonl")):
        if not path.name.endswith(
            ".dlq.jsonl"
        ):  # these contain partition and offset, which a plain file lacks
            assert path.read_bytes() == (tmp_path / "exported" / path.name).read_bytes(), path.name


def test_a_replay_rejects_what_the_live_run_rejected_for_the_same_reason(
    names, connection, tmp_path
):
    sender = producer(names)
    good, early = prediction("a", "2026-01-05T09:00:00Z"), prediction("b", "2026-01-05T09:10:00Z")
    send(names, sender, connection.name("predictions"), [good, early, b"\xff{"])
    export(connection, tmp_path / "before")
    place = next(
        line
        for line in lines(tmp_path / "before", "predictions")
        if line.get("value", {}).get("prediction_id") == "b"
    )
    reason = {
        "dlq_topic": b"predictions",
        "dlq_partition": str(place["partition"]).encode(),
        "dlq_offset": str(place["offset"]).encode(),
        "dlq_reason": b"too_far_ahead",
        "dlq_error": b"as the live run's clock saw it",
    }
    send(names, sender, connection.name("predictions.dlq"), [early], headers=reason)

    export(connection, tmp_path / "log")
    summary = replay(tmp_path / "log", tmp_path / "out", names.config(), partitions=3)

    assert summary.rejected["predictions"] == {"too_far_ahead": 1, "encoding": 1}
    kept = lines(tmp_path / "out", "predictions.dlq")
    assert {line["dlq_error"] for line in kept} >= {"as the live run's clock saw it"}
    assert [line["value_base64"] for line in kept if "value_base64" in line] == ["/3s="]
    assert lines(tmp_path / "log", "predictions.dlq")[0]["value"] == early.decode()


def test_a_range_is_bounded_by_broker_timestamps(names, connection, tmp_path):
    sender = producer(names)
    for name in ("a", "b", "c"):
        send(
            names,
            sender,
            connection.name("predictions"),
            [prediction(name, "2026-01-05T09:00:00Z")],
        )
        send(names, sender, connection.name("ground-truth"), [truth(name, "2026-01-05T09:30:00Z")])
        if name == "a":
            time.sleep(0.05)
            since_ms = time.time_ns() // 1_000_000
        if name == "b":
            until_ms = time.time_ns() // 1_000_000 + 1
            time.sleep(0.05)
    export(connection, tmp_path / "log", since_ms=since_ms, until_ms=until_ms, outputs=False)
    assert [line["value"]["prediction_id"] for line in lines(tmp_path / "log", "predictions")] == [
        "b"
    ]
    assert [line["value"]["prediction_id"] for line in lines(tmp_path / "log", "ground-truth")] == [
        "b"
    ]
    assert not (tmp_path / "log" / "metrics.jsonl").exists()


def test_outputs_are_exported_without_provisional_figures(names, connection, tmp_path):
    write_sample(tmp_path)
    replay(tmp_path / "sample-log", tmp_path / "out", load_config(tmp_path / "driftline.toml"))
    metrics = (tmp_path / "out" / "metrics.jsonl").read_bytes().splitlines()
    sender = producer(names)
    sender.begin_transaction()
    for value in metrics[:50]:
        sender.produce(connection.name("metrics"), value, b"churn", partition=1)
        sender.produce(
            connection.name("metrics"),
            value.replace(b'"provisional":false', b'"provisional":true'),
            b"churn",
            partition=1,
        )
    sender.commit_transaction()
    until_ended(names, connection.name("metrics"))
    export(connection, tmp_path / "log")
    assert (tmp_path / "log" / "metrics.jsonl").read_bytes().splitlines() == metrics[:50]
    assert len(driftline.open(tmp_path / "log").metrics) == 50


def test_a_folder_that_is_in_use_is_refused(connection, tmp_path):
    (tmp_path / "something").touch()
    with pytest.raises(ExportError, match="is not empty; name a new folder with --out"):
        export(connection, tmp_path)


def test_registry_records_are_exported_in_the_order_in_which_they_took_effect():
    def event(model: str, revision: int) -> bytes:
        return json.dumps({"model_name": model, "revision": revision}).encode()

    def effect(model: str, revision: int, hour: int) -> bytes:
        return json.dumps(
            {"model_name": model, "revision": revision, "frontier": f"2026-01-05T{hour:02d}:00:00Z"}
        ).encode()

    events = [event("a", 1), event("a", 2), event("a", 3), event("b", 1), event("b", 2)]
    effects = [effect("a", 1, 1), effect("a", 2, 5), effect("b", 1, 2)]
    ordered = in_order_of_effect(events, effects)
    assert ordered == (
        [event("a", 1), event("b", 1), event("a", 2), event("a", 3), event("b", 2)],
        [effects[0], effects[2], effects[1]],
    )
