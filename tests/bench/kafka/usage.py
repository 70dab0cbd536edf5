"""What processes use: processor time (user and system) and memory, by process."""

from __future__ import annotations

from pathlib import Path

import msgspec
import psutil


class Used(msgspec.Struct, frozen=True):
    """Processor time of one process between two moments, in seconds, and its largest resident
    memory so far.
    """

    cpu_s: float
    peak_mib: float


class Meter:
    """Processor time of some processes from one moment on.

    Parameters
    ----------
    pids
        Their ids, by name.
    """

    def __init__(self, **pids: int) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._begun = {name: cpu_s(process) for name, process in self._processes.items()}

    def read(self) -> dict[str, Used]:
        """What each has used since; raises `psutil.NoSuchProcess` for one that has ended."""
        return {
            name: Used(cpu_s(process) - self._begun[name], peak_mib(process))
            for name, process in self._processes.items()
        }


def cpu_s(process: psutil.Process) -> float:
    """User and system time of a process with all its threads."""
    times = process.cpu_times()
    return float(times.user + times.system)


def peak_mib(process: psutil.Process) -> float:
    """Largest resident memory where the system tells it, else the present one."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return float(process.memory_info().rss) / (1 << 20)
