"""The durable state: what survives, what does not, and how much memory it takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agents.inprocess.overlay import Overlay
from agents.inprocess.rocks import RocksState, StateError


def test_committed_changes_of_all_tasks_and_marks_are_there_after_reopening(tmp_path: Path) -> None:
    rocks = RocksState(tmp_path / "state", tasks=2)
    rocks.task(0, 7).put(b"k", b"v")
    rocks.task(3, 0).put(b"k", b"w")
    rocks.commit({"position": b"17"})
    rocks.close()

    again = RocksState(tmp_path / "state", tasks=2)
    assert (again.task(0, 7).get(b"k"), again.task(3, 0).get(b"k"), again.mark("position")) == (b"v", b"w", b"17")
    assert again.mark("nothing") is None
    again.close()


def test_what_was_not_committed_is_gone_after_reopening(tmp_path: Path) -> None:
    rocks = RocksState(tmp_path / "state", tasks=1)
    rocks.task(0, 0).put(b"a", b"1")
    rocks.commit({"step": b"1"})
    rocks.task(0, 0).put(b"a", b"2")
    rocks.task(0, 0).delete_range(b"a", b"b")
    rocks.close()

    again = RocksState(tmp_path / "state", tasks=1)
    assert again.task(0, 0).get(b"a") == b"1"
    assert again.mark("step") == b"1"
    again.close()


def test_a_commit_survives_a_kill_of_the_process(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from agents.inprocess.rocks import RocksState\n"
        "rocks = RocksState(Path(sys.argv[1]), tasks=1)\n"
        "rocks.task(0, 0).put(b'a', b'committed')\n"
        "rocks.commit({'step': b'1'})\n"
        "rocks.task(0, 0).put(b'a', b'not committed')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "state")], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    rocks = RocksState(tmp_path / "state", tasks=1)
    assert rocks.task(0, 0).get(b"a") == b"committed"
    rocks.close()


def test_a_state_in_use_is_refused_with_its_path(tmp_path: Path) -> None:
    rocks = RocksState(tmp_path / "state", tasks=1)
    with pytest.raises(StateError, match="state: cannot open"):
        RocksState(tmp_path / "state", tasks=1)
    rocks.close()


def test_the_cache_stays_within_its_budget(tmp_path: Path) -> None:
    stored: dict[bytes, bytes] = {}
    overlay = Overlay(lambda keys: [stored.get(key) for key in keys], cache_bytes=200_000)
    for batch in range(50):
        for row in range(200):
            overlay.put(b"%d/%d" % (batch, row), b"x" * 100)
        stored.update((key, value) for key, value in overlay.changes().items() if value is not None)
        overlay.settle()
    cached = [*overlay._recent.items(), *overlay._old.items()]
    assert 0 < sum(len(key) + len(value or b"") for key, value in cached) <= 200_000
    assert overlay.get_many([b"0/0", b"49/199"]) == [b"x" * 100] * 2
