"""The development broker: real Kafka, started once, with topics that survive a restart."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic

from driftline.agents.devbroker import DevBroker, DevBrokerError, broker_files, process
from driftline.agents.devbroker.broker import STATE_FILE, free_port
from driftline.agents.devbroker.java import jars, java
from driftline.agents.kafka.broker.connection import Connection
from driftline.schemas.settings import Config
from tests.kafka.brokers import BrokerProcess, Names

ROOT = Path(__file__).resolve().parents[2]


def topics_of(servers: str) -> set[str]:
    return {
        name for name in Connection(Config(), servers).reach().topics if not name.startswith("__")
    }


def make_topic(servers: str, name: str) -> None:
    admin = Connection(Config(), servers).admin()  # must live until the answer arrives
    (made,) = admin.create_topics([NewTopic(name, num_partitions=1)]).values()
    made.result()


@pytest.mark.kafka
def test_killed_broker_restarts_on_its_port_with_its_topics(own_broker: BrokerProcess) -> None:
    make_topic(own_broker.servers, "kept")
    own_broker.kill()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", own_broker.port)) != 0
    own_broker.start()
    assert topics_of(own_broker.servers) == {"kept"}


@pytest.mark.kafka
def test_up_and_down_are_idempotent_and_topics_stay(tmp_path: Path) -> None:
    broker, port = DevBroker(tmp_path, quick=True), free_port()
    first = broker.up(port)
    try:
        make_topic(first.servers, "kept")
        assert broker.up(port) == first
        with pytest.raises(
            DevBrokerError, match=rf"runs on port {port}, not {port + 1}; end it with"
        ):
            broker.up(port + 1)
        assert "listeners=PLAINTEXT://127.0.0.1:" in (tmp_path / "server.properties").read_text()
    finally:
        ended = broker.down()
    assert (ended, broker.down(), broker.running()) == (True, False, None)
    second = broker.up(port)
    try:
        assert topics_of(second.servers) == {"kept"}
    finally:
        broker.down()


@pytest.mark.kafka
def test_topics_of_a_test_are_deleted_after_it(broker: str) -> None:
    names = Names(broker, "cleaned")
    make_topic(broker, "cleaned.predictions")
    names.clean()
    assert "cleaned.predictions" not in topics_of(broker)


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(),
    reason="only Linux shows the threads of a process in /proc",
)
def test_process_runs_while_one_of_its_threads_holds_its_files() -> None:
    first_thread_ends = (
        "import ctypes, threading; threading.Thread(target=input).start(); "
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", first_thread_ends], stdin=subprocess.PIPE
    ) as lingering:
        started = process.started_at(lingering.pid)
        assert started is not None
        for _ in range(600):
            if "Z" in Path(f"/proc/{lingering.pid}/stat").read_text().rpartition(")")[2]:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("the first thread never ended")
        assert process.is_running(lingering.pid, started)
        assert lingering.stdin is not None
        lingering.stdin.write(b"\n")
        lingering.stdin.flush()
        assert process.wait_until_gone(lingering.pid, started, 30.0)


def test_down_does_not_end_another_process_with_the_same_id(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        state = f'{{"pid":{bystander.pid},"started":"long ago","port":9}}'
        (tmp_path / STATE_FILE).write_text(state)
        assert DevBroker(tmp_path).down() is False
        assert bystander.poll() is None
        bystander.communicate(b"\n")
    assert not (tmp_path / STATE_FILE).exists()


def test_process_is_identified_by_its_start_time_and_a_zombie_does_not_count() -> None:
    started = process.started_at(os.getpid())
    assert started is not None
    assert process.is_running(os.getpid(), started)
    assert not process.is_running(os.getpid(), "long ago")
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.started_at(child.pid) is None
    child.wait()


def test_error_names_the_port_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftline.agents.devbroker.broker.java", lambda: "java")
    monkeypatch.setattr("driftline.agents.devbroker.broker.jars", lambda: tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            DevBrokerError,
            match=rf"port {port} of 127\.0\.0\.1 is in use by another program; .*--port",
        ):
            DevBroker(tmp_path).up(port)


def test_error_says_what_to_install_without_java_or_maven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DRIFTLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(
        DevBrokerError, match=r"needs Java 17 or newer .*; there is none on the path"
    ):
        java()
    with pytest.raises(
        DevBrokerError, match=r"Maven fetches Kafka's jars, and there is no mvn on the path"
    ):
        jars()


def test_error_quotes_the_version_of_a_java_that_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "bin" / "java"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    script.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(
        DevBrokerError, match=r'needs Java 17 or newer .* says: openjdk version "11'
    ):
        java()


def test_error_quotes_a_failing_maven_and_the_cache_stays_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "mvn"
    script.write_text("#!/bin/sh\necho '[ERROR] no route to anywhere'\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("DRIFTLINE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DevBrokerError, match=r"mvn ended with 1\):\n\[ERROR\] no route"):
        jars()
    assert list((tmp_path / "cache").iterdir()) == []


def test_console_tools_are_executable_and_name_their_class(tmp_path: Path) -> None:
    tools = broker_files.write_tools(tmp_path, java="/usr/bin/java", jars=tmp_path / "jars")
    script = (tools / "kafka-console-consumer").read_text()
    assert script.endswith(
        f"-cp '{tmp_path}/jars/*' org.apache.kafka.tools.consumer.ConsoleConsumer \"$@\"\n"
    )
    assert os.access(tools / "kafka-consumer-groups", os.X_OK)
