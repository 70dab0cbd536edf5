"""Brokers for tests: one that the test run shares, and private ones that a test may kill.

Tried in this order: the broker of DRIFTLINE_BROKER, Docker if an engine answers, Java with Maven.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from driftline.agents.devbroker import DevBroker, DevBrokerError, Running, process
from driftline.agents.devbroker.broker import free_port
from driftline.agents.devbroker.java import jars, java
from driftline.agents.kafka.broker.connection import BROKER_VARIABLE, Connection
from driftline.schemas.config import parse_config
from driftline.schemas.settings import Config

IMAGE = "apache/kafka:4.1.0"


class NoBroker(Exception):
    """No broker of this kind is available; the message says why."""


class BrokerProcess:
    """A broker that a test may kill and restart; it keeps its port and its topics.

    Parameters
    ----------
    folder
        Its data directory.
    properties
        As for `DevBroker`.
    port
        Where it listens; by default a port that is free now.
    """

    def __init__(
        self, folder: Path, properties: Mapping[str, str] | None = None, *, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.servers = f"127.0.0.1:{self.port}"
        self._broker = DevBroker(folder, properties, quick=True)
        self._running: Running | None = None

    def start(self) -> None:
        """Start the broker and wait until it answers."""
        self._running = self._broker.up(self.port)

    def kill(self) -> None:
        """Kill the broker, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Shut the broker down, if it runs."""
        self._broker.down()
        self._running = None

    def freeze(self) -> None:
        """Suspend the broker."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume a suspended broker."""
        self._signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        running = self._signal(number)
        assert process.wait_until_gone(running.pid, running.started, 30.0), (
            f"{number.name} did not end the broker"
        )
        self._running = None

    def _signal(self, number: signal.Signals) -> Running:
        assert self._running is not None, "the broker was not started"
        os.kill(self._running.pid, number)
        return self._running


@contextmanager
def any_broker(folder: Path) -> Iterator[str]:
    """Servers of a broker for a whole test run.

    Raises
    ------
    NoBroker
        If no kind is available; with the reason for each.
    """
    named = os.environ.get(BROKER_VARIABLE)
    if named:
        Connection(Config(), named).reach()
        yield named
        return
    reasons = []
    for kind in (_docker, _java):
        try:
            servers, end = kind(folder)
        except NoBroker as reason:
            reasons.append(str(reason))
            continue
        try:
            yield servers
        finally:
            end()
        return
    raise NoBroker(f"no broker: {BROKER_VARIABLE} is not set; " + "; ".join(reasons))


def need_java() -> None:
    """Skip, or fail where kafka is required, if a private broker cannot be started."""
    try:
        java()
        jars()
    except DevBrokerError as error:
        without_broker(str(error))


def without_broker(reason: str) -> None:
    """Skip the test, or fail if DRIFTLINE_REQUIRE names kafka."""
    if "kafka" in os.environ.get("DRIFTLINE_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


def _java(folder: Path) -> tuple[str, Callable[[], None]]:
    try:
        own = BrokerProcess(folder)
        own.start()
    except DevBrokerError as error:
        raise NoBroker(str(error)) from error
    return own.servers, own.stop


def _docker(_: Path) -> tuple[str, Callable[[], None]]:
    engine = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if engine.startswith(
        "unix://"
    ):  # Docker's own client would leave a socket open if no engine answers
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5.0)
            if probe.connect_ex(engine.removeprefix("unix://")):
                raise NoBroker(f"Docker does not answer at {engine}")

    from docker.errors import DockerException
    from testcontainers.core.container import DockerContainer

    port = free_port()
    container = DockerContainer(IMAGE).with_envs(
        KAFKA_NODE_ID="1",
        KAFKA_PROCESS_ROLES="broker,controller",
        KAFKA_LISTENERS="PLAINTEXT://:9092,CONTROLLER://:9093",
        KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://127.0.0.1:{port}",
        KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
        KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093",
        KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
        KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
        KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
        KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
        KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
    )
    container.ports[9092] = ("127.0.0.1", port)  # type: ignore[assignment]
    try:
        container.start()
    except DockerException as error:
        raise NoBroker(f"Docker cannot start {IMAGE} ({error})") from error
    Connection(Config(), f"127.0.0.1:{port}").reach(timeout_s=60.0)
    return f"127.0.0.1:{port}", container.stop


class Names:
    """Topic prefix, program name and configuration of one test: tests share a broker only."""

    def __init__(self, servers: str, unique: str) -> None:
        self.servers = servers
        self.prefix = f"{unique}."
        self.app = unique

    def config(self, text: str = "", *, kafka: str = "") -> Config:
        """Configuration from `text` with this broker and prefix; adds `kafka` to [kafka]."""
        return parse_config(self.toml(text, kafka=kafka))

    def toml(self, text: str = "", *, kafka: str = "") -> str:
        """The text of `config`, for a file."""
        run = f'run.topic_prefix = "{self.prefix}"\n'
        # The machine of the tests may be short of anything.
        off = "" if "worker_metrics" in kafka else 'worker_metrics = "off"\n'
        return (
            f'{run}{text}\n[kafka]\nbootstrap_servers = "{self.servers}"\napp = '
            f'"{self.app}"\n{off}{kafka}\n'
        )

    def connection(self, text: str = "", *, kafka: str = "") -> Connection:
        """A connection with that configuration."""
        return Connection(self.config(text, kafka=kafka), self.servers)

    def clean(self) -> None:
        """Delete the topics of the test."""
        admin = self.connection().admin()
        ours = [
            name for name in admin.list_topics(timeout=10.0).topics if name.startswith(self.prefix)
        ]
        if ours:
            for deleted in admin.delete_topics(ours, request_timeout=10.0).values():
                deleted.result()
