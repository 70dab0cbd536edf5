"""The durable state: what survives, what does not, and how much memory it takes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agents.state import task_state
from agents.state.overlay import Overlay
from agents.state.rocks import RocksState, StateError


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
        "from agents.state.rocks import RocksState\n"
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


def memory_of(overlay: Overlay) -> int:
    return sum(len(key) + len(value or b"") for values in (overlay._table, overlay._cache) for key, value in values.items())


def test_a_state_larger_than_its_memory_is_spilled_and_read_back(tmp_path: Path) -> None:
    rocks = RocksState(tmp_path / "state", tasks=1, memory_bytes=400_000)
    for batch in range(50):
        rocks.task(0, 0).put_many([b"%d/%d" % (batch, row) for row in range(200)], [b"x" * 100] * 200)
        rocks.commit({})
        assert memory_of(rocks.task(0, 0)) <= 400_000
    assert rocks.task(0, 0).get_many([b"0/0", b"nothing", b"49/199"]) == [b"x" * 100, None, b"x" * 100]
    rocks.close()
    again = RocksState(tmp_path / "state", tasks=1, memory_bytes=400_000)
    everything = [b"%d/%d" % (batch, row) for batch in range(50) for row in range(200)]
    assert set(again.task(0, 0).get_many(everything)) == {b"x" * 100}
    again.close()


def test_putting_the_value_that_is_there_is_no_change(tmp_path: Path) -> None:
    rocks = RocksState(tmp_path / "state", tasks=1)
    task = rocks.task(0, 0)
    task.put(b"a", b"1")
    rocks.commit({})
    task.put(b"a", b"1")
    assert not task.changed
    task.put(b"a", b"2")
    task.put(b"a", b"1")
    assert task.changed
    rocks.commit({})
    assert task.get(b"a") == b"1"
    rocks.close()


def test_records_do_not_pile_up_where_entries_come_and_go(tmp_path: Path) -> None:
    rocks = RocksState(tmp_path / "state", tasks=1)
    task = rocks.task(0, 0)
    for batch in range(300):
        task.put_many([b"%d/%d" % (batch, row) for row in range(100)], [b"x" * 200] * 100)
        for row in range(100):
            task.delete(b"%d/%d" % (batch - 10, row))
        rocks.commit({})
    records = [value for key, value in rocks._db.items() if key[0] == 0xFE]
    assert sum(map(len, records)) < 2_000_000, "6 MB were written, 0.2 MB are left"
    rocks.close()


@pytest.mark.parametrize("memory_bytes", [0, 20_000, 1 << 30])
@pytest.mark.parametrize("seed", range(3))
def test_reopening_after_any_commit_gives_back_what_was_committed(
    tmp_path: Path, seed: int, memory_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_state, "_MIN_RECORD_BYTES", 2_000)  # so that all of records, snapshots and spills happen
    draw = random.Random(seed)
    expected: dict[bytes, bytes] = {}
    rocks = RocksState(tmp_path / "state", tasks=1, memory_bytes=memory_bytes)
    for step in range(150):
        task = rocks.task(0, 0)
        for _ in range(draw.randrange(6)):
            key, action = b"%03d" % draw.randrange(200), draw.random()
            if action < 0.6:
                expected[key] = b"%d" % step * 40
                task.put(key, expected[key])
            elif action < 0.9:
                expected.pop(key, None)
                task.delete(key)
            else:
                end = b"%03d" % min(int(key) + draw.randrange(30), 200)
                expected = {k: v for k, v in expected.items() if not key <= k < end}
                task.delete_range(key, end)
        rocks.commit({"step": b"%d" % step})
        if draw.random() < 0.15:
            task.put(b"not committed", b"x")
            rocks.close()
            rocks = RocksState(tmp_path / "state", tasks=1, memory_bytes=memory_bytes)
            assert rocks.mark("step") == b"%d" % step
        keys = [b"%03d" % number for number in range(200)]
        assert rocks.task(0, 0).get_many([*keys, b"not committed"]) == [*map(expected.get, keys), None], f"seed {seed}, step {step}"
    rocks.close()
