"""A broker with ACLs for tests: one listener where a login needs rights, and one without."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from driftline.agents.devbroker.broker import free_port
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.worker import rights
from driftline.agents.worker.rights import GROUP, TOPIC, TRANSACTIONAL_ID, Right
from driftline.schemas.config import parse_config
from tests.kafka.brokers import BrokerProcess

PASSWORD = "open-s3same"
LOGIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule required"
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


class Guarded:
    """A broker where ann may do what she was granted, and the other listener everything."""

    def __init__(self, servers: str, guarded_servers: str) -> None:
        self.servers = servers
        self.guarded_servers = guarded_servers
        self.admin = AdminClient({"bootstrap.servers": servers})

    def toml(self, name: str, *, run: str = "", prefix: str | None = None) -> str:
        """Configuration of ann; `run` goes to the table [run]."""
        return (
            f'[run]\ntopic_prefix = "{name if prefix is None else prefix}."\noutcomes = true\n'
            f"{run or CLOCK}\n"
            f'[kafka]\nbootstrap_servers = "{self.guarded_servers}"\napp = "{name}"\n'
            "input_partitions = 2\npartitions = 1\nreplication_factor = 1\n"
            '[kafka.client]\n"security.protocol" = "SASL_PLAINTEXT"\n"sasl.mechanism" = "PLAIN"\n'
            '"sasl.username" = "ann"\n"sasl.password" = { env = "TEST_PASSWORD" }\n'
        )

    def free_toml(self, name: str, *, run: str = "", prefix: str | None = None) -> str:
        """The same by the other listener."""
        text = self.toml(name, run=run, prefix=prefix).partition("[kafka.client]")[0]
        return text.replace(self.guarded_servers, self.servers)

    def free(self, name: str, *, run: str = "", prefix: str | None = None) -> Connection:
        """A connection without a login to the topics of a program, which exist."""
        connection = Connection(parse_config(self.free_toml(name, run=run, prefix=prefix)))
        topics.create(connection)
        return connection

    def ann(self, name: str, *, run: str = "", prefix: str | None = None) -> Connection:
        """The connection of ann."""
        config = parse_config(self.toml(name, run=run, prefix=prefix))
        return Connection(config, None, {"TEST_PASSWORD": PASSWORD})

    def prepared(self, name: str) -> Connection:
        """Topics and all rights of a program; returns the connection of ann."""
        self.free(name)
        ann = self.ann(name)
        self.grant(rights.needed(ann))
        wait_for_rights(ann, [])
        return ann

    def grant(self, wanted: Iterable[Right]) -> None:
        """Grant rights to ann."""
        bindings = [AclBinding(*_binding(right)) for right in wanted]
        for answer in self.admin.create_acls(bindings).values():
            answer.result()

    def revoke(self, right: Right) -> None:
        """Take a right from ann."""
        (answer,) = self.admin.delete_acls([AclBindingFilter(*_binding(right))]).values()
        assert len(answer.result()) == 1


def _binding(right: Right) -> tuple[Any, ...]:
    return (
        RESOURCES[right.resource],
        right.name,
        ResourcePatternType.LITERAL,
        "User:ann",
        "*",
        OPERATIONS[right.operation],
        AclPermissionType.ALLOW,
    )


CLOCK = 'clock = "data"'


def login_listener(port: int, guarded_port: int) -> dict[str, str]:
    """Settings of a broker with a listener without a login, and one that wants ann's password."""
    return {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{guarded_port},"
        "CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},"
        f"SASL_PLAINTEXT://127.0.0.1:{guarded_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,"
        "SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{LOGIN_MODULE} "
        f'user_ann="{PASSWORD}";',
    }


@contextmanager
def guarded_broker(folder: Path) -> Iterator[Guarded]:
    """A running broker with ACLs; it needs Java."""
    port, guarded_port = free_port(), free_port()
    settings = {
        **login_listener(port, guarded_port),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    broker = BrokerProcess(folder, settings, port=port)
    broker.start()
    try:
        yield Guarded(broker.servers, f"127.0.0.1:{guarded_port}")
    finally:
        broker.stop()


def wait_for_rights(ann: Connection, expected: Sequence[Right]) -> None:
    """Wait until the broker applies a change of its ACLs: these rights of a worker are missing."""
    ends = time.monotonic() + 10
    while (found := rights.missing(ann)) != list(expected):
        assert time.monotonic() < ends, found
        time.sleep(0.05)
