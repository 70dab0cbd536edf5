"""Rights of the login on a broker with ACLs: a worker names those that it lacks, at its start and
later.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from driftline.agents.cli.program import driftline
from driftline.agents.devbroker.broker import free_port
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.tools.uncounted import UnreadableTopics, uncounted_on_topics
from driftline.agents.worker import rights
from driftline.agents.worker.rights import GROUP, TOPIC, TRANSACTIONAL_ID, Right
from driftline.schemas.config import parse_config
from tests.kafka.brokers import BrokerProcess, need_java
from tests.kafka.test_login import LOGIN_MODULE, PASSWORD
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka

RESOURCES = {
    TOPIC: ResourceType.TOPIC,
    GROUP: ResourceType.GROUP,
    TRANSACTIONAL_ID: ResourceType.TRANSACTIONAL_ID,
}
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Delete": AclOperation.DELETE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
START_MS = 1_700_000_000_000


class Guarded:
    """A broker where ann may do what she was granted, and the other listener everything."""

    def __init__(self, servers: str, guarded_servers: str) -> None:
        self.servers = servers
        self.guarded_servers = guarded_servers
        self.admin = AdminClient({"bootstrap.servers": servers})

    def toml(self, name: str) -> str:
        return (
            f'[run]\ntopic_prefix = "{name}."\nclock = "data"\noutcomes = true\n'
            f'[kafka]\nbootstrap_servers = "{self.guarded_servers}"\napp = "{name}"\n'
            "input_partitions = 2\npartitions = 1\nreplication_factor = 1\n"
            '[kafka.client]\n"security.protocol" = "SASL_PLAINTEXT"\n"sasl.mechanism" = "PLAIN"\n'
            '"sasl.username" = "ann"\n"sasl.password" = { env = "TEST_PASSWORD" }\n'
        )

    def prepared(self, name: str) -> Connection:
        """Topics and all rights of a program; returns the connection of ann."""
        admin = Connection(
            parse_config(self.toml(name).partition("[kafka.client]")[0]), self.servers, {}
        )
        topics.create(admin)
        ann = Connection(parse_config(self.toml(name)), None, {"TEST_PASSWORD": PASSWORD})
        self.grant(rights.needed(ann))
        _wait_for(ann, [])
        return ann

    def grant(self, wanted: Iterable[Right]) -> None:
        bindings = [
            AclBinding(
                RESOURCES[right.resource],
                right.name,
                ResourcePatternType.LITERAL,
                "User:ann",
                "*",
                OPERATIONS[right.operation],
                AclPermissionType.ALLOW,
            )
            for right in wanted
        ]
        for answer in self.admin.create_acls(bindings).values():
            answer.result()

    def revoke(self, right: Right) -> None:
        matching = AclBindingFilter(
            RESOURCES[right.resource],
            right.name,
            ResourcePatternType.LITERAL,
            "User:ann",
            "*",
            OPERATIONS[right.operation],
            AclPermissionType.ALLOW,
        )
        (answer,) = self.admin.delete_acls([matching]).values()
        assert len(answer.result()) == 1


class Sender:
    """Sends pairs and invalid predictions by the listener without a login."""

    def __init__(self, servers: str, prefix: str) -> None:
        self._producer = Connection(parse_config(""), servers, {}).producer()
        self._prefix = prefix

    def pair(self, number: int) -> None:
        key, at_ms = f"p{number}", START_MS + number * 10
        prediction = {
            "prediction_id": key,
            "model_name": "m",
            "model_version": "1",
            "timestamp": at_ms,
            "prediction": "yes",
        }
        truth = {"prediction_id": key, "label": "yes", "timestamp": at_ms + 1_000}
        self._producer.produce(f"{self._prefix}predictions", json.dumps(prediction), key)
        self._producer.produce(f"{self._prefix}ground-truth", json.dumps(truth), key)

    def invalid(self) -> None:
        self._producer.produce(f"{self._prefix}predictions", b"{", "bad")

    def flush(self) -> None:
        assert self._producer.flush(30) == 0


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    need_java()
    port, guarded_port = free_port(), free_port()
    settings = {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{guarded_port},CONTROLLER://127.0.0.1:{{controller_port}}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},"
        f"SASL_PLAINTEXT://127.0.0.1:{guarded_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,"
        "SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{LOGIN_MODULE} "
        f'user_ann="{PASSWORD}";',
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    broker = BrokerProcess(tmp_path_factory.mktemp("acl"), settings, port=port)
    broker.start()
    yield Guarded(broker.servers, f"127.0.0.1:{guarded_port}")
    broker.stop()


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)


def _wait_for(ann: Connection, expected: list[Right]) -> None:
    """Wait until the broker applies a change of its ACLs."""
    ends = time.monotonic() + 10
    while (found := rights.missing(ann)) != expected:
        assert time.monotonic() < ends, found
        time.sleep(0.05)


def test_each_missing_right_is_found_and_nothing_else(guarded: Guarded) -> None:
    ann = guarded.prepared("each")
    for right in rights.needed(ann):
        guarded.revoke(right)
        _wait_for(ann, [right])
        guarded.grant([right])
        _wait_for(ann, [])


def test_the_listed_rights_are_enough_and_one_taken_away_ends_the_worker_by_name(
    guarded: Guarded, tmp_path: Path
) -> None:
    guarded.prepared("enough")
    worker = WorkerProcess(tmp_path, guarded.toml("enough")).start()
    try:
        worker.until_ready()
        sender = Sender(guarded.servers, "enough.")
        for number in range(200):
            sender.pair(number)
        sender.invalid()
        sender.flush()
        worker.until(lambda: 'topic="window-partials"} 0.0' in worker.get("/metrics")[1], "lags")
        assert worker.get("/health/ready")[0] == 200
        lost = Right(TOPIC, "enough.ground-truth", "Read")
        guarded.revoke(lost)
        assert worker.exit_code() == 78
        assert f"lacks rights: {lost}. Grant" in worker.read_log()
        guarded.grant([lost])
        worker.start().until_ready()
        lost = Right(TOPIC, "enough.predictions.dlq", "Write")
        guarded.revoke(lost)
        sender.invalid()
        sender.flush()
        assert worker.exit_code() == 78
        assert f"lacks rights: {lost}. Grant" in worker.read_log()
        assert "Traceback" not in worker.read_log()
    finally:
        worker.kill()


def test_the_start_and_doctor_name_all_missing_rights(guarded: Guarded, tmp_path: Path) -> None:
    ann = guarded.prepared("start")
    group = ann.group("join")
    lost = [
        Right(TOPIC, "start.predictions", "Read"),
        Right(GROUP, group, "Read"),
        Right(TRANSACTIONAL_ID, f"{group}-0", "Write"),
        Right(TRANSACTIONAL_ID, f"{group}-1", "Write"),
        Right(TOPIC, "start.alerts", "Write"),
    ]
    for right in lost:
        guarded.revoke(right)
    _wait_for(ann, lost)
    worker = WorkerProcess(tmp_path, guarded.toml("start")).start()
    assert worker.exit_code() == 2
    log = worker.read_log()
    assert "Traceback" not in log
    assert f"{lost[0]}; {lost[1]}; Write on 2 transactional ids {group}-0 to {group}-1" in log
    assert f"; {lost[4]}. Grant them" in log
    config = tmp_path / "w.toml"
    result = CliRunner().invoke(
        driftline, ["doctor", "--json", "--config", str(config), "--out", str(tmp_path / "none")]
    )
    found = [row for row in json.loads(result.stdout) if row["check"] == "rights"]
    assert sorted(row["message"] for row in found) == sorted(
        f"the login ann lacks {right}" for right in lost
    )
    assert all("kafka-acls" in row["remedy"] for row in found)
    assert result.exit_code == 1


def test_a_login_that_may_not_read_dead_letters_is_told_so_by_doctor(
    guarded: Guarded, tmp_path: Path
) -> None:
    ann = guarded.prepared("unread")
    producer = Producer({"bootstrap.servers": guarded.servers})
    producer.produce("unread.predictions.dlq", b"{", headers={"dlq_reason": b"not_json"})
    assert producer.flush(30.0) == 0
    with pytest.raises(UnreadableTopics, match=r"needs Describe and Read on unread\.predictions"):
        uncounted_on_topics(ann)
    config = tmp_path / "driftline.toml"
    config.write_text(guarded.toml("unread"))
    words = ["doctor", "--json", "--config", str(config), "--out", str(tmp_path / "none")]
    findings = json.loads(CliRunner().invoke(driftline, words).stdout)
    (finding,) = [finding for finding in findings if finding["check"] == "input"]
    assert finding["level"] == "note"
    assert finding["message"].startswith("what was not counted is not known")
