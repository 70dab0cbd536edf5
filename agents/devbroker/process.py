"""Processes identified by id and start time: the system may reuse an id for another program."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

_POLL_S = 0.05


def start_detached(command: list[str], *, output: Path, folder: Path) -> int:
    """Start a program in `folder` that outlives this process; returns its id.

    It has a session of its own, so that Ctrl-C here does not reach it.
    """
    # Started by a shell that ends at once: a direct child would stay a zombie until this process
    # waits for it.
    script = 'log=$1; shift; "$@" >"$log" 2>&1 </dev/null & echo $!'
    shell = ["/bin/sh", "-c", script, "sh", str(output), *command]
    return int(
        subprocess.run(
            shell, capture_output=True, text=True, check=True, cwd=folder, start_new_session=True
        ).stdout
    )


def started_at(pid: int) -> str | None:
    """Start time of a process as text of the system; None if there is no process, or only a zombie.

    In a killed process with many threads the first thread may be a zombie while others still hold
    files and ports: such a process has not ended.
    """
    proc = Path("/proc")
    if (proc / "self").exists():
        try:
            after_name = (
                (proc / str(pid) / "stat")
                .read_text(encoding="utf-8", errors="replace")
                .rpartition(")")[2]
                .split()
            )
        except OSError:
            return None
        # state, num_threads and starttime of proc(5)
        state, threads, start = after_name[0], after_name[17], after_name[19]
        return None if state == "X" or (state == "Z" and int(threads) <= 1) else start
    listed = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    state, _, start = listed.partition(" ")
    return None if not state or state.startswith("Z") else start.strip()


def is_running(pid: int, started: str) -> bool:
    """Whether the process with this id and start time runs."""
    return started_at(pid) == started


def stop(pid: int, started: str, *, grace_s: float) -> bool:
    """End the process with SIGTERM, and with SIGKILL if it still runs after `grace_s`; True if
    SIGTERM was enough.
    """
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
        if not is_running(pid, started):
            break
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until_gone(pid, started, wait_s):
            return number == signal.SIGTERM
    return True


def wait_until_gone(pid: int, started: str, timeout_s: float) -> bool:
    """Wait for the end of the process; False if it still runs after `timeout_s`."""
    ends = time.monotonic() + timeout_s
    while is_running(pid, started):
        if time.monotonic() >= ends:
            return False
        time.sleep(_POLL_S)
    return True
