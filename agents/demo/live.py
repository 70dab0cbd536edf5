"""The demo on Kafka: the log is sent to a broker, processed by two workers, and the results are
read from the topics.

Uses the broker in DRIFTLINE_BROKER; otherwise starts one, which keeps running after the demo so
that its topics can be inspected.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from confluent_kafka import KafkaException, TopicPartition

import driftline
from driftline.agents.demo.board import SHOWN_TOPICS
from driftline.agents.demo.view import View
from driftline.agents.devbroker import DevBroker, DevBrokerError
from driftline.agents.devbroker.broker import DEFAULT_PORT, free_port, is_free
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import BROKER_VARIABLE, BrokerError, Connection
from driftline.agents.kafka.broker.ranges import offset_ranges
from driftline.agents.kafka.tools.export import ExportError, export
from driftline.agents.kafka.tools.lag import lag
from driftline.agents.kafka.tools.send_log import send_log
from driftline.schemas.config import load_config
from driftline.schemas.results import decoder
from driftline.schemas.settings import Config
from driftline.schemas.topics import ALERTS, DRIFT, METRICS

WORKERS = 2
APP = "driftline-demo"
RESTART_CODES = (70, 71, 75)  # exit codes of a worker that has to be restarted, docs/operations.md
MAX_STARTS = 5
READY_S = 120.0
STOP_S = 15.0
POLL_S = 0.5
MAX_MESSAGES = 2_000
KAFKA_TABLES = """
# Recorded history: time comes from the records.
[run]
clock = "data"
topic_prefix = "{prefix}"

[kafka]
bootstrap_servers = "{servers}"
app = "{app}"
provisional = "1s"
"""


class LiveFailed(Exception):
    """The demo cannot run on Kafka; the message gives the reason and the remedy."""


class LiveRun(msgspec.Struct, frozen=True, kw_only=True):
    """Records, times and commands of a run on Kafka.

    Attributes
    ----------
    records
        Number of records sent, by topic.
    elapsed_s
        From the first record sent until the last window is final.
    cpu_s
        Processor time of all workers.
    commands
        Commands that show the topics and groups on the broker.
    """

    records: dict[str, int]
    elapsed_s: float
    cpu_s: float
    commands: list[str]


def stop_broker(out: Path) -> None:
    """Stop the broker of an earlier demo in that folder, before the folder is emptied."""
    if (out / "broker").is_dir():
        DevBroker(out / "broker").down()


def run_live(config_path: Path, log: Path, out: Path, output: Path, view: View) -> LiveRun:
    """Send a log through Kafka and two workers, and export the results to the folder `output`.

    Raises
    ------
    LiveFailed
        If no broker is available, or a worker ends.
    """
    try:
        view.step("starting Kafka")
        with _broker(out) as (own, servers):
            return _run(config_path, log, out, output, view, own, servers)
    except (
        BrokerError,
        DevBrokerError,
        ExportError,
        KafkaException,
        topics.UnusableTopics,
    ) as error:
        raise LiveFailed(str(error)) from error


def _run(
    config_path: Path,
    log: Path,
    out: Path,
    output: Path,
    view: View,
    own: DevBroker | None,
    servers: str,
) -> LiveRun:
    prefix = "" if own else f"{APP}."
    path = out / "driftline-kafka.toml"
    tables = KAFKA_TABLES.format(prefix=prefix, servers=servers, app=APP)
    path.write_text(config_path.read_text(encoding="utf-8") + tables, encoding="utf-8")
    connection = Connection(load_config(path), servers)
    _recreate_topics(connection)
    view.step(f"starting {WORKERS} workers")
    cpu_before = _children_cpu_s()
    with _workers(path, servers, out) as workers:
        view.follow(TopicTail(connection))
        began = time.monotonic()
        view.step(
            "sending the log to Kafka", total=sum(_lines(file) for file in log.glob("*.jsonl"))
        )
        records = send_log(connection, log, on_progress=lambda sent, _: view.advance(sent))
        _await_join(connection, workers, view, sum(records.values()))
        view.step("advancing time until every window is final")
        _finish(path, servers, workers, view)
        elapsed = time.monotonic() - began
    view.step("reading the results from the topics")
    export(connection, output)
    return LiveRun(
        records=records,
        elapsed_s=elapsed,
        cpu_s=_children_cpu_s() - cpu_before,
        commands=_commands(connection, own),
    )


@contextmanager
def _broker(out: Path) -> Iterator[tuple[DevBroker | None, str]]:
    """The broker and its servers; the broker is None if DRIFTLINE_BROKER names one.

    A broker that was started here is stopped if the demo fails.
    """
    named = os.environ.get(BROKER_VARIABLE)
    if named:
        Connection(Config(), named).reach()
        yield None, named
        return
    own = DevBroker(out / "broker")
    try:
        yield own, own.up(DEFAULT_PORT if is_free(DEFAULT_PORT) else free_port()).servers
    except BaseException:  # Ctrl-C too: the broker keeps running only after a complete demo
        own.down()
        raise


def _recreate_topics(connection: Connection) -> None:
    """Create the topics, after deleting those of an earlier demo."""
    admin = connection.admin()
    old = [connection.name(topic) for topic in topics.describe(connection)]
    if old:
        for deleted in admin.delete_topics(old).values():
            deleted.result()
        deadline = time.monotonic() + READY_S
        while topics.describe(connection) and time.monotonic() < deadline:
            time.sleep(0.1)
    topics.create(connection)
    topics.require(connection)


class TopicTail:
    """Reads the records that have been written to the result topics since the last call.

    Parameters
    ----------
    connection
        The broker.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._decoders = {topic: decoder(type_) for topic, type_ in SHOWN_TOPICS.items()}
        self._consumer = connection.consumer()
        self._consumer.assign(
            [
                TopicPartition(connection.name(topic), part.partition, part.start)
                for topic, parts in offset_ranges(connection, list(SHOWN_TOPICS)).items()
                for part in parts
            ]
        )

    def records(self) -> Iterator[msgspec.Struct]:
        """New records; figures and drift for segment "all" only."""
        while messages := self._consumer.consume(MAX_MESSAGES, timeout=0.01):
            for message in messages:
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                topic, value = self._connection.bare(message.topic() or ""), message.value() or b""
                if topic not in (METRICS, DRIFT) or b'"segment":"all"' in value:
                    yield self._decoders[topic].decode(value)


class _Worker:
    """A worker process, restarted as a supervisor would if its exit code asks for it.

    Parameters
    ----------
    number
        Number in the names of its state folder and its log.
    """

    def __init__(self, number: int, config: Path, servers: str, out: Path) -> None:
        self._port = free_port()
        self._log = out / f"worker-{number}.log"
        arguments = [
            "worker",
            "--state",
            str(out / f"worker-{number}"),
            "--web-port",
            str(self._port),
        ]
        self._start = lambda: _start_driftline(arguments, config, servers, self._log)
        self._process = self._start()
        self._starts = 1

    def check(self) -> None:
        """Restart the worker if it has ended.

        Raises
        ------
        LiveFailed
            If its exit code does not ask for a restart, or it has been restarted too often.
        """
        code = self._process.poll()
        if code is None:
            return
        if code not in RESTART_CODES or self._starts == MAX_STARTS:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            tail = "\n".join(lines[-5:])
            raise LiveFailed(f"a worker ended with code {code}; the end of {self._log}:\n{tail}")
        self._process = self._start()
        self._starts += 1

    def wait_until_ready(self) -> None:
        """Wait until its tasks have restored their state."""
        deadline = time.monotonic() + READY_S
        while not self._ready():
            self.check()
            if time.monotonic() >= deadline:
                raise LiveFailed(f"a worker is not ready after {READY_S:.0f} s; see {self._log}")
            time.sleep(0.2)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health/ready", timeout=5.0):
                return True
        except OSError:  # base class of urllib's errors
            return False

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def wait(self) -> None:
        """Wait until it has ended; kill it after `STOP_S`."""
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def _workers(config: Path, servers: str, out: Path) -> Iterator[list[_Worker]]:
    """Start the workers and wait until they are ready; terminate them at the end."""
    workers: list[_Worker] = []
    try:
        for number in range(1, WORKERS + 1):
            workers.append(_Worker(number, config, servers, out))
            workers[-1].wait_until_ready()
        yield workers
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


def _start_driftline(
    arguments: list[str], config: Path, servers: str, log: Path
) -> subprocess.Popen[bytes]:
    """Start a driftline command of this installation as a process."""
    home = str(Path(driftline.__file__).parents[1])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    }
    command = [
        sys.executable,
        "-m",
        "driftline.agents.cli",
        *arguments,
        "--config",
        str(config),
        "--broker",
        servers,
    ]
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def _await_join(connection: Connection, workers: list[_Worker], view: View, total: int) -> None:
    """Wait until stage 1 has read all records."""
    view.step(f"{WORKERS} workers are processing it", total=total)
    while (left := lag(connection, "join")) is None or left:
        for worker in workers:
            worker.check()
        view.advance(total - min(left or total, total))
        time.sleep(POLL_S)


def _finish(config: Path, servers: str, workers: list[_Worker], view: View) -> None:
    """Run `driftline finish`."""
    log = config.parent / "finish.log"
    finish = _start_driftline(["finish"], config, servers, log)
    try:
        while finish.poll() is None:
            for worker in workers:
                worker.check()
            view.advance(0)
            time.sleep(POLL_S)
    finally:
        finish.kill()
        finish.wait()
    if finish.returncode:
        raise LiveFailed(
            f"driftline finish ended with code {finish.returncode}: "
            f"{log.read_text(encoding='utf-8').strip()}"
        )


def _commands(connection: Connection, own: DevBroker | None) -> list[str]:
    """Commands that show the alert topic and the consumer groups."""
    servers, alerts = connection.servers, connection.name(ALERTS)
    tools = f"{shlex.quote(str(own.tools))}/" if own else ""
    commands = [
        f"kcat -C -b {servers} -t {alerts} -o beginning -e -q -X isolation.level=read_committed "
        "-f '%k\\t%s\\n'",
        f"{tools}kafka-console-consumer --bootstrap-server {servers} --topic {alerts} "
        "--from-beginning --isolation-level read_committed --property print.key=true "
        "--timeout-ms 10000",
        f"{tools}kafka-consumer-groups --bootstrap-server {servers} --describe "
        f"--group {connection.group('join')}",
    ]
    if own:
        commands.append(f"driftline dev-broker down --data {shlex.quote(str(own.folder))}")
    if shutil.which("kcat") is None:
        commands[0] += "   # needs kcat (Debian: apt-get install kcat)"
    return commands


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def _children_cpu_s() -> float:
    """Processor time of ended child processes, in seconds."""
    times = os.times()
    return times.children_user + times.children_system
