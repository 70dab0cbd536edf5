"""What a worker reports about itself is a record of its topic, and plausible."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest

from driftline.agents.worker.system_metrics import SystemReader, count_start, worker_name
from driftline.schemas.decode import decode_worker_metrics
from driftline.schemas.results import encode

NOW_MS = 1_900_000_000_000


def test_figures_are_those_of_the_process_and_the_machine(tmp_path: Path) -> None:
    reader = SystemReader("w1", tmp_path, 2)
    sum(i * i for i in range(300_000))
    found = reader.read(now_ms=NOW_MS, interval_ms=60_000, lag_records=7)
    assert (found.worker, found.timestamp, found.interval_s) == ("w1", "2030-03-17T17:46:40Z", 60)
    assert (found.lag_records, found.restarts) == (7, 2)
    assert found.memory_bytes == psutil.virtual_memory().total
    usage = shutil.disk_usage(tmp_path)
    # Blocks that are kept for the superuser are neither used nor free.
    assert found.disk_free_bytes is not None
    assert abs(found.disk_free_bytes - usage.free) < 0.05 * usage.total
    assert found.disk_share is not None
    assert abs(found.disk_share - usage.used / (usage.used + usage.free)) < 0.05
    assert found.rss_bytes is not None
    assert 10 * 2**20 < found.rss_bytes < found.memory_bytes
    assert found.process_cpu is not None
    assert found.process_cpu > 0
    assert found.cpu_share is not None
    assert 0 <= found.cpu_share <= 1
    (read,), _, rejects = decode_worker_metrics([encode(found)], [0])
    assert (read, rejects) == (found, [])


def test_what_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OSError("not here")

    for name in ("cpu_percent", "virtual_memory", "disk_usage", "net_io_counters"):
        monkeypatch.setattr(psutil, name, away)
    reader = SystemReader("w1", tmp_path, None)
    found = reader.read(now_ms=NOW_MS, interval_ms=60_000, lag_records=None)
    for figure in (found.cpu_share, found.memory_share, found.disk_share, found.sent_bytes_s):
        assert figure is None
    assert b"disk_share" not in encode(found)


def test_starts_on_a_folder_are_counted_and_a_damaged_file_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert [count_start(folder) for _ in range(3)] == [0, 1, 2]
    (folder / "starts").write_bytes(b"\xff")
    assert [count_start(folder) for _ in range(2)] == [0, 1]
    assert count_start(folder / "starts") is None


def test_the_name_of_a_worker_stays_through_restarts(tmp_path: Path) -> None:
    assert worker_name("one", tmp_path) == "one"
    assert worker_name(None, tmp_path / "w2") == worker_name(None, tmp_path / "w2")
    assert worker_name(None, tmp_path / "w2") != worker_name(None, tmp_path / "w3")
