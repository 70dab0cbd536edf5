"""`kafka.rekey`: records with null or foreign keys are joined all the same, each exactly once,
through kills of the workers, on a real broker.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner
from confluent_kafka import TopicPartition

from driftline.agents.cli.program import driftline
from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import MAX_BATCH_BYTES, offset_ranges, read_records
from driftline.agents.kafka.tools.dead_letters import Selection, letters
from driftline.agents.kafka.tools.export import export
from driftline.agents.kafka.tools.journal_positions import unread_sources
from driftline.agents.sample_log import write_sample
from driftline.agents.worker import rights
from driftline.agents.worker.rights import TOPIC, Right
from driftline.schemas.config import parse_config
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.hashing import partitions_of
from tests.kafka.brokers import BrokerProcess, Names
from tests.kafka.guarded import PASSWORD, Guarded, wait_for_rights
from tests.kafka.live_run import finish, result_differences
from tests.kafka.pairs import prediction
from tests.kafka.test_record_keys import CASES, PAIRS, SETTINGS, doctor, send
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka

PLAIN = "input_partitions = 4\npartitions = 2"
REKEYED = f"{PLAIN}\nrekey = true"
ROWS = (PREDICTIONS, GROUND_TRUTH)
OUTCOMES = f"{SETTINGS}\nrun.outcomes = true"


def values(connection: Connection, topic: str) -> Iterator[tuple[int, bytes | None, bytes]]:
    """Partition, key and value of each committed record."""
    for part in offset_ranges(connection, [topic])[topic]:
        for records in read_records(connection, part):
            for record in records:
                yield record.partition, record.key, record.value


def assert_joined_once(connection: Connection) -> None:
    """Each of the pairs has one outcome."""
    outcomes = values(connection, "outcomes")
    joined = Counter(json.loads(value)["prediction_id"] for *_, value in outcomes)
    assert joined == Counter(f"p{number}" for number in range(PAIRS))


@pytest.mark.parametrize(
    ("case", "is_running"), [("predictions keyed by customer", True), ("no keys", False)]
)
def test_all_pairs_of_the_case_are_joined(
    names: Names, tmp_path: Path, case: str, is_running: bool
) -> None:
    connection = names.connection(OUTCOMES, kafka=REKEYED)
    topics.create(connection)
    toml = names.toml(OUTCOMES, kafka=REKEYED)
    worker = WorkerProcess(tmp_path, toml)
    config = tmp_path / "driftline.toml"
    config.write_text(toml)
    if is_running:
        worker.start().until_ready()
    prediction_key, truth_key, _ = CASES[case]
    meeting = send(connection, prediction_key, truth_key)
    assert meeting < PAIRS, "the sources alone do not meet"
    if not is_running:
        worker.start().until_ready()
    try:
        finish(config, [worker])
        assert worker.readiness()["not_counted"] == []
        worker.terminate()
    finally:
        worker.kill()
    assert_joined_once(connection)
    for topic in ROWS:
        for partition, key, value in values(connection, topic):
            id_ = json.loads(value)["prediction_id"].encode()
            assert (key, partition) == (id_, int(partitions_of([id_], 4)[0]))
    code, keys = doctor(config, tmp_path)
    assert [(finding["level"], "joined" in finding["message"]) for finding in keys] == [
        ("ok", False)
    ]
    assert code == 0

    export(connection, tmp_path / "export")
    replay(tmp_path / "export", tmp_path / "replayed", connection.config, partitions=4)
    assert result_differences(tmp_path) == {}


def test_no_record_is_lost_or_passed_on_twice_through_kills_of_two_workers(
    names: Names, tmp_path: Path
) -> None:
    write_sample(tmp_path)
    text = 'run.clock = "data"\n' + (tmp_path / "driftline.toml").read_text()
    connection = names.connection(text, kafka=REKEYED)
    topics.create(connection)
    toml = names.toml(text, kafka=REKEYED)
    (tmp_path / "rekeyed.toml").write_text(toml)
    sent = {
        topic: (tmp_path / "sample-log" / f"{topic}.jsonl").read_bytes().splitlines()
        for topic in ROWS
    }
    random = Random(5)
    workers = [WorkerProcess(tmp_path, toml, name=f"w{number}").start() for number in range(2)]
    try:
        workers[0].until_ready()
        for part in range(4):
            _send_without_keys(connection, sent, part)
            time.sleep(random.uniform(0.2, 1.5))
            victim = random.choice(workers) if part else _owner(workers)
            victim.kill()
            victim.start()
        finish(tmp_path / "rekeyed.toml", workers)
        for worker in workers:
            worker.terminate()
    finally:
        for worker in workers:
            worker.kill()
    letters_ = list(letters(connection, Selection(topics=ROWS)))
    rejected = [letter for letter in letters_ if letter.log is None]
    for topic in ROWS:
        passed = Counter(value for *_, value in values(connection, topic))
        put_aside = Counter(letter.reject.raw for letter in rejected if letter.topic == topic)
        assert passed + put_aside == Counter(sent[topic])
        source = connection.source(topic)
        assert Counter(value for *_, value in values(connection, source)) == Counter(sent[topic])
    assert not sum(unread_sources(connection).values())

    export(connection, tmp_path / "export")
    replay(tmp_path / "export", tmp_path / "replayed", connection.config, partitions=4)
    assert result_differences(tmp_path) == {}


def _owner(workers: list[WorkerProcess]) -> WorkerProcess:
    """The worker that re-keys: the one with the first partition of stage 1."""
    for worker in workers:
        if 0 in worker.tasks("join"):
            return worker
    return workers[0]


def _send_without_keys(connection: Connection, sent: dict[str, list[bytes]], part: int) -> None:
    """Send a quarter of the lines."""
    producer = connection.producer()
    for topic, lines in sent.items():
        for line in lines[part * len(lines) // 4 : (part + 1) * len(lines) // 4]:
            producer.produce(connection.name(connection.source(topic)), line)
            producer.poll(0)
    assert producer.flush(60) == 0


def test_what_cannot_be_decoded_is_put_aside_once_with_its_place_in_the_source(
    names: Names, tmp_path: Path
) -> None:
    connection = names.connection(OUTCOMES, kafka=REKEYED)
    topics.create(connection)
    toml = names.toml(OUTCOMES, kafka=REKEYED)
    config = tmp_path / "driftline.toml"
    config.write_text(toml)
    row = {
        "prediction_id": "a",
        "model_name": "m",
        "model_version": "1",
        "timestamp": "2026-01-05T00:00:00Z",
        "prediction": "yes",
    }
    producer = connection.producer()
    for key, value in (
        (b"k", json.dumps(row)),
        (None, b"{"),
        (b"tomb", None),
        (b"avro", b"Obj\x01\x04\xff"),
        (b"k", json.dumps(row | {"prediction": "no"})),  # conflict
    ):
        producer.produce(names.prefix + PREDICTIONS, value, key, 3)
    assert producer.flush(30) == 0
    worker = WorkerProcess(tmp_path, toml).start()
    try:
        worker.until_ready()
        finish(config, [worker])
        ready = worker.readiness()
        worker.terminate()
    finally:
        worker.kill()
    found = list(letters(connection, Selection(topics=ROWS)))
    of_source = {letter.reject.reason: letter for letter in found if letter.log is None}
    assert {
        reason: (letter.partition, letter.reject.offset, letter.key, letter.reject.raw)
        for reason, letter in of_source.items()
    } == {
        "not_json": (3, 1, None, b"{"),
        "tombstone": (3, 2, b"tomb", b""),
        "avro": (3, 3, b"avro", b"Obj\x01\x04\xff"),
    }
    (conflict,) = (letter for letter in found if letter.log is not None)
    target = int(partitions_of([b"a"], 4)[0])
    assert (conflict.log, conflict.topic, conflict.partition, conflict.reject.reason) == (
        "predictions-rekeyed",
        PREDICTIONS,
        target,
        "conflict",
    )
    listed = {row["reason"]: row for row in ready["not_counted"]}
    assert listed.keys() >= {"not_json", "tombstone", "avro", "conflict"}
    assert listed["avro"]["example"].startswith("predictions[3]@3: ")
    assert listed["conflict"]["example"].startswith(f"predictions-rekeyed[{target}]@")

    sent = CliRunner().invoke(
        driftline, ["dlq", "retry", "predictions", "--reason", "avro", "--config", str(config)]
    )
    assert sent.exit_code == 0, sent.output
    (again,) = (part for part in _parts(connection, "predictions-source") if part[0] == 3)
    assert again == (3, 6), "sent to the topic of the producers"


def _parts(connection: Connection, topic: str) -> list[tuple[int, int]]:
    """Partition and number of records of each partition of a topic."""
    counts = Counter(partition for partition, *_ in values(connection, topic))
    return sorted(counts.items())


@pytest.mark.parametrize("first", [PLAIN, REKEYED], ids=["switched on", "switched off"])
def test_the_setting_cannot_be_changed_while_there_is_state(
    names: Names, tmp_path: Path, first: str
) -> None:
    second = PLAIN if first == REKEYED else REKEYED
    for kafka in (first, second):
        topics.create(names.connection(OUTCOMES, kafka=kafka))
    connection = names.connection(OUTCOMES, kafka=first)
    send(connection, *CASES["ids on both sides"][:2])
    toml = names.toml(OUTCOMES, kafka=first)
    (tmp_path / "driftline.toml").write_text(toml)
    worker = WorkerProcess(tmp_path, toml).start()
    try:
        worker.until_ready()
        finish(tmp_path / "driftline.toml", [worker])
        worker.terminate()
    finally:
        worker.kill()
    other = WorkerProcess(tmp_path, names.toml(OUTCOMES, kafka=second), name="other").start()
    try:
        assert other.exit_code() == 78
    finally:
        other.kill()
    was, now = ("true", "not set") if first == REKEYED else ("not set", "true")
    assert f"kafka.rekey was {was}, is now {now}" in other.read_log()


def test_a_broker_that_is_killed_and_restarted_costs_no_record(
    own_broker: BrokerProcess, tmp_path: Path
) -> None:
    names = Names(own_broker.servers, "again")
    connection = names.connection(OUTCOMES, kafka=REKEYED)
    topics.create(connection)
    toml = names.toml(OUTCOMES, kafka=REKEYED)
    (tmp_path / "driftline.toml").write_text(toml)
    worker = WorkerProcess(tmp_path, toml).start()
    try:
        worker.until_ready()
        send(connection, *CASES["no keys"][:2])
        own_broker.kill()
        own_broker.start()
        finish(tmp_path / "driftline.toml", [worker])
        worker.terminate()
    finally:
        worker.kill()
    assert_joined_once(connection)


def test_records_that_were_deleted_before_they_were_read_end_the_worker_unless_it_may_go_on(
    names: Names, tmp_path: Path
) -> None:
    connection = names.connection(OUTCOMES, kafka=REKEYED)
    topics.create(connection)
    toml = names.toml(OUTCOMES, kafka=REKEYED)
    (tmp_path / "driftline.toml").write_text(toml)
    worker = WorkerProcess(tmp_path, toml)
    try:
        worker.start().until_ready()
        send(connection, *CASES["ids on both sides"][:2])
        finish(tmp_path / "driftline.toml", [worker])
        worker.terminate()
        producer = connection.producer()
        producer.produce(names.prefix + PREDICTIONS, b"{}", None, 2)
        assert producer.flush(30) == 0
        (log,) = (
            part
            for part in offset_ranges(connection, ["predictions-source"])["predictions-source"]
            if part.partition == 2
        )
        admin = connection.admin()  # must live until the answer is there
        place = TopicPartition(names.prefix + PREDICTIONS, 2, log.end)
        admin.delete_records([place])[place].result()
        worker.start()
        assert worker.exit_code() == 78
        named = f"{names.prefix}predictions[2]: records {log.end - 1} to {log.end - 1} were deleted"
        assert named in worker.read_log()
        again = WorkerProcess(tmp_path, toml, "--resume", "earliest", name="again").start()
        try:
            again.until_ready()
            again.until(
                lambda: 'reason="lost",topic="predictions"} 1.0' in again.get("/metrics")[1],
                "does not report the loss",
            )
            again.terminate()
        finally:
            again.kill()
    finally:
        worker.kill()
    (letter,) = letters(connection, Selection(topics=ROWS))
    assert (letter.topic, letter.partition, letter.reject.offset, letter.reject.reason) == (
        PREDICTIONS,
        2,
        log.end - 1,
        "lost",
    )


def test_a_batch_that_nobody_can_read_is_put_aside_and_the_partition_goes_on(
    names: Names, tmp_path: Path
) -> None:
    connection = names.connection(OUTCOMES, kafka=REKEYED)
    topics.create(connection)
    toml = names.toml(OUTCOMES, kafka=REKEYED)
    (tmp_path / "driftline.toml").write_text(toml)
    bomb = connection.producer(
        compression_type="zstd", message_max_bytes=1_000_000_000, linger_ms=0
    )
    bomb.produce(names.prefix + PREDICTIONS, bytes(MAX_BATCH_BYTES + 1), b"bomb", 1)
    assert bomb.flush(60) == 0
    send(connection, *CASES["no keys"][:2])
    worker = WorkerProcess(tmp_path, toml).start()
    try:
        worker.until_ready()
        finish(tmp_path / "driftline.toml", [worker])
        worker.terminate()
    finally:
        worker.kill()
    assert_joined_once(connection)
    (letter,) = letters(connection, Selection(topics=ROWS))
    assert (letter.topic, letter.partition, letter.reject.offset) == (PREDICTIONS, 1, 0)
    assert not letter.is_complete


def test_the_listed_rights_are_enough_and_one_taken_away_ends_the_worker_by_name(
    guarded: Guarded, tmp_path: Path
) -> None:
    def with_rekey(toml: str) -> str:
        return toml.replace("partitions = 1\n", "partitions = 1\nrekey = true\n")

    free = Connection(parse_config(with_rekey(guarded.free_toml("rekeyed"))))
    topics.create(free)
    toml = with_rekey(guarded.toml("rekeyed"))
    ann = Connection(parse_config(toml), None, {"TEST_PASSWORD": PASSWORD})
    guarded.grant(rights.needed(ann))
    wait_for_rights(ann, [])
    worker = WorkerProcess(tmp_path, toml).start()
    try:
        worker.until_ready()
        producer = free.producer()
        producer.produce("rekeyed.predictions", json.dumps(prediction(0)))
        producer.produce("rekeyed.predictions", b"{")
        assert producer.flush(30) == 0
        worker.until(lambda: not sum(unread_sources(free).values()), "does not re-key")
        assert worker.get("/health/ready")[0] == 200
        lost = Right(TOPIC, "rekeyed.rekeyed-predictions-rekeyed", "Write")
        guarded.revoke(lost)
        producer.produce("rekeyed.predictions", json.dumps(prediction(1)))
        assert producer.flush(30) == 0
        assert worker.exit_code() == 78
        assert f"lacks rights: {lost}. Grant" in worker.read_log()
    finally:
        worker.kill()
