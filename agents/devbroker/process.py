"""Processes told apart by id and start time: an id alone may have been given to another program
since.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

_POLL_S = 0.05


def start_detached(command: list[str], *, output: Path, folder: Path) -> int:
    """Start a program that goes on without us, in `folder` and in a session of its own, so that
    Ctrl-C here does not reach it; its id.
    """
    # The shell leaves it to the system at once: a child of ours would stay a zombie until this
    # process has waited for it.
    script = 'log=$1; shift; "$@" >"$log" 2>&1 </dev/null & echo $!'
    shell = ["/bin/sh", "-c", script, "sh", str(output), *command]
    return int(
        subprocess.run(
            shell, capture_output=True, text=True, check=True, cwd=folder, start_new_session=True
        ).stdout
    )


def started_at(pid: int) -> str | None:
    """When the process was started, in the system's own words; None where there is none, or only a
    zombie that nobody has waited for.

    Of a killed process with many threads the first may be a zombie while others still hold its
    files and ports: it has not ended.
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
        state, threads, start = (
            after_name[0],
            after_name[17],
            after_name[19],
        )  # state, num_threads and starttime of proc(5)
        return None if state == "X" or (state == "Z" and int(threads) <= 1) else start
    said = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    state, _, start = said.partition(" ")
    return None if not state or state.startswith("Z") else start.strip()


def is_running(pid: int, started: str) -> bool:
    """Whether that very process still runs."""
    return started_at(pid) == started


def stop(pid: int, started: str, *, grace_s: float) -> bool:
    """End that very process:

    SIGTERM, and SIGKILL if it has not ended after `grace_s`. True if it ended by itself.
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
    """Wait for the end of that very process; False if it still runs after `timeout_s`."""
    ends = time.monotonic() + timeout_s
    while is_running(pid, started):
        if time.monotonic() >= ends:
            return False
        time.sleep(_POLL_S)
    return True
