"""`driftline worker` as a process of a test."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from driftline.agents.devbroker.broker import free_port
from tests.forks import run_command

PATIENCE_S = 120.0


class WorkerProcess:
    """`driftline worker` with a configuration, a state folder and a log of its own.

    Parameters
    ----------
    folder
        Folder for its configuration, state and log.
    toml
        The configuration.
    arguments
        More arguments of the command line.
    fresh
        Whether its interpreter starts anew, with the environment of the test.
    """

    def __init__(
        self, folder: Path, toml: str, *arguments: str, name: str = "w", fresh: bool = False
    ) -> None:
        self.port = free_port()
        self.log = folder / f"{name}.log"
        self._config = folder / f"{name}.toml"
        self._config.write_text(toml, encoding="utf-8")
        self._arguments = ["--state", str(folder / name), "--web-port", str(self.port), *arguments]
        self._fresh = fresh
        self._process: BaseProcess | None = None

    def start(self) -> WorkerProcess:
        """Start it, without waiting."""
        environment = {key: value for key, value in os.environ.items() if key != "DRIFTLINE_BROKER"}
        words = ["worker", "--config", str(self._config), *self._arguments]
        self._process = run_command(words, log=self.log, environment=environment, fresh=self._fresh)
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        assert self._process is not None
        return self._process.exitcode is None

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of its pages; status 0 if it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def readiness(self) -> dict[str, Any]:
        """The document at /health/ready; empty if the worker does not answer."""
        _, body = self.get("/health/ready")
        return json.loads(body) if body else {}

    def tasks(self, kind: str) -> list[int]:
        """Partitions of its tasks of a kind; none before it is ready."""
        document = self.readiness()
        return document["tasks"].get(kind, []) if document.get("status") == "ready" else []

    def until_ready(self) -> WorkerProcess:
        """Wait until all its tasks are restored."""
        self.until(lambda: self.get("/health/ready")[0] == 200, "is not ready")
        return self

    def until(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Wait for a condition; the worker must not end meanwhile."""
        ends = time.monotonic() + PATIENCE_S
        while not condition():
            assert self._process is not None
            assert self._process.exitcode is None, (
                f"the worker ended with {self._process.exitcode}:\n{self.read_log()}"
            )
            assert time.monotonic() < ends, (
                f"the worker {otherwise}: {self.readiness()}\n{self.read_log()}"
            )
            time.sleep(0.1)

    def terminate(self) -> None:
        """End it with SIGTERM; it must stop in order, exit code 0, within its own time limit."""
        os.kill(self.pid, signal.SIGTERM)
        assert self.exit_code() == 0, self.read_log()

    def exit_code(self) -> int:
        """Wait for its end; returns its exit code."""
        assert self._process is not None
        self._process.join(PATIENCE_S)
        assert self._process.exitcode is not None, f"the worker still runs\n{self.read_log()}"
        return self._process.exitcode

    def kill(self) -> None:
        """End it with kill -9, if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.join(PATIENCE_S)

    def cpu_seconds(self) -> float:
        """Processor time of the process."""
        _, body = self.get("/metrics")
        return next(
            float(line.split()[1])
            for line in body.splitlines()
            if line.startswith("process_cpu_seconds_total ")
        )

    def read_log(self) -> str:
        """Text of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")
