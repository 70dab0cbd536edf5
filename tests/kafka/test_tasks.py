"""Tasks of a worker while partitions are reassigned, on a real broker."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from driftline.agents.kafka.broker.failures import Abandoned
from driftline.agents.kafka.task.runtime import Runtime
from driftline.agents.kafka.task.task import Task
from driftline.agents.kafka.task.tasks import Tasks
from tests.kafka import toy
from tests.kafka.brokers import Names

pytestmark = pytest.mark.kafka


def test_assignments_may_be_repeated_changed_and_cancelled(names: Names, tmp_path: Path) -> None:
    toy.make_topics(names)
    expected = toy.send(names, toy.rows(61, 1000))

    async def reassign() -> None:
        connection = toy.connection(names)
        runtime = Runtime(connection, tmp_path / "state", max_records=50)
        tasks = Tasks(runtime, "join", toy.Sums)
        first = asyncio.ensure_future(tasks.assign({0, 1}))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await tasks.assign({1, 2})
        assert {task.partition for task in tasks.tasks()} == {1, 2}
        kept = tasks.get(1)
        await tasks.assign({1, 2})
        await tasks.assign({0, 1, 2, 3})
        assert tasks.get(1) is kept
        driver = toy.Driver(connection, tasks)
        await driver.serve()
        assert {
            partition: offsets[toy.INPUT] for partition, offsets in tasks.offsets().items()
        } == {
            partition: sum(1 for where, _ in toy.rows(61, 1000) if where == partition)
            for partition in range(toy.PARTITIONS)
        }
        await tasks.assign({3})
        assert tasks.get(0) is None
        await tasks.close()
        driver.close()
        assert runtime.tasks == 0
        runtime.close()

    asyncio.run(reassign())
    assert toy.sums_of(names) == expected


def test_nothing_is_committed_while_partitions_are_reassigned(names: Names, tmp_path: Path) -> None:
    toy.make_topics(names)

    def one(partition: int, offset: int) -> toy.ReceivedRecords:
        return toy.ReceivedRecords(
            toy.INPUT, partition, [offset], [None], [b"a 1"], [0], offset, offset + 1
        )

    async def dealt_out() -> None:
        runtime = Runtime(toy.connection(names), tmp_path / "state")
        tasks = Tasks(runtime, "join", toy.Sums)
        await tasks.assign({0, 1})
        kept, given = tasks.get(0), tasks.get(1)
        assert kept is not None
        assert given is not None
        kept.take(one(0, 0))
        tasks.hold()
        await tasks.finish()
        assert (kept.commits, kept.committed) == (1, {toy.INPUT: 1})
        given.take(one(1, 0))
        await asyncio.sleep(0.5)  # five commit intervals
        assert given.commits == 0
        tasks.narrow({0, 2})
        await tasks.assign({0, 2})
        assert given.commits == 0
        assert {task.partition for task in tasks.tasks()} == {0, 2}
        kept.take(one(0, 1))
        while kept.committed != {toy.INPUT: 2}:
            await asyncio.sleep(0.01)
        await tasks.close()
        runtime.close()

    asyncio.run(dealt_out())


def test_an_abandoned_opening_does_not_fence_the_next_owner(names: Names, tmp_path: Path) -> None:
    toy.make_topics(names)

    async def overtaken() -> None:
        former, next_ = (
            Runtime(toy.connection(names), tmp_path / name) for name in ("former", "next")
        )
        late = Task(former, "join", 0, toy.Sums)
        owners = Tasks(next_, "join", toy.Sums)
        await owners.assign({0})
        late.abandon()
        with pytest.raises(Abandoned):
            await asyncio.get_running_loop().run_in_executor(None, late.open)
        owner = owners.get(0)
        assert owner is not None
        owner.take(toy.ReceivedRecords(toy.INPUT, 0, [0], [None], [b"a 1"], [0], 0, 1))
        await owner.commit()
        assert owner.commits == 1
        await owners.close()
        next_.close()
        former.close()

    asyncio.run(overtaken())


def test_a_task_abandoned_while_opening_is_opened_again_on_reassignment(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.make_topics(names)
    opened, go_on, opens = threading.Event(), threading.Event(), []
    whole = Task.open

    def slow(task: Task) -> None:
        whole(task)
        opens.append(task)
        opened.set()
        assert go_on.wait(30)

    monkeypatch.setattr(Task, "open", slow)

    async def again() -> None:
        runtime = Runtime(toy.connection(names), tmp_path / "state")
        tasks = Tasks(runtime, "join", toy.Sums)
        first = asyncio.ensure_future(tasks.assign({0}))
        await asyncio.to_thread(opened.wait, 30)
        await tasks.finish()  # partitions are reassigned
        second = asyncio.ensure_future(tasks.assign({0}))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(first, second)
        task = tasks.get(0)
        assert task is not None
        assert (task is opens[1], task.abandoned) == (True, False)
        task.take(toy.ReceivedRecords(toy.INPUT, 0, [0], [None], [b"a 1"], [0], 0, 1))
        await task.commit()
        assert task.committed == {toy.INPUT: 1}
        await tasks.close()
        assert runtime.tasks == 0
        runtime.close()

    asyncio.run(again())


def test_openings_are_abandoned_when_partitions_are_reassigned(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.make_topics(names)
    go_on, tried = threading.Event(), []
    whole = Task.open

    def late(task: Task) -> None:
        tried.append(task.partition)
        assert go_on.wait(30)
        whole(task)

    monkeypatch.setattr(Task, "open", late)

    async def give_up() -> None:
        runtime = Runtime(toy.connection(names), tmp_path / "state")
        tasks = Tasks(runtime, "join", toy.Sums)
        first = asyncio.ensure_future(tasks.assign({0, 1}))
        while len(tried) < 2:
            await asyncio.sleep(0.01)
        await tasks.finish()
        go_on.set()
        await first
        assert (tasks.tasks(), sorted(tried)) == ([], [0, 1])
        await tasks.assign({1})
        assert [task.partition for task in tasks.tasks()] == [1]
        await tasks.close()
        runtime.close()

    asyncio.run(give_up())
