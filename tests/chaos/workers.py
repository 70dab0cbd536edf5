"""Workers as processes, and the supervisor that restarts them."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from driftline.agents.devbroker.broker import free_port

POLL_S = 0.02
RESTART_S = 0.5  # delay of the supervisor
ANSWERS_S = 1.0
LAST_LINES = 4
# Exit codes of a worker after SIGTERM: in order, cut off by its time limit, or before its start was
# complete.
ENDS = (0, 71, -signal.SIGTERM)


class UnrequestedExit(NamedTuple):
    """A worker ended although it was not asked to."""

    worker: str
    code: int
    last_log_lines: str


class Worker:
    """One worker: its settings, its state, and its process while it runs.

    Parameters
    ----------
    name
        Name of the worker, and of its static member if there is one.
    command
        Arguments of the interpreter before `worker`.
    options
        Further options of `worker`, as they are when it is started.
    environment
        Added to the environment of the process.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        configuration: str,
        *,
        static: bool,
        command: Sequence[str],
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._options = options
        self._environment = dict(environment or {})
        self.state = folder / "state" / name
        self.wanted = False
        self.fault_armed = False  # with a fault armed, its end is expected
        self._folder = folder
        self._command = list(command)
        self._file = folder / f"{name}.toml"
        self._file.write_text(
            configuration + (f'\nstatic_member = "{name}"\n' if static else "\n"), encoding="utf-8"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._ended_at = 0.0
        self._port = 0

    @property
    def log(self) -> Path:
        """Log of the present or last process."""
        return self._folder / f"{self.name}-{self._starts}.log"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"worker {self.name} was never started")
        return self._process.pid

    def start(self, fault: str | None = None) -> None:
        """Start it; `fault`, such as "kill:produced:5", makes it kill itself at a named point."""
        if self.runs():
            raise RuntimeError(f"worker {self.name} is already running")
        self._starts += 1
        self.wanted, self.fault_armed = True, fault is not None
        environment = {
            name: value for name, value in os.environ.items() if name != "DRIFTLINE_FAULT"
        } | self._environment
        if fault is not None:
            environment["DRIFTLINE_FAULT"] = fault
        self._port = free_port()
        arguments = [
            "worker",
            "--config",
            str(self._file),
            "--state",
            str(self.state),
            "--web-port",
            str(self._port),
            *self._options,
        ]
        command = [sys.executable, *self._command, *arguments]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.runs():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with kill -9, and wait; the supervisor does not restart it."""
        self.wanted = False
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(30)

    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def last_log_lines(self) -> str:
        """Last lines of its log."""
        lines = (
            self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            if self.log.exists()
            else []
        )
        return " | ".join(lines[-LAST_LINES:])[-600:]

    def ready_tasks(self) -> int | None:
        """Number of its tasks; None if it is not ready."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._port}/health/ready", timeout=ANSWERS_S
            ) as answer:
                return sum(map(len, json.load(answer)["tasks"].values()))
        except (OSError, http.client.HTTPException):  # no answer yet, or status 503
            return None

    def health(self) -> tuple[int, str]:
        """Status and text of its readiness; status 0 if it does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._port}/health/ready", timeout=ANSWERS_S
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""

    def restart_if_ended(self) -> UnrequestedExit | None:
        """Restart it as a supervisor does; returns its exit if that was not expected."""
        code = self.exit_code()
        if not self.wanted or code is None:
            return None
        now = time.monotonic()
        if not self._ended_at:
            self._ended_at = now
        if now - self._ended_at < RESTART_S:
            return None
        self._ended_at = 0.0
        unrequested = (
            None if self.fault_armed else UnrequestedExit(self.name, code, self.last_log_lines())
        )
        self.start()
        return unrequested

    def wipe_cache(self) -> None:
        """Delete its local copy."""
        shutil.rmtree(self.state, ignore_errors=True)

    def damage_cache(self, random: Random) -> int:
        """Truncate some files of its local copy; returns how many."""
        files = [
            path for path in sorted(self.state.rglob("*")) if path.is_file() and path.stat().st_size
        ]
        chosen = random.sample(files, min(len(files), random.randint(1, 3)))
        for path in chosen:
            os.truncate(path, random.randrange(path.stat().st_size))
        return len(chosen)


class Fleet:
    """The workers of a round.

    Attributes
    ----------
    options
        Further options of `worker` for all that are started from now on.
    """

    def __init__(
        self, folder: Path, configuration: str, *, static: bool, command: list[str]
    ) -> None:
        self.options: list[str] = []
        self._make: Callable[[str], Worker] = lambda name: Worker(
            name, folder, configuration, static=static, command=command, options=self.options
        )
        self.workers: list[Worker] = []
        self.unrequested_exits: list[UnrequestedExit] = []

    def add(self) -> Worker:
        """Start one more worker; a removed one is started again with its local copy."""
        worker = next(
            (worker for worker in self.workers if not worker.wanted and not worker.runs()), None
        )
        if worker is None:
            worker = self._make(f"w{len(self.workers) + 1}")
            self.workers.append(worker)
        worker.start()
        return worker

    def running(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.wanted and worker.runs()]

    def supervise(self) -> None:
        """Restart workers that have ended."""
        for worker in self.workers:
            unrequested = worker.restart_if_ended()
            if unrequested is not None:
                self.unrequested_exits.append(unrequested)

    def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Supervise until a condition holds; False if it does not within `seconds`."""
        ends = time.monotonic() + seconds
        while not until():
            if time.monotonic() >= ends:
                return False
            self.supervise()
            time.sleep(POLL_S)
        return True

    def stop(self, seconds: float) -> list[str]:
        """End all workers with SIGTERM, and by force after `seconds`.

        Returns complaints about those that took too long or ended with an unexpected exit code.
        """
        stopping = [worker for worker in self.workers if worker.runs()]
        for worker in self.workers:
            worker.wanted = False
        for worker in stopping:
            worker.signal(signal.SIGCONT)
            worker.signal(signal.SIGTERM)
        ends = time.monotonic() + seconds
        while any(worker.runs() for worker in stopping) and time.monotonic() < ends:
            time.sleep(POLL_S)
        complaints = [
            f"{worker.name} still runs {seconds:.0f} s after SIGTERM"
            for worker in stopping
            if worker.runs()
        ]
        complaints += [
            f"{w.name} ended with {w.exit_code()}: {w.last_log_lines()}"
            for w in stopping
            if not w.runs() and w.exit_code() not in ENDS
        ]
        for worker in stopping:
            worker.kill()
        return complaints
