"""Tasks on a real broker: each record counts once, whatever ends the process and whatever remains
of the local copy.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
from rocksdict import Options, Rdict

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.failures import POINTS
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.changelog import journal_compaction, ledger
from driftline.agents.kafka.changelog.cache import FOLDER
from driftline.agents.kafka.task import task as task_module
from driftline.agents.kafka.task.runtime import Runtime
from driftline.agents.kafka.task.task import Task
from driftline.agents.kafka.task.tasks import Tasks
from driftline.streams.stage import State
from driftline.streams.work_slices import WorkSlices
from tests.kafka import toy
from tests.kafka.brokers import Names

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]
ALL = set(range(toy.PARTITIONS))
Sums = dict[tuple[int, bytes], int]


class Stopped(BaseException):
    """Raised instead of ending the process."""


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn the end of the process into an exception, for tests in this process."""

    def stop(code: int, why: str) -> None:
        raise Stopped(f"{code}: {why}")

    monkeypatch.setattr(failures, "stop_process", stop)


def added(first: Sums, *more: Sums) -> Sums:
    total = dict(first)
    for sums in more:
        for key, value in sums.items():
            total[key] = total.get(key, 0) + value
    return total


def worker(
    names: Names, folder: Path, partitions: set[int] = ALL, fault: str = ""
) -> subprocess.Popen[str]:
    """A worker in its own process."""
    command = [
        sys.executable,
        "-m",
        "tests.kafka.toy",
        names.servers,
        names.app,
        str(folder),
        ",".join(map(str, sorted(partitions))),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), failures.FAULT_VARIABLE: fault}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output_of(process: subprocess.Popen[str], timeout: float = 60.0) -> str:
    text, _ = process.communicate(timeout=timeout)
    return text


def work(names: Names, folder: Path, **more: int) -> None:
    asyncio.run(toy.work(toy.connection(names), folder, ALL, **more))


def restored(names: Names, folder: Path) -> dict[int, tuple[dict[bytes, int], dict[str, int]]]:
    """Totals and positions by partition, as a worker with this folder restores them."""
    runtime = Runtime(toy.connection(names), folder, memory_bytes=1 << 20)
    found = {}
    for partition in sorted(ALL):
        task = Task(runtime, "join", partition, toy.Sums)
        task.open()
        assert isinstance(task.processor, toy.Sums)
        state = task.processor.state
        totals = {name: int(value) for name in toy.NAMES if (value := state.get(name)) is not None}
        found[partition] = totals, dict(task.positions)
        task.close()
    runtime.close()
    return found


def totals(names: Names, folder: Path) -> Sums:
    """Restored totals by partition and name."""
    return {
        (partition, name): total
        for partition, (held, _) in restored(names, folder).items()
        for name, total in held.items()
    }


def test_a_kill_at_any_fault_point_loses_nothing_and_counts_nothing_twice(
    names: Names, tmp_path: Path
) -> None:
    toy.make_topics(names)
    expected = toy.send(names, toy.rows(1, 1000))
    for number, point in enumerate(POINTS):
        expected = added(expected, toy.send(names, toy.rows(10 + number, 500)))
        if point == "restoring":
            work(names, tmp_path / "state")
            shutil.rmtree(tmp_path / "state")  # otherwise no journal is read
        process = worker(names, tmp_path / "state", fault=f"kill:{point}:{1 + number % 4}")
        text = output_of(process)
        assert process.returncode == -signal.SIGKILL, f"{point}: {text}"
    work(names, tmp_path / "state")
    assert toy.sums_of(names) == expected
    assert totals(names, tmp_path / "state") == expected


def test_a_worker_that_resumes_after_a_pause_is_fenced(names: Names, tmp_path: Path) -> None:
    toy.make_topics(names)
    expected = toy.send(names, toy.rows(2, 2000))
    zombie = worker(names, tmp_path / "zombie", fault="stop:produced:3")
    wait_until_stopped(zombie.pid)
    successor = worker(names, tmp_path / "successor")
    text = output_of(successor)
    assert successor.returncode == 0, text
    assert toy.sums_of(names) == expected
    os.kill(zombie.pid, signal.SIGCONT)
    text = output_of(zombie)
    assert zombie.returncode == failures.FENCED, text
    assert "another worker has taken over the task" in text
    assert toy.sums_of(names) == expected


def wait_until_stopped(pid: int) -> None:
    for _ in range(600):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return
        time.sleep(0.05)
    raise AssertionError("the worker never came to its fault")


def truncated(cache: Path) -> None:
    for path in cache.iterdir():
        if path.suffix in (".log", ".sst") or path.name.startswith("MANIFEST"):
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size // 2)


def overwritten(cache: Path) -> None:
    for path in cache.iterdir():
        if path.suffix in (".log", ".sst"):
            path.write_bytes(b"\x5a" * path.stat().st_size)


def without_its_log(cache: Path) -> None:
    for path in cache.glob("*.log"):
        path.unlink()


def without_a_record(cache: Path) -> None:
    store = Rdict(str(cache), options=Options(raw_mode=True))
    del store[max(key for key in store.keys() if key[0] == 0xFE)]  # noqa: SIM118 (not a dictionary)
    store.close()


def test_a_damaged_copy_is_restored_from_the_journal(names: Names, tmp_path: Path) -> None:
    toy.make_topics(names)
    expected = toy.send(names, toy.rows(3, 1000))
    work(names, tmp_path / "state")
    for number, damage in enumerate((truncated, overwritten, without_its_log, without_a_record)):
        damage(tmp_path / "state" / FOLDER)
        expected = added(expected, toy.send(names, toy.rows(4 + number, 300)))
        process = worker(names, tmp_path / "state")
        text = output_of(process)
        assert process.returncode == 0, f"{damage.__name__}: {text}"
        assert toy.sums_of(names) == expected, damage.__name__
        assert totals(names, tmp_path / "state") == expected, damage.__name__


def test_a_copy_of_a_topic_that_was_created_again_is_not_used(
    names: Names, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    toy.make_topics(names)
    toy.send(names, toy.rows(5, 500))
    work(names, tmp_path / "state")
    names.clean()
    time.sleep(1.0)  # a broker deletes topics after it has acknowledged it
    toy.make_topics(names)
    expected = toy.send(names, toy.rows(6, 100))
    work(names, tmp_path / "state")
    assert "it is a copy of another topic, or of one that was deleted" in caplog.text
    assert toy.sums_of(names) == expected


def test_a_copy_that_is_ahead_of_the_journal_is_not_used(
    names: Names, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    toy.make_topics(names)
    expected = toy.send(names, toy.rows(7, 500))
    work(names, tmp_path / "state")
    runtime = Runtime(toy.connection(names), tmp_path / "state")
    checkpoint = runtime.cache.checkpoint("join", 0)
    assert checkpoint is not None
    state = runtime.cache.states("join", 0)["join"]
    state.overlay.put(b"a", b"1000000")
    ahead = type(checkpoint)(
        checkpoint.cluster_id,
        checkpoint.topic_id,
        checkpoint.state_format,
        checkpoint.next + 100,
        checkpoint.number,
        {toy.INPUT: 1},
        0,
        0,
        0,
    )
    runtime.cache.write("join", 0, [state.cut()], ahead)
    runtime.close()
    work(names, tmp_path / "state")
    assert "it ends at" in caplog.text
    assert "the journal ends at" in caplog.text
    assert toy.sums_of(names) == expected


def test_a_compacted_journal_restores_the_same_state(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_compaction, "LEAST_LOG_BYTES", 200)
    monkeypatch.setattr(ledger, "LEAST_SLICE_BYTES", 50)
    toy.make_topics(names)
    sums: Sums = {}
    totals: dict[int, dict[bytes, int]] = {partition: {} for partition in ALL}
    for turn in range(4):
        turn_rows = [*toy.rows(20 + turn, 1500), *([(1, b"gone 0")] if turn == 2 else [])]
        sums = added(sums, toy.send(names, turn_rows))
        for partition, value in turn_rows:
            name, amount = value.split(b" ")
            if name == b"gone":
                totals[partition] = {
                    kept: total
                    for kept, total in totals[partition].items()
                    if not kept.startswith(b"x")
                }
            else:
                totals[partition][name] = totals[partition].get(name, 0) + int(amount)
        work(names, tmp_path / "state", max_records=20)
    changelog = f"{names.app}-join-changelog"
    held = toy.read(names, changelog)
    for partition in ALL:
        numbers = [
            int((key or b"").split(b"/")[0]) for where, _, key, _ in held if where == partition
        ]
        assert numbers == sorted(numbers)
        assert numbers[0] > 0, "nothing was ever deleted"
        assert len(numbers) < numbers[-1]
    with_copy, without_copy = (
        restored(names, tmp_path / "state"),
        restored(names, tmp_path / "nothing"),
    )
    assert with_copy == without_copy
    assert {partition: held for partition, (held, _) in with_copy.items()} == totals
    assert toy.sums_of(names) == sums


def test_a_copy_behind_the_beginning_of_the_journal_is_not_used(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal_compaction, "LEAST_LOG_BYTES", 200)
    toy.make_topics(names)
    first = toy.send(names, toy.rows(30, 300))
    work(names, tmp_path / "old")
    second = toy.send(names, toy.rows(31, 2000))
    work(names, tmp_path / "new", max_records=20)
    third = toy.send(names, toy.rows(32, 300))
    work(names, tmp_path / "old")
    assert "the journal begins at" in caplog.text
    assert toy.sums_of(names) == added(first, second, third)


class Wide(toy.Sums):
    """Keeps each value under its own key, so that the state outgrows a small memory."""

    def process(self, positions: Mapping[str, int], /) -> list[Outgoing]:
        first = positions[toy.INPUT] - len(self.taken)
        rows = {
            b"%012d" % (first + index): b"%b %d" % row * 20 for index, row in enumerate(self.taken)
        }
        self.state.put_many(list(rows), list(rows.values()))
        return super().process(positions)


def test_a_state_larger_than_its_memory_survives_a_restart_with_and_without_a_copy(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy, "Sums", Wide)
    toy.make_topics(names)
    sent = toy.rows(40, 8000)
    expected = toy.send(names, sent)
    # A client that retries may write in another order.
    written = toy.read(names, toy.INPUT)
    assert sorted((partition, value) for partition, _, _, value in written) == sorted(sent)
    work(names, tmp_path / "state", memory_bytes=200_000)
    assert toy.sums_of(names) == expected
    for folder in (tmp_path / "state", tmp_path / "nothing"):
        runtime = Runtime(toy.connection(names), folder, memory_bytes=200_000)
        for partition in ALL:
            task = Task(runtime, "join", partition, Wide)
            task.open()
            values = {
                b"%012d" % offset: value
                for where, offset, _, value in written
                if where == partition
            }
            assert isinstance(task.processor, Wide)
            assert task.processor.state.get_many(list(values)) == [
                (value or b"") * 20 for value in values.values()
            ]
            task.close()
        runtime.close()


class Sliced(toy.Sums):
    """Adds one name in each slice; notes the records that came between the slices."""

    between: ClassVar[list[int]] = []
    slices: ClassVar[int] = 0

    def work(self, positions: Mapping[str, int], /) -> WorkSlices[list[Outgoing]]:
        taken, self.taken = self.taken, []
        outgoing: list[Outgoing] = []
        for name in toy.NAMES:
            later = self.taken
            self.taken = [row for row in taken if row[0] == name]
            outgoing += self.process(positions)
            self.taken = later
            Sliced.slices += 1
            yield
        self.between.append(len(self.taken))
        return outgoing


def test_records_that_come_between_the_slices_of_a_commit_belong_to_the_next(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy, "Sums", Sliced)
    monkeypatch.setattr(task_module, "_TURN_S", 0.0)
    toy.make_topics(names)
    expected = toy.send(
        names, [row for row in toy.rows(41, 4000) if not row[1].startswith(b"gone")]
    )
    turns: list[int] = []

    async def serve() -> None:
        async def others() -> None:
            while True:
                turns.append(Sliced.slices)
                await asyncio.sleep(0)

        serving = asyncio.create_task(others())
        await toy.work(toy.connection(names), tmp_path / "state", ALL, max_records=20)
        serving.cancel()

    asyncio.run(serve())
    assert toy.sums_of(names) == expected
    # Others had a turn after each slice of any task, and records were taken there.
    assert max(after - before for before, after in pairwise(turns)) <= toy.PARTITIONS
    assert any(Sliced.between)
    assert totals(names, tmp_path / "state") == expected


class Refused(toy.Sums):
    """Writes to a partition that does not exist, the first time it processes in this process; later
    it does not.
    """

    tried: ClassVar[set[int]] = set()
    opened: ClassVar[list[tuple[int, dict[str, int]]]] = []

    def __init__(
        self, partition: int, state_of: Callable[[str], State], positions: Mapping[str, int]
    ) -> None:
        super().__init__(partition, state_of, positions)
        self.opened.append((partition, dict(positions)))

    def process(self, positions: Mapping[str, int], /) -> list[Outgoing]:
        outgoing = super().process(positions)
        if outgoing and self.partition == 2 and positions[toy.INPUT] > 300 and 2 not in self.tried:
            self.tried.add(2)
            outgoing.append(Outgoing(toy.OUTPUT, 99, b"a", b"1"))
        return outgoing


def test_a_task_is_opened_again_after_an_aborted_transaction(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(toy, "Sums", Refused)
    toy.make_topics(names)
    expected = toy.send(names, toy.rows(50, 3000))
    work(names, tmp_path / "state", max_records=100)
    assert "a transaction was aborted, the task is opened again" in caplog.text
    assert [partition for partition, _ in Refused.opened].count(2) == 2
    assert toy.sums_of(names) == expected


def test_a_driver_that_waits_for_room_continues_when_the_task_is_dropped(
    names: Names, tmp_path: Path
) -> None:
    toy.make_topics(names)

    async def wait() -> None:
        runtime = Runtime(toy.connection(names), tmp_path / "state", max_records=1)
        task = Task(runtime, "join", 0, toy.Sums)
        await asyncio.get_running_loop().run_in_executor(None, task.open)
        task.take(toy.ReceivedRecords(toy.INPUT, 0, [0], [None], [b"a 1"], [0], 0, 1))
        waiting = asyncio.ensure_future(task.room())
        await asyncio.sleep(0.05)
        assert not waiting.done(), "nothing commits here, so there is no room"
        task.abandon()
        await waiting
        task.close()
        runtime.close()

    asyncio.run(wait())


def test_a_delivery_that_skips_records_ends_the_process(
    names: Names, tmp_path: Path, stopped: None
) -> None:
    toy.make_topics(names)

    async def deliver() -> None:
        runtime = Runtime(toy.connection(names), tmp_path / "state")
        tasks = Tasks(runtime, "join", toy.Sums)
        await tasks.assign({0})
        task = tasks.get(0)
        assert task is not None
        task.take(toy.ReceivedRecords(toy.INPUT, 0, [5, 7], [None] * 2, [b"a 1"] * 2, [0, 0], 5, 9))
        assert task.positions == {toy.INPUT: 9}, (
            "the first delivery of a topic may begin anywhere; markers move the position on"
        )
        task.take(
            toy.ReceivedRecords(
                toy.INPUT, 0, [7, 8, 9, 12], [None] * 4, [b"a 10"] * 4, [0] * 4, 7, 13
            )
        )
        task.take(toy.ReceivedRecords(toy.INPUT, 0, [12], [None], [b"a 100"], [0], 12, 13))
        await task.commit()
        assert task.processor.state.get(b"a") == b"22", "of 7, 8, 9 and 12 the last two are new"  # type: ignore[attr-defined]
        with pytest.raises(
            Stopped,
            match=r"amounts\[0\] was delivered from offset 14 on, but 13 is next; "
            "records are missing",
        ):
            task.take(toy.ReceivedRecords(toy.INPUT, 0, [14], [None], [b"a 1"], [0], 14, 15))
        await tasks.close()
        runtime.close()

    asyncio.run(deliver())


def test_nothing_is_written_when_nothing_changed(names: Names, tmp_path: Path) -> None:
    toy.make_topics(names)
    toy.send(names, toy.rows(60, 200))
    work(names, tmp_path / "state")
    changelog = f"{names.app}-join-changelog"
    before = len(toy.read(names, changelog, committed=False))

    async def idle() -> None:
        runtime = Runtime(toy.connection(names), tmp_path / "state")
        tasks = Tasks(runtime, "join", toy.Sums)
        await tasks.assign(ALL)
        await asyncio.sleep(0.5)
        await tasks.finish()
        await tasks.close()
        runtime.close()

    asyncio.run(idle())
    assert len(toy.read(names, changelog, committed=False)) == before


def test_a_changelog_with_a_deleted_beginning_is_refused(
    names: Names, tmp_path: Path, stopped: None
) -> None:
    toy.make_topics(names)
    toy.send(names, toy.rows(70, 1000))
    work(names, tmp_path / "state", max_records=20)
    connection = toy.connection(names)
    runtime = Runtime(connection, tmp_path / "state")
    journal = runtime.journal("join", 0, lambda: False)
    checkpoint = runtime.cache.checkpoint("join", 0)
    assert checkpoint is not None
    middle = next(
        offset
        for where, offset, key, _ in toy.read(names, f"{names.app}-join-changelog")
        if where == 0 and (key or b"").startswith(b"2/")
    )
    assert runtime.delete_before(journal, middle)
    runtime.close()
    runtime = Runtime(connection, tmp_path / "nothing")
    with pytest.raises(
        Stopped,
        match=r"begins at \d+, but records from 0 on are needed; they were deleted from outside",
    ):
        Task(runtime, "join", 0, toy.Sums).open()
    runtime.close()


def test_a_missing_changelog_is_refused_with_a_remedy(
    names: Names, tmp_path: Path, stopped: None
) -> None:
    runtime = Runtime(toy.connection(names), tmp_path / "state")
    with pytest.raises(
        Stopped,
        match=r"changelog topic .*-join-changelog does not exist; "
        "create it: driftline topics create",
    ):
        Task(runtime, "join", 0, toy.Sums).open()
    runtime.close()


def test_two_workers_cannot_share_a_folder(names: Names, tmp_path: Path, stopped: None) -> None:
    runtime = Runtime(toy.connection(names), tmp_path / "state")
    with pytest.raises(
        Stopped, match="end the other worker that uses this folder or give another --state"
    ):
        Runtime(toy.connection(names), tmp_path / "state")
    runtime.close()
