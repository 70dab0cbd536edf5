"""Tasks when their environment fails: the broker is killed or away, the disk is full, the state is
of another version.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.changelog import journal
from driftline.agents.kafka.changelog.cache import FOLDER
from driftline.agents.kafka.changelog.state_format import state_format
from driftline.agents.kafka.task import runtime
from driftline.agents.kafka.task.runtime import Runtime
from driftline.agents.kafka.task.task import Task
from driftline.agents.kafka.task.tasks import Tasks
from tests.kafka import toy
from tests.kafka.brokers import BrokerProcess, Names

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]


def test_a_broker_that_is_killed_and_comes_back_costs_nothing(
    own_broker: BrokerProcess, tmp_path: Path
) -> None:
    names = Names(own_broker.servers, "killed")
    toy.make_topics(names)
    expected = toy.send(names, toy.rows(1, 3000))

    async def serve() -> None:
        connection = toy.connection(names)
        shared = Runtime(connection, tmp_path / "state", max_records=100)
        driver: toy.Driver

        async def reopened(partition: int, positions: object) -> None:
            await driver.reopened(partition, {})

        driver = toy.Driver(connection, Tasks(shared, "join", toy.Sums, reopened=reopened))
        await driver.tasks.assign(set(range(toy.PARTITIONS)))
        served = asyncio.ensure_future(driver.serve())
        while sum(task.commits for task in driver.tasks.tasks()) < 4:
            await asyncio.sleep(0.01)
        assert not served.done(), "the broker was to be killed before the end"
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, own_broker.kill)
        await loop.run_in_executor(None, own_broker.start)
        await served
        await driver.tasks.close()
        driver.close()
        shared.close()

    asyncio.run(serve())
    assert toy.sums_of(names) == expected


WITH_A_FULL_DISK = """
import asyncio, os, resource, signal, sys
from pathlib import Path
from tests.kafka import toy
from tests.kafka.brokers import Names


class Large(toy.Sums):
    def process(self, positions):
        self.state.put(b"large", os.urandom(5_000))
        return super().process(positions)


toy.Sums = Large
# No file may grow beyond this: the write fails, as on a full disk.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
connection = toy.connection(Names(sys.argv[1], sys.argv[2]))
asyncio.run(toy.work(connection, Path(sys.argv[3]), set(range(toy.PARTITIONS))))
"""


def test_a_full_disk_ends_the_worker_with_a_remedy_and_loses_nothing(
    names: Names, tmp_path: Path
) -> None:
    toy.make_topics(names)
    expected = toy.send(names, toy.rows(2, 4000))
    command = [
        sys.executable,
        "-c",
        WITH_A_FULL_DISK,
        names.servers,
        names.app,
        str(tmp_path / "state"),
    ]
    full = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert full.returncode == failures.STORAGE, full.stderr
    assert "the disk is full" in full.stderr
    assert "nothing is lost: the committed state is in the changelog" in full.stderr
    assert "free space and restart the worker" in full.stderr
    asyncio.run(toy.work(toy.connection(names), tmp_path / "state", set(range(toy.PARTITIONS))))
    assert toy.sums_of(names) == expected
    assert (tmp_path / "state" / FOLDER).is_dir()


def test_a_journal_of_another_state_format_stops_the_worker_before_it_writes(
    names: Names, tmp_path: Path, stops: list[str]
) -> None:
    toy.make_topics(names)
    closing = journal.Closing(journal.FORMAT, "join 9.9", 0, 0, {toy.INPUT: 3}, 0, 0, 0, b"")
    producer = names.connection().producer()
    for key, value in journal.records_of(closing, {"join": msgspec.msgpack.encode(([], {}))}):
        producer.produce(f"{names.prefix}{names.app}-join-changelog", value, key, partition=0)
    assert producer.flush(20) == 0
    shared = Runtime(toy.connection(names), tmp_path / "state")
    with pytest.raises(SystemExit):
        Task(shared, "join", 0, toy.Sums).open()
    shared.close()
    (message,) = stops
    assert message.startswith(f"{failures.CONFIGURATION}: {names.prefix}{names.app}-join-0: ")
    assert f'"join 9.9", this release needs "{state_format("join")}"' in message
    assert "give the program another kafka.app" in message


def test_a_local_copy_of_another_state_format_stops_the_worker_until_it_is_deleted(
    names: Names, tmp_path: Path, stops: list[str]
) -> None:
    toy.make_topics(names)
    expected = toy.send(names, toy.rows(3, 200))
    folder, partitions = tmp_path / "state", set(range(toy.PARTITIONS))
    asyncio.run(toy.work(toy.connection(names), folder, partitions))
    shared = Runtime(toy.connection(names), folder)
    checkpoint = shared.cache.checkpoint("join", 0)
    assert checkpoint is not None
    foreign = msgspec.structs.replace(checkpoint, state_format="join 9.9")
    shared.cache.write("join", 0, [], foreign)
    with pytest.raises(SystemExit):
        Task(shared, "join", 0, toy.Sums).open()
    shared.close()
    (message,) = stops
    assert message.startswith(f"{failures.CONFIGURATION}: {names.prefix}{names.app}-join-0: ")
    assert f'"join 9.9", this release needs "{state_format("join")}"' in message
    assert f"delete {folder / FOLDER}, so that the state is restored" in message
    shutil.rmtree(folder / FOLDER)
    asyncio.run(toy.work(toy.connection(names), folder, partitions))
    assert toy.sums_of(names) == expected


def test_a_task_that_waits_for_its_broker_can_be_abandoned(tmp_path: Path) -> None:
    names = Names("127.0.0.1:1", "nobody")

    async def give_up() -> None:
        shared = Runtime(toy.connection(names), tmp_path / "state")
        tasks = Tasks(shared, "join", toy.Sums)
        waiting = asyncio.ensure_future(tasks.assign({0, 1}))
        await asyncio.sleep(0.1)
        assert not tasks.ready
        waiting.cancel()
        await tasks.close()
        assert tasks.tasks() == []
        shared.close()

    # Shorten the request timeout, so that the test does not wait for it.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runtime, "ANSWER_S", 0.5)
        asyncio.run(give_up())
