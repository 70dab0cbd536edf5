"""A worker process, started and ended as an operator would."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from driftline.agents.devbroker.broker import free_port

ROOT = Path(__file__).parents[3]
READY_S = 600.0
STOP_S = 30.0


class WorkerEnded(RuntimeError):
    """The worker ended by itself; the message has the end of its log."""


class Worker:
    """`driftline worker` with its own state folder.

    Parameters
    ----------
    config, state
        Its configuration file and its state folder.
    log
        File for its log.
    stages
        Value of `--stages`; None for all stages.
    profile
        File for the profile of its main thread, written when it ends; slow.
    watched
        File for the longest calls of its event loop, written each second.
    """

    def __init__(
        self,
        config: Path,
        state: Path,
        log: Path,
        *,
        stages: str | None = None,
        profile: Path | None = None,
        watched: Path | None = None,
    ) -> None:
        self.port = free_port()
        self._log = log
        entry = ["-m", "driftline.agents.cli"]
        if profile is not None:
            entry = ["-m", "tests.bench.kafka.profiled", str(profile)]
        elif watched is not None:
            entry = ["-m", "tests.bench.kafka.watched", str(watched)]
        chosen = [] if stages is None else ["--stages", stages]
        command = [
            sys.executable,
            *entry,
            "worker",
            "--config",
            str(config),
            "--state",
            str(state),
            "--web-port",
            str(self.port),
            *chosen,
        ]
        log.parent.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()
        with log.open("ab") as output:
            # A variable of the caller must not direct it to another broker.
            environment = {
                name: value for name, value in os.environ.items() if name != "DRIFTLINE_BROKER"
            }
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=output, env=environment
            )

    @property
    def pid(self) -> int:
        """Id of its process."""
        return self._process.pid

    def ready(self) -> float:
        """Wait until all its tasks are restored; returns the seconds since its start."""
        while time.monotonic() - self.started < READY_S:
            self.check_alive()
            if self._get("/health/ready")[0] == 200:
                return time.monotonic() - self.started
            time.sleep(0.01)
        raise TimeoutError(
            f"the worker is not ready after {READY_S:.0f} s: {self._get('/health/ready')}; "
            f"see {self._log}"
        )

    def check_alive(self) -> None:
        """Raise `WorkerEnded` if it has ended."""
        if self._process.poll() is not None:
            log_end = self._log.read_text(encoding="utf-8", errors="replace")[-2_000:]
            raise WorkerEnded(
                f"the worker ended with {self._process.returncode}; the end of its log:\n{log_end}"
            )

    def metrics(self) -> dict[str, float]:
        """Its metrics at /metrics: values by name with labels."""
        metrics = {}
        for line in self._get("/metrics")[1].splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                metrics[name] = float(value)
        return metrics

    def tasks(self) -> Any:
        """Partitions of its tasks, by kind."""
        return json.loads(self._get("/health/ready")[1])["tasks"]

    def stop(self) -> float:
        """End it in order; returns the seconds that it took."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return time.monotonic() - began

    def kill(self) -> None:
        """End it with kill -9."""
        self._process.kill()
        self._process.wait()

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()
