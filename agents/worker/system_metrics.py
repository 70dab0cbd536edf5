"""Figures of the worker and its machine, for `worker-metrics`.

They are the machine's as psutil sees them: in a container those of its host, but for the disk.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

from driftline.schemas.reports import WorkerMetrics
from driftline.schemas.times import SECOND_MS, format_time

STARTS_FILE: Final = "starts"
_T = TypeVar("_T")


class SystemReader:
    """Reads the figures of one worker.

    Parameters
    ----------
    worker
        Name of the worker.
    folder
        Folder of its state, which exists.
    restarts
        See `WorkerMetrics`.
    """

    def __init__(self, worker: str, folder: Path, restarts: int | None) -> None:
        self._worker, self._folder, self._restarts = worker, folder, restarts
        self._host = socket.gethostname()
        self._process = psutil.Process()
        # Shares are those since the call before.
        _read(psutil.cpu_percent)
        _read(self._process.cpu_percent)
        self._network = self._sent_and_received()

    def read(self, *, now_ms: int, interval_ms: int, lag_records: int | None) -> WorkerMetrics:
        """The figures now, shares and rates since the call before.

        Parameters
        ----------
        now_ms
            The time of the record.
        interval_ms
            Until the next call.
        """
        cpu, process = _read(psutil.cpu_percent), _read(self._process.cpu_percent)
        memory, held = _read(psutil.virtual_memory), _read(self._process.memory_info)
        disk = _read(lambda: psutil.disk_usage(str(self._folder)))
        before, self._network = self._network, self._sent_and_received()
        sent, received = _rates(before, self._network)
        return WorkerMetrics(
            worker=self._worker,
            timestamp=format_time(now_ms),
            host=self._host,
            interval_s=interval_ms / SECOND_MS,
            cpu_share=_share(cpu),
            process_cpu=None if process is None else round(process / 100, 3),
            memory_share=None if memory is None else _share(memory.percent),
            memory_bytes=None if memory is None else memory.total,
            rss_bytes=None if held is None else held.rss,
            disk_share=None if disk is None else _share(disk.percent),
            disk_free_bytes=None if disk is None else disk.free,
            sent_bytes_s=sent,
            received_bytes_s=received,
            lag_records=lag_records,
            restarts=self._restarts,
        )

    def _sent_and_received(self) -> tuple[float, Any] | None:
        counters = _read(psutil.net_io_counters)
        return None if counters is None else (time.monotonic(), counters)


def count_start(folder: Path) -> int | None:
    """Note in the folder of the state that a worker starts; gives how often one did before, None if
    the folder cannot be written.
    """
    path = folder / STARTS_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = path.read_bytes() if path.exists() else b""
        before = int(text) if text.isdigit() else 0
        path.write_bytes(b"%d" % (before + 1))
    except OSError:
        return None
    return before


def worker_name(static_member: str | None, folder: Path) -> str:
    """The configured name, or machine and folder: one that stays through restarts.

    Examples
    --------
    >>> worker_name("w1", Path("/var/lib/driftline"))
    'w1'
    """
    return static_member or f"{socket.gethostname()}/{folder.resolve().name}"


def _read(call: Callable[[], _T]) -> _T | None:
    try:
        return call()
    except (OSError, psutil.Error, RuntimeError):
        return None


def _share(percent: float | None) -> float | None:
    return None if percent is None else round(min(1.0, max(0.0, percent / 100)), 4)


def _rates(
    before: tuple[float, Any] | None, now: tuple[float, Any] | None
) -> tuple[float | None, float | None]:
    """Bytes a second sent and received; None where they are not known."""
    if before is None or now is None or now[0] <= before[0]:
        return None, None
    seconds, was, is_now = now[0] - before[0], before[1], now[1]
    sent, received = is_now.bytes_sent - was.bytes_sent, is_now.bytes_recv - was.bytes_recv
    # Counters begin anew when a network is taken away.
    return (
        round(sent / seconds, 1) if sent >= 0 else None,
        round(received / seconds, 1) if received >= 0 else None,
    )
