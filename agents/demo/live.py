"""The demo on a real Kafka: the recorded log is sent to a broker, two workers take it from there,
and the results are read off the topics.

The broker is the one that DRIFTLINE_BROKER names, else one that is started here and goes on when
the demo has ended, so that its topics can be looked at.
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
from driftline.agents.kafka.broker.ranges import ranges
from driftline.agents.kafka.tools.export import ExportError, export
from driftline.agents.kafka.tools.lag import lag
from driftline.agents.kafka.tools.send_log import feed
from driftline.schemas.config import load_config
from driftline.schemas.results import decoder
from driftline.schemas.settings import Config
from driftline.schemas.topics import ALERTS, DRIFT, METRICS

WORKERS = 2
APP = "driftline-demo"
RESTARTED = (70, 71, 75)  # exit codes of a worker that may not go on, docs/operations.md
STARTS = 5
READY_S = 120.0
STOP_S = 15.0
LOOK_S = 0.5
AT_ONCE = 2_000
KAFKA_TABLES = """
# Recorded history: time is what the records say.
[run]
clock = "data"
topic_prefix = "{prefix}"

[kafka]
bootstrap_servers = "{servers}"
app = "{app}"
provisional = "1s"
"""


class LiveFailed(Exception):
    """The demo cannot run on Kafka; the message says why and what to do."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a run on Kafka took.

    Attributes
    ----------
    records
        Sent, by topic.
    elapsed_s
        From the first record sent to the last window final.
    cpu_s
        Processor time of all workers.
    lines
        Commands that show what lies on the broker.
    """

    records: dict[str, int]
    elapsed_s: float
    cpu_s: float
    lines: list[str]


def release(out: Path) -> None:
    """End the broker of an earlier demo in that folder, which is about to be emptied."""
    if (out / "broker").is_dir():
        DevBroker(out / "broker").down()


def run_live(config_path: Path, log: Path, out: Path, output: Path, view: View) -> Done:
    """Send a log through Kafka and two workers, and write what comes out to the folder `output`.

    Raises
    ------
    LiveFailed
        If there is no broker, or a worker ends.
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
        topics.TopicsRefused,
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
) -> Done:
    prefix = "" if own else f"{APP}."
    path = out / "driftline-kafka.toml"
    tables = KAFKA_TABLES.format(prefix=prefix, servers=servers, app=APP)
    path.write_text(config_path.read_text(encoding="utf-8") + tables, encoding="utf-8")
    connection = Connection(load_config(path), servers)
    _make_topics(connection)
    view.step(f"starting {WORKERS} workers")
    before = _children_cpu_s()
    with _workers(path, servers, out) as workers:
        view.follow(TopicTail(connection))
        began = time.monotonic()
        view.step(
            "sending the log to Kafka", total=sum(_lines(file) for file in log.glob("*.jsonl"))
        )
        records = feed(connection, log, told=lambda sent, _: view.advance(sent))
        _work_off(connection, workers, view, sum(records.values()))
        view.step("letting time run on until every window is final")
        _finish(path, servers, workers, view)
        elapsed = time.monotonic() - began
    view.step("reading the results off the topics")
    export(connection, output)
    return Done(
        records=records,
        elapsed_s=elapsed,
        cpu_s=_children_cpu_s() - before,
        lines=_commands(connection, own),
    )


@contextmanager
def _broker(out: Path) -> Iterator[tuple[DevBroker | None, str]]:
    """The broker to use, and its servers; none of ours where one is named.

    Ours is ended if something goes wrong.
    """
    named = os.environ.get(BROKER_VARIABLE)
    if named:
        Connection(Config(), named).reach()
        yield None, named
        return
    own = DevBroker(out / "broker")
    try:
        yield own, own.up(DEFAULT_PORT if is_free(DEFAULT_PORT) else free_port()).servers
    except (
        BaseException
    ):  # Ctrl-C too: only a demo that came to its end leaves its broker for the console tools
        own.down()
        raise


def _make_topics(connection: Connection) -> None:
    """Topics without the records of an earlier demo."""
    admin = connection.admin()
    old = [connection.name(topic) for topic in topics.describe(connection)]
    if old:
        for deleted in admin.delete_topics(old).values():
            deleted.result()
        ends = time.monotonic() + READY_S
        while topics.describe(connection) and time.monotonic() < ends:
            time.sleep(0.1)
    topics.create(connection)
    topics.require(connection)


class TopicTail:
    """Reads what has come to the result topics since the last look.

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
                for topic, parts in ranges(connection, list(SHOWN_TOPICS)).items()
                for part in parts
            ]
        )

    def records(self) -> Iterator[msgspec.Struct]:
        """New records; of figures and drift only those over all rows."""
        while messages := self._consumer.consume(AT_ONCE, timeout=0.01):
            for message in messages:
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                topic, value = self._connection.bare(message.topic() or ""), message.value() or b""
                if topic not in (METRICS, DRIFT) or b'"segment":"all"' in value:
                    yield self._decoders[topic].decode(value)


class _Worker:
    """A worker, started again when it ends because it may not go on; whatever supervises workers
    does so.

    Parameters
    ----------
    number
        Names its folder and its log.
    """

    def __init__(self, number: int, config: Path, servers: str, out: Path) -> None:
        self._port = free_port()
        self._log = out / f"worker-{number}.log"
        words = ["worker", "--state", str(out / f"worker-{number}"), "--web-port", str(self._port)]
        self._start = lambda: _driftline(words, config, servers, self._log)
        self._process = self._start()
        self._starts = 1

    def check(self) -> None:
        """Start it again if it has ended.

        Raises
        ------
        LiveFailed
            If that does not help.
        """
        code = self._process.poll()
        if code is None:
            return
        if code not in RESTARTED or self._starts == STARTS:
            said = "\n".join(
                self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            )
            raise LiveFailed(f"a worker ended with {code}; the end of {self._log}:\n{said}")
        self._process = self._start()
        self._starts += 1

    def wait_until_ready(self) -> None:
        """Wait until its tasks are restored."""
        ends = time.monotonic() + READY_S
        while not self._ready():
            self.check()
            if time.monotonic() >= ends:
                raise LiveFailed(f"a worker is not ready after {READY_S:.0f} s; see {self._log}")
            time.sleep(0.2)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health/ready", timeout=5.0):
                return True
        except OSError:  # urllib's errors are
            return False

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def wait(self) -> None:
        """Wait for its end."""
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def _workers(config: Path, servers: str, out: Path) -> Iterator[list[_Worker]]:
    """Workers that are ready; they are asked to stop at the end."""
    workers: list[_Worker] = []
    try:
        for number in range(1, WORKERS + 1):
            workers.append(_Worker(number, config, servers, out))
            workers[-1].wait_until_ready()
        yield workers
    finally:
        for worker in workers:
            worker.ask_to_stop()
        for worker in workers:
            worker.wait()


def _driftline(words: list[str], config: Path, servers: str, log: Path) -> subprocess.Popen[bytes]:
    """A command of this installation in a process of its own."""
    home = str(Path(driftline.__file__).parents[1])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    }
    command = [
        sys.executable,
        "-m",
        "driftline.agents.cli",
        *words,
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


def _work_off(connection: Connection, workers: list[_Worker], view: View, total: int) -> None:
    """Wait until stage 1 has taken everything."""
    view.step(f"{WORKERS} workers take it from there", total=total)
    while (left := lag(connection, "join")) is None or left:
        for worker in workers:
            worker.check()
        view.advance(total - min(left or total, total))
        time.sleep(LOOK_S)


def _finish(config: Path, servers: str, workers: list[_Worker], view: View) -> None:
    """Let time run on until every window is final."""
    log = config.parent / "finish.log"
    finish = _driftline(["finish"], config, servers, log)
    try:
        while finish.poll() is None:
            for worker in workers:
                worker.check()
            view.advance(0)
            time.sleep(LOOK_S)
    finally:
        finish.kill()
        finish.wait()
    if finish.returncode:
        raise LiveFailed(
            f"driftline finish ended with {finish.returncode}: {log.read_text(encoding='utf-8').strip()}"
        )


def _commands(connection: Connection, own: DevBroker | None) -> list[str]:
    """What shows the alert topic and the groups, ready to be copied."""
    servers, alerts = connection.servers, connection.name(ALERTS)
    tools = f"{shlex.quote(str(own.tools))}/" if own else ""
    lines = [
        f"kcat -C -b {servers} -t {alerts} -o beginning -e -q -X isolation.level=read_committed -f '%k\\t%s\\n'",
        f"{tools}kafka-console-consumer --bootstrap-server {servers} --topic {alerts} --from-beginning "
        "--isolation-level read_committed --property print.key=true --timeout-ms 10000",
        f"{tools}kafka-consumer-groups --bootstrap-server {servers} --describe --group {connection.group('join')}",
    ]
    if own:
        lines.append(f"driftline dev-broker down --data {shlex.quote(str(own.folder))}")
    if shutil.which("kcat") is None:
        lines[0] += "   # needs kcat (Debian: apt-get install kcat)"
    return lines


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def _children_cpu_s() -> float:
    """Processor time of the processes that this one has waited for, in seconds."""
    times = os.times()
    return times.children_user + times.children_system
