"""Start and stop of the development broker.

    up      does nothing if it runs; else writes the properties, formats the data directory,
            starts the broker and waits until it answers
    down    ends the process that `up` started, identified by its id and start time

`broker.json` in the data directory names the running process.
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from driftline.agents.devbroker import broker_files, process
from driftline.agents.devbroker.java import DevBrokerError, jars, java
from driftline.agents.kafka.broker.connection import BrokerError, Connection
from driftline.schemas.settings import Config

DEFAULT_PORT = 9092
START_S = 90.0
STOP_S = 30.0
HEAP = "512m"
STATE_FILE = "broker.json"
_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def default_folder() -> Path:
    """Default data directory of the broker."""
    return (
        Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        / "driftline"
        / "dev-broker"
    )


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A started broker: its process and its port."""

    pid: int
    started: str
    port: int

    @property
    def servers(self) -> str:
        """Bootstrap servers."""
        return f"{broker_files.HOST}:{self.port}"


class DevBroker:
    """The broker of one data directory.

    Parameters
    ----------
    folder
        Holds its topics, settings and log; created if missing.
    properties
        Settings of Kafka that override the defaults here. "{controller_port}" stands for the port
        that is chosen at each start.
    quick
        For tests: the start takes 3.4 s of processor time instead of 6 (measured), but the broker
        is slower under load.
    """

    def __init__(
        self, folder: Path, properties: Mapping[str, str] | None = None, *, quick: bool = False
    ) -> None:
        self.folder = folder.expanduser().resolve()
        self._properties = dict(properties or {})
        self._options = _SHORT_LIVED if quick else ()

    @property
    def log(self) -> Path:
        """Log file of the broker."""
        return broker_files.log_file(self.folder)

    @property
    def tools(self) -> Path:
        """Folder of Kafka's console tools, which exists after the first start."""
        return self.folder / "bin"

    def running(self) -> Running | None:
        """The broker, if its process runs; it may not answer yet."""
        try:
            running = msgspec.json.decode((self.folder / STATE_FILE).read_bytes(), type=Running)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise DevBrokerError(
                f"{self.folder / STATE_FILE} is damaged ({error}); "
                "end the broker yourself and delete that file"
            ) from error
        return running if process.is_running(running.pid, running.started) else None

    def up(self, port: int = DEFAULT_PORT) -> Running:
        """Start the broker unless it runs, and wait until it answers on `port` of the loopback
        interface.

        Raises
        ------
        DevBrokerError
            If it runs on another port, the port is in use, Java or Maven is missing, or the broker
            does not start.
        """
        with self._locked():
            running = self.running()
            if running is None:
                running = self._start(port)
            elif running.port != port:
                raise DevBrokerError(
                    f"the broker of {self.folder} runs on port {running.port}, not {port}; end it "
                    "with driftline dev-broker down, or choose another folder with --data"
                )
            self._wait_for_answer(running)
            return running

    def down(self) -> bool:
        """End the broker; False if it was not running."""
        with self._locked():
            running = self.running()
            if running is not None:
                process.stop(running.pid, running.started, grace_s=STOP_S)
            (self.folder / STATE_FILE).unlink(missing_ok=True)
            return running is not None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One `up` or `down` at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _start(self, port: int) -> Running:
        runtime, library = java(), jars()
        if not is_free(port):
            raise DevBrokerError(
                f"port {port} of {broker_files.HOST} is in use by another program; "
                "end that program, or choose another port with --port"
            )
        properties = broker_files.write_properties(
            self.folder, port=port, controller_port=free_port(), extra=self._properties
        )
        broker_files.write_tools(self.folder, java=runtime, jars=library)
        base = [
            runtime,
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
            "-cp",
            f"{library}/*",
        ]
        if not (self.folder / "topics" / "meta.properties").is_file():
            self._format(base, properties)
        command = [
            *base[:1],
            f"-Xms{HEAP}",
            f"-Xmx{HEAP}",
            *self._options,
            *base[1:],
            "kafka.Kafka",
            str(properties),
        ]
        pid = process.start_detached(
            command, output=self.folder / "console.log", folder=self.folder
        )
        started = process.started_at(pid)
        if started is None:
            raise DevBrokerError(f"the broker ended immediately:\n{self._last_errors()}")
        running = Running(pid=pid, started=started, port=port)
        scratch = self.folder / f"{STATE_FILE}.new"
        scratch.write_bytes(msgspec.json.encode(running))
        scratch.replace(self.folder / STATE_FILE)
        return running

    def _format(self, base: list[str], properties: Path) -> None:
        # In the form of Kafka's ids. Its tools would take a leading "-" for an option.
        identity = "d" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode()[1:22]
        _run_tool(
            [
                *base[:1],
                *_SHORT_LIVED,
                *base[1:],
                "kafka.tools.StorageTool",
                "format",
                "-t",
                identity,
                "-c",
                str(properties),
            ]
        )

    def _wait_for_answer(self, running: Running) -> None:
        connection = Connection(Config(), running.servers, environment={})
        ends = time.monotonic() + START_S
        while True:
            if not process.is_running(running.pid, running.started):
                raise DevBrokerError(
                    f"the broker of {self.folder} ended during its start:\n{self._last_errors()}"
                )
            if _accepts_connections(running.port):
                try:
                    connection.reach(timeout_s=2.0)
                    return
                except BrokerError as error:
                    reason = str(error)
            else:
                reason = f"nothing listens on port {running.port}"
            if time.monotonic() >= ends:
                raise DevBrokerError(
                    f"the broker of {self.folder} does not answer after {START_S:.0f} s "
                    f"({reason}); see {self.log}"
                )
            time.sleep(0.1)

    def _last_errors(self) -> str:
        lines = [
            line
            for path in (self.log, self.folder / "console.log")
            if path.is_file()
            for line in _read_lines(path)
        ]
        errors = [
            line
            for line in lines
            if "ERROR" in line or "FATAL" in line or "Exception" in line or "Error:" in line
        ]
        return "\n".join((errors or lines)[-5:]) + f"\nmore in {self.log} and console.log beside it"


def free_port() -> int:
    """A free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind((broker_files.HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of the loopback interface."""
    with socket.socket() as probe:
        # Lingering connections of an earlier broker do no harm.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((broker_files.HOST, port))
        except OSError:
            return False
        return True


def _accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((broker_files.HOST, port)) == 0


def _run_tool(command: list[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise DevBrokerError(
            f"Kafka's storage tool failed with exit code {done.returncode}:\n"
            f"{(done.stderr or done.stdout).strip()}"
        )
    return done.stdout


def _read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()
