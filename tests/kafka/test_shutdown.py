"""A benchmark or a campaign that ends early leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kafka.brokers import need_java

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/cmdline").exists(), reason="needs /proc to look for processes"
    ),
]
BENCH = ("tests.bench.kafka", "transactions", "--partitions", "4")
CHAOS = ("tests.chaos", "--kills", "2", "--restoring", "0")
LONGEST_S = 120.0


def commands(folder: Path) -> list[str]:
    """Command lines of all processes that name a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:  # it ended meanwhile
            continue
        if str(folder) in words:
            found.append(words)
    return found


def wait_until(claim: Callable[[], bool]) -> bool:
    ends = time.monotonic() + LONGEST_S
    while not claim():
        if time.monotonic() >= ends:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("arguments", "number"),
    [(BENCH, signal.SIGTERM), (CHAOS, signal.SIGINT)],
    ids=["bench", "chaos"],
)
def test_an_early_end_leaves_no_broker_and_no_worker(
    arguments: tuple[str, ...], number: signal.Signals, tmp_path: Path
) -> None:
    need_java()
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-m", *arguments, "--out", str(tmp_path / "result.json")]
    with (tmp_path / "output.txt").open("wb") as output:
        running = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "TMPDIR": str(work)}
        )
    try:
        started = wait_until(
            lambda: (
                running.poll() is not None
                or any(" worker --config " in words for words in commands(work))
            )
        )
        assert started, "no worker was started"
        assert running.poll() is None, (tmp_path / "output.txt").read_text()
        assert any("kafka.Kafka" in words for words in commands(work)), (
            "the broker is to be looked for in another way"
        )
        running.send_signal(number)
        assert running.wait(LONGEST_S) == 128 + number
    finally:
        running.kill()
    assert wait_until(lambda: not commands(work)), commands(work)
