"""Processor time (user and system) and memory of processes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import psutil


class Usage(msgspec.Struct, frozen=True):
    """Processor time of one process in a measurement, in seconds, and its peak resident memory."""

    cpu_s: float
    peak_mib: float


class Meter:
    """Measures processes from its creation on.

    Parameters
    ----------
    pids
        Ids of the processes, by name.
    """

    def __init__(self, **pids: int) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._begun = {name: cpu_s(process) for name, process in self._processes.items()}

    def read(self) -> dict[str, Usage]:
        """Usage of each process so far; raises `psutil.NoSuchProcess` if one has ended."""
        return {
            name: Usage(cpu_s(process) - self._begun[name], peak_mib(process))
            for name, process in self._processes.items()
        }


def cpu_s(process: psutil.Process) -> float:
    """User and system time of all threads of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def peak_mib(process: psutil.Process) -> float:
    """Peak resident memory if the system reports it, else the present one."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return float(process.memory_info().rss) / (1 << 20)
