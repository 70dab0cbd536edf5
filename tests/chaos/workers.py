"""Workers as processes, and the supervisor that starts them again when they end."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from driftline.agents.devbroker.broker import free_port

POLL_S = 0.02
RESTART_S = 0.5  # as a supervisor waits
ANSWERS_S = 1.0
LAST_LINES = 4
# How a worker may end after SIGTERM: in order, cut off because it took too long, or before it was
# up.
ENDS = (0, 71, -signal.SIGTERM)


class SelfExit(NamedTuple):
    """A worker ended without having been asked to."""

    worker: str
    code: int
    words: str


class Worker:
    """One worker: its settings, its state, and the process when it runs.

    Parameters
    ----------
    name
        Also of the static member, where there is one.
    command
        What stands before the arguments of `worker`.
    """

    def __init__(
        self, name: str, folder: Path, configuration: str, *, static: bool, command: list[str]
    ) -> None:
        self.name = name
        self.state = folder / "state" / name
        self.wanted = False
        self.doomed = False  # a fault was armed: its end is not its own
        self._folder = folder
        self._command = command
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
        """What the present or last process says."""
        return self._folder / f"{self.name}-{self._starts}.log"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"worker {self.name} was never started")
        return self._process.pid

    def start(self, fault: str | None = None) -> None:
        """Start it; `fault` makes it kill itself at a named point, such as "kill:produced:5"."""
        if self.runs():
            raise RuntimeError(f"worker {self.name} runs already")
        self._starts += 1
        self.wanted, self.doomed = True, fault is not None
        environment = {
            name: value for name, value in os.environ.items() if name != "DRIFTLINE_FAULT"
        }
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
        """kill -9, and wait for its end; nobody starts it again by itself."""
        self.wanted = False
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(30)

    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def last_words(self) -> str:
        """The end of what it said."""
        lines = (
            self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            if self.log.exists()
            else []
        )
        return " | ".join(lines[-LAST_LINES:])[-600:]

    def ready_tasks(self) -> int | None:
        """How many tasks it has; None if it is not ready."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._port}/health/ready", timeout=ANSWERS_S
            ) as answer:
                return sum(map(len, json.load(answer)["tasks"].values()))
        except (OSError, http.client.HTTPException):  # nobody answers there yet, or with 503
            return None

    def restart_if_ended(self) -> SelfExit | None:
        """What a supervisor does; gives the end if it was the worker's own doing."""
        code = self.exit_code()
        if not self.wanted or code is None:
            return None
        now = time.monotonic()
        if not self._ended_at:
            self._ended_at = now
        if now - self._ended_at < RESTART_S:
            return None
        self._ended_at = 0.0
        left = None if self.doomed else SelfExit(self.name, code, self.last_words())
        self.start()
        return left

    def wipe_cache(self) -> None:
        """Delete everything that it keeps on disk."""
        shutil.rmtree(self.state, ignore_errors=True)

    def damage_cache(self, random: Random) -> int:
        """Cut some of the files that it keeps on disk somewhere; gives how many."""
        files = [
            path for path in sorted(self.state.rglob("*")) if path.is_file() and path.stat().st_size
        ]
        chosen = random.sample(files, min(len(files), random.randint(1, 3)))
        for path in chosen:
            os.truncate(path, random.randrange(path.stat().st_size))
        return len(chosen)


class Fleet:
    """The workers of a round."""

    def __init__(
        self, folder: Path, configuration: str, *, static: bool, command: list[str]
    ) -> None:
        self._make: Callable[[str], Worker] = lambda name: Worker(
            name, folder, configuration, static=static, command=command
        )
        self.workers: list[Worker] = []
        self.self_exits: list[SelfExit] = []

    def add(self) -> Worker:
        """One more worker, started; one that was removed comes back with its cache."""
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
        """Start again what ended by itself."""
        for worker in self.workers:
            left = worker.restart_if_ended()
            if left is not None:
                self.self_exits.append(left)

    def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Supervise until something is true; False if it is not after some time."""
        ends = time.monotonic() + seconds
        while not until():
            if time.monotonic() >= ends:
                return False
            self.supervise()
            time.sleep(POLL_S)
        return True

    def stop(self, seconds: float) -> list[str]:
        """SIGTERM to all; gives who did not end in time or not with code 0, and ends those by
        force.
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
        left = [
            f"{worker.name} runs {seconds:.0f} s after SIGTERM"
            for worker in stopping
            if worker.runs()
        ]
        left += [
            f"{w.name} ended with {w.exit_code()}: {w.last_words()}"
            for w in stopping
            if not w.runs() and w.exit_code() not in ENDS
        ]
        for worker in stopping:
            worker.kill()
        return left
