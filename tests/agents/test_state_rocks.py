"""Durable state: what survives a restart, a kill and damage, and how much memory it takes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from rocksdict import Options, Rdict, WriteBatch

from driftline.agents.state import task_state
from driftline.agents.state.rocks import RocksState, StateError

Write = Callable[[WriteBatch], None]


def test_reopened_state_has_the_committed_changes_of_all_tasks_and_the_marks(
    tmp_path: Path,
) -> None:
    rocks = RocksState(tmp_path / "state", tasks=2)
    rocks.task(0, 7).put(b"k", b"v")
    rocks.task(3, 0).put(b"k", b"w")
    rocks.commit({"position": b"17"})
    rocks.close()

    again = RocksState(tmp_path / "state", tasks=2)
    assert (again.task(0, 7).get(b"k"), again.task(3, 0).get(b"k"), again.mark("position")) == (
        b"v",
        b"w",
        b"17",
    )
    assert again.mark("nothing") is None
    again.close()


def test_finish_leaves_the_marks_and_deletes_all_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_state, "SLICE_BYTES", 100)
    rocks = RocksState(tmp_path / "state", tasks=1, memory_bytes=10_000)
    for number in range(200):  # writes records, and spills in slices
        rocks.task(0, 7).put_many([b"%d" % number], [bytes(100)])
        rocks.commit({"step": b"%d" % number, "name": b"x"})
    assert next(rocks.task_state(0, 7).iterate_spilled(b""), None) is not None
    rocks.finish({"step": b"done"})
    rocks.close()

    again = RocksState(tmp_path / "state", tasks=1)
    assert (again.mark("step"), again.mark("name")) == (b"done", b"x")
    assert again.task_state(0, 7).stored_extent == task_state.EMPTY_EXTENT
    assert list(again.task_state(0, 7).iterate_spilled(b"")) == []
    again.close()
    database = Rdict(str(tmp_path / "state"), options=Options(raw_mode=True))
    assert {key[:1] for key, _ in database.items()} == {b"\xff"}
    database.close()


def test_reopened_state_has_no_uncommitted_changes(tmp_path: Path) -> None:
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


def test_commit_survives_a_kill_of_the_process(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from driftline.agents.state.rocks import RocksState\n"
        "rocks = RocksState(Path(sys.argv[1]), tasks=1)\n"
        "rocks.task(0, 0).put(b'a', b'committed')\n"
        "rocks.commit({'step': b'1'})\n"
        "rocks.task(0, 0).put(b'a', b'not committed')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "state")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    rocks = RocksState(tmp_path / "state", tasks=1)
    assert rocks.task(0, 0).get(b"a") == b"committed"
    rocks.close()


def test_state_in_use_by_another_process_is_an_error_with_its_path(tmp_path: Path) -> None:
    rocks = RocksState(tmp_path / "state", tasks=1)
    with pytest.raises(StateError, match="state: cannot open"):
        RocksState(tmp_path / "state", tasks=1)
    rocks.close()


def test_state_larger_than_its_memory_is_spilled_and_read_back(tmp_path: Path) -> None:
    rocks = RocksState(tmp_path / "state", tasks=1, memory_bytes=400_000)
    for batch in range(50):
        rocks.task(0, 0).put_many(
            [b"%d/%d" % (batch, row) for row in range(200)], [b"x" * 100] * 200
        )
        rocks.commit({})
        task = rocks.task(0, 0)
        assert task.table_bytes() + task.cache_bytes <= 400_000
    assert rocks.task(0, 0).get_many([b"0/0", b"nothing", b"49/199"]) == [
        b"x" * 100,
        None,
        b"x" * 100,
    ]
    rocks.close()
    again = RocksState(tmp_path / "state", tasks=1, memory_bytes=400_000)
    all_keys = [b"%d/%d" % (batch, row) for batch in range(50) for row in range(200)]
    assert set(again.task(0, 0).get_many(all_keys)) == {b"x" * 100}
    again.close()


def test_putting_the_present_value_is_no_change(tmp_path: Path) -> None:
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


def test_records_stay_small_while_entries_come_and_go(tmp_path: Path) -> None:
    rocks = RocksState(tmp_path / "state", tasks=1)
    task = rocks.task(0, 0)
    for batch in range(300):
        task.put_many([b"%d/%d" % (batch, row) for row in range(100)], [b"x" * 200] * 100)
        for row in range(100):
            task.delete(b"%d/%d" % (batch - 10, row))
        rocks.commit({})
    rocks.close()
    with closing(Rdict(str(tmp_path / "state"), options=Options(raw_mode=True))) as database:
        records = [value for key, value in database.items() if key[0] == 0xFE]
    assert sum(map(len, records)) < 2_000_000, "6 MB were written, the state has 0.2 MB"


@pytest.mark.parametrize("memory_bytes", [0, 20_000, 1 << 30])
@pytest.mark.parametrize("seed", range(3))
def test_state_reopened_after_any_commit_equals_a_dictionary(
    tmp_path: Path, seed: int, memory_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small, so that the run has records, snapshots and spills.
    monkeypatch.setattr(task_state, "MIN_RECORD_BYTES", 2_000)
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
        assert rocks.task(0, 0).get_many([*keys, b"not committed"]) == [
            *map(expected.get, keys),
            None,
        ], f"seed {seed}, step {step}"
    rocks.close()


def test_state_too_large_for_a_snapshot_is_spilled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_state, "MIN_RECORD_BYTES", 2_000)
    monkeypatch.setattr(task_state, "MAX_SNAPSHOT_BYTES", 10_000)
    rocks, expected = RocksState(tmp_path / "state"), {}
    for step in range(40):
        for row in range(20):
            expected[b"%d/%d" % (step % 10, row)] = b"%03d" % step * 30
        rocks.task(0, 0).put_many(list(expected), list(expected.values()))
        rocks.commit({})
    assert rocks.task_state(0, 0).extent.slices > 0
    rocks.close()
    again = RocksState(tmp_path / "state")
    assert again.task(0, 0).get_many(list(expected)) == list(expected.values())
    again.close()


def test_database_left_between_two_batches_of_a_spill_has_its_last_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_state, "SLICE_BYTES", 500)
    kills_in_spill = 0
    for batches in range(40):
        folder, draw = tmp_path / f"{batches}", random.Random(11)
        rocks, expected, written = RocksState(folder, memory_bytes=6_000), {}, 0

        class Killed(Exception):
            pass

        def write(batch: WriteBatch, whole: Write = rocks._write, limit: int = batches) -> None:
            nonlocal written
            if written == limit:
                raise Killed
            written += 1
            whole(batch)

        monkeypatch.setattr(rocks, "_write", write)
        states = [{}]
        with suppress(Killed):
            for step in range(30):
                for _ in range(8):
                    key = b"%03d" % draw.randrange(60)
                    expected[key] = b"%d" % step * 10
                    rocks.task(0, 0).put(key, expected[key])
                deleted = b"%03d" % draw.randrange(60)
                expected.pop(deleted, None)
                rocks.task(0, 0).delete(deleted)
                if step % 4 == 3:
                    expected = {
                        key: value for key, value in expected.items() if not b"020" <= key < b"030"
                    }
                    rocks.task(0, 0).delete_range(b"020", b"030")
                states.append(dict(expected))
                rocks.commit({"step": b"%d" % (step + 1)})
        rocks.close()
        again = RocksState(folder, memory_bytes=6_000)
        keys = [b"%03d" % number for number in range(60)]
        step = int(again.mark("step") or b"0")
        assert again.task(0, 0).get_many(keys) == [states[step].get(key) for key in keys], (
            f"{batches} batches, step {step}"
        )
        kills_in_spill += written > step
        # Continue from there: entries that were written twice are spilled again.
        again.task(0, 0).put(b"000", b"again")
        again.task(0, 0).delete(b"001")
        for _ in range(20):
            again.task(0, 0).put_many(keys[2:], [b"x" * 200] * 58)
            again.commit({})
        again.close()
        last = RocksState(folder)
        assert last.task(0, 0).get_many(keys) == [b"again", None, *[b"x" * 200] * 58]
        last.close()
    assert kills_in_spill > 10, "hardly any kill was in a spill"


def test_missing_slice_of_a_spill_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_state, "SLICE_BYTES", 500)
    monkeypatch.setattr(task_state, "NUMBERED_SLICES", 5)
    rocks = RocksState(tmp_path / "state", memory_bytes=0)
    for step in range(6):
        rocks.task(0, 0).put_many([b"%d/%d" % (step, row) for row in range(10)], [b"x" * 100] * 10)
        rocks.commit({})
    rocks.close()
    numbers = [
        key
        for key, _ in Rdict(str(tmp_path / "state"), options=Options(raw_mode=True)).items()
        if key[0] == 0xFD
    ]
    assert 5 <= len(numbers) <= 9, "of 12; the last spill has four"
    for missing in (numbers[1], numbers[-2], numbers[-1]):
        shutil.copytree(tmp_path / "state", tmp_path / "cut")
        with closing(Rdict(str(tmp_path / "cut"), options=Options(raw_mode=True))) as db:
            db.delete(missing)
            if missing == numbers[-1]:
                db.delete(b"\x00\x00\x00" + b"5/9")
        rocks = RocksState(tmp_path / "cut")
        if missing == numbers[-1]:
            # The last commit knows nothing of the spill after it, and its record exists.
            assert rocks.task(0, 0).get(b"5/9") == b"x" * 100
        else:
            with pytest.raises(
                StateError, match="is damaged: parts of stage 0, partition 0 are missing"
            ):
                rocks.task(0, 0)
        rocks.close()
        shutil.rmtree(tmp_path / "cut")


def two_sessions(folder: Path, keys: int) -> tuple[Path, list[dict[bytes, bytes]]]:
    """A database after two sessions that ended with kill -9, and the state after each commit."""
    draws, state, after = random.Random(7), {}, [{}]
    for session in range(2):
        store = RocksState(folder / f"{session}")
        overlay = store.task(0, 0)
        for _ in range(20):
            for key in (draws.randbytes(16) for _ in range(keys)):
                state[key] = draws.randbytes(60)
                overlay.put(key, state[key])
            store.commit({"commits": str(len(after)).encode()})
            after.append(dict(state))
        shutil.copytree(folder / f"{session}", folder / f"{session + 1}")
        store.close()
    return folder / "2", after


def read_back(folder: Path) -> tuple[int, dict[bytes, bytes]] | None:
    """Number of the last commit, and the state; None if damage was reported."""
    try:
        store = RocksState(folder)
    except StateError:
        return None
    try:
        task, mark = store.task_state(0, 0), store.mark("commits")
        table = dict(
            zip(
                task.overlay.keys_in_memory(),
                task.overlay.get_many(task.overlay.keys_in_memory()),
                strict=True,
            )
        )
        return int(mark or b"0"), dict(task.iterate_spilled(b"")) | table
    except StateError:
        return None
    finally:
        store.close()


@pytest.mark.parametrize("pattern", ["MANIFEST-*", "*.log", "*.sst", "CURRENT"])
def test_truncated_file_gives_an_older_commit_or_is_reported_as_damage(
    tmp_path: Path, pattern: str
) -> None:
    folder, after = two_sessions(tmp_path, 20)
    (file,) = folder.glob(pattern)
    size, older, damaged = file.stat().st_size, 0, 0
    for length in range(0, size, max(1, size // 60)):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "cut")
        os.truncate(tmp_path / "cut" / file.name, length)
        restored = read_back(tmp_path / "cut")
        if restored is None:
            damaged += 1
        else:
            commits, state = restored
            assert state == after[commits]
            older += 1
    assert (older if pattern == "*.log" else damaged) > 10


def test_overwritten_bytes_give_an_older_commit_or_are_reported_as_damage(tmp_path: Path) -> None:
    folder, after = two_sessions(tmp_path, 2000)
    (file,) = folder.glob("*.sst")
    draws, damaged = random.Random(3), 0
    for _ in range(20):
        shutil.rmtree(tmp_path / "hit", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "hit")
        with (tmp_path / "hit" / file.name).open("r+b") as hit:
            hit.seek(draws.randrange(file.stat().st_size - 8))
            hit.write(draws.randbytes(8))
        restored = read_back(tmp_path / "hit")
        if restored is None:
            damaged += 1
        else:
            assert restored[1] == after[restored[0]]
    assert damaged > 5


def test_damage_among_spilled_values_is_an_error_and_not_their_end(tmp_path: Path) -> None:
    store = RocksState(tmp_path / "state", memory_bytes=1 << 20)
    overlay, draws = store.task(0, 0), random.Random(5)
    for _ in range(40):
        for _ in range(500):
            overlay.put(draws.randbytes(16), draws.randbytes(60))
        store.commit({})
    store.close()
    RocksState(tmp_path / "state").close()  # moves the log into a table
    largest = max((tmp_path / "state").glob("*.sst"), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as hit:
        hit.seek(largest.stat().st_size // 2)
        hit.write(bytes(64))
    store = RocksState(tmp_path / "state")
    with pytest.raises(StateError, match="cannot read the state"):
        list(store.task_state(0, 0).iterate_spilled(b""))
    store.close()
