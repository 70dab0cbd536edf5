"""The worker's Faust app on a real broker, with tasks that only record their deliveries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
from confluent_kafka.admin import NewTopic

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.task.tasks import Tasks
from driftline.agents.worker.app import App
from driftline.agents.worker.fetch_thread import DELIVERY_RECORDS, UNSOUGHT_WAIT_MS
from driftline.agents.worker.task_router import TaskRouter
from tests.kafka.brokers import BrokerProcess, Names

pytestmark = pytest.mark.kafka

ROWS = 30_000
PARTITIONS = 2


class CaughtUpProbe:
    """A processor that waits for no input and keeps what `note_caught_up` reported last."""

    caught_up = False

    def note_unread(self, unread: frozenset[str], *, now_ms: int) -> None:
        pass

    def note_caught_up(self, caught_up: bool, *, now_ms: int) -> None:
        self.caught_up = caught_up

    def waits(self) -> None:
        pass

    def defers(self) -> bool:
        return False


class RecordingTask:
    """A task that requires gapless deliveries, keeps only offsets, and takes `busy_s` for each."""

    busy_s = 0.0

    def __init__(self, partition: int, position: int | None = None) -> None:
        self.partition = partition
        self.positions = {} if position is None else {"rows": position}
        self.offsets: list[int] = []
        self.sizes: list[int] = []
        self.processor = CaughtUpProbe()

    def take(self, received: ReceivedRecords) -> int:
        position = self.positions.get("rows", received.start)
        assert received.start <= position, (
            f"records {position} to {received.start - 1} were skipped"
        )
        self.offsets += [offset for offset in received.offsets if offset >= position]
        self.sizes.append(len(received.offsets))
        self.positions["rows"] = max(position, received.next)
        return 0

    async def room(self) -> None:
        await asyncio.sleep(self.busy_s)


class RecordingTasks:
    """One recording task per assigned partition."""

    ready = True

    def __init__(self) -> None:
        self.live: dict[int, RecordingTask] = {}

    async def assign(self, partitions: set[int]) -> None:
        self.live = {
            partition: self.live.get(partition) or RecordingTask(partition)
            for partition in partitions
        }

    def narrow(self, partitions: set[int]) -> None: ...

    def hold(self) -> None: ...

    def get(self, partition: int) -> RecordingTask | None:
        return self.live.get(partition)

    def tasks(self) -> list[RecordingTask]:
        return list(self.live.values())

    async def finish(self) -> None: ...

    def offsets(self) -> dict[int, dict[str, int]]:
        return {partition: dict(task.positions) for partition, task in self.live.items()}


def test_records_are_delivered_once_in_order_and_in_large_deliveries(names: Names) -> None:
    async def check(app: App, tasks: RecordingTasks) -> None:
        await _until(lambda: sum(len(task.offsets) for task in tasks.live.values()) == ROWS)
        for task in tasks.live.values():
            assert task.offsets == list(range(len(task.offsets)))
            assert max(task.sizes) <= DELIVERY_RECORDS
            assert sum(task.sizes) > 100 * len(task.sizes)
        await _until(lambda: bool(app.log_ends()))
        app.update_caught_up(time.time_ns() // 1_000_000)
        assert all(task.processor.caught_up for task in tasks.live.values())
        app.update_caught_up(2**60)  # the last fetch is long ago
        assert not any(task.processor.caught_up for task in tasks.live.values())

    _run(names, check)


def test_reopened_task_gets_records_from_its_position_and_other_tasks_are_not_disturbed(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough that deliveries for the former task still wait for the agent when the new one
    # exists.
    monkeypatch.setattr(RecordingTask, "busy_s", 0.15)

    async def check(app: App, tasks: RecordingTasks) -> None:
        for back_to in (3_000, 500, 9_000, 0):
            await _until(lambda: len(tasks.live[0].offsets) > 2 * DELIVERY_RECORDS)
            del tasks.live[0]
            await app.reopened(0, {"rows": back_to})
            tasks.live[0] = RecordingTask(0, back_to)
            await _until(lambda: len(tasks.live[0].offsets) > 0)
        await _until(lambda: tasks.live[0].positions["rows"] + len(tasks.live[1].offsets) == ROWS)
        for task in tasks.live.values():
            assert task.offsets == list(range(len(task.offsets)))

    _run(names, check)


def test_consecutive_aborted_transactions_leave_no_gap_between_deliveries(
    names: Names,
) -> None:
    connection = names.connection(kafka=f"input_partitions = {PARTITIONS}")

    async def check(app: App, tasks: RecordingTasks) -> None:
        producer = connection.producer(transactional_id=f"{names.app}-writer")
        await asyncio.to_thread(producer.init_transactions, 10)
        await _until(lambda: sum(len(task.offsets) for task in tasks.live.values()) == ROWS)
        ends = ROWS // PARTITIONS
        for committed in (False, False, False, True):
            producer.begin_transaction()
            producer.produce(connection.name("rows"), b"late", partition=0)
            await asyncio.to_thread(producer.flush, 10)
            await asyncio.to_thread(
                producer.commit_transaction if committed else producer.abort_transaction, 10
            )
            ends += 2  # the row and the marker
            await _until(lambda end=ends: app.log_ends()["rows", 0] == end)
        await _until(lambda: len(tasks.live[0].offsets) == ROWS // PARTITIONS + 1)

    _run(names, check)


def test_start_waits_for_a_broker_that_goes_away_in_the_middle_of_it(
    own_broker: BrokerProcess,
) -> None:
    names = Names(own_broker.servers, "late")
    connection = names.connection(kafka=f"input_partitions = {PARTITIONS}")
    _produce(connection)
    own_broker.kill()

    async def run() -> None:
        app, tasks, failures = _app(connection)
        starting = asyncio.ensure_future(app.start())
        await asyncio.sleep(1.5)
        await asyncio.to_thread(own_broker.start)
        async with asyncio.timeout(60):
            await _until(lambda: sum(len(task.offsets) for task in tasks.live.values()) == ROWS)
        await app.stop()
        await starting
        assert not failures

    asyncio.run(run())


def test_no_record_flows_between_assignment_and_seek_even_to_a_worker_without_partitions(
    names: Names,
) -> None:
    async def check(app: App, tasks: RecordingTasks) -> None:
        others = [
            _app(names.connection(kafka=f"input_partitions = {PARTITIONS}")) for _ in range(2)
        ]
        flowed: list[tuple[bool, int]] = []
        for other, _, _ in others:
            _record_flow(other, flowed)
        starting = [asyncio.ensure_future(other.start()) for other, _, _ in others]
        held = [tasks, *(other_tasks for _, other_tasks, _ in others)]
        await _until(lambda: bool(flowed) and sorted(len(one.live) for one in held) == [0, 1, 1])
        await app.stop()
        tasks.live.clear()
        await _until(lambda: sorted(len(one.live) for one in held) == [0, 1, 1])
        for other, _, failures in others:
            await other.stop()
            assert not failures
        assert all(begun.done() for begun in starting)
        # A fetch that waits at the broker would delay the requests of the seek.
        assert set(flowed) == {(False, UNSOUGHT_WAIT_MS)}

    _run(names, check)


def _record_flow(app: App, flowed: list[tuple[bool, int]]) -> None:
    """Record at each seek whether records could have been delivered just before it, and how long
    fetches wait at the broker.
    """
    consumer = cast(Any, app.consumer)
    seek = consumer.perform_seek

    async def recording() -> None:
        flowed.append((consumer.flow_active, consumer.fetch_wait_ms))
        await seek()

    consumer.perform_seek = recording


def _app(connection: Connection) -> tuple[App, RecordingTasks, list[tuple[str, Exception]]]:
    failures: list[tuple[str, Exception]] = []
    router, tasks = TaskRouter(("rows",), connection), RecordingTasks()
    router.tasks = cast(Tasks, tasks)
    return (
        App("join", router, connection, lambda what, error: failures.append((what, error))),
        tasks,
        failures,
    )


def _run(names: Names, check: Callable[[App, RecordingTasks], Coroutine[Any, Any, None]]) -> None:
    connection = names.connection(kafka=f"input_partitions = {PARTITIONS}")
    _produce(connection)

    async def run() -> None:
        app, tasks, failures = _app(connection)
        starting = asyncio.ensure_future(app.start())
        try:
            async with asyncio.timeout(60):
                await _until(lambda: len(tasks.live) == PARTITIONS or bool(failures))
                watching = asyncio.ensure_future(check(app, tasks))
                await _until(lambda: watching.done() or bool(failures))
            assert not failures, failures
            watching.result()
        finally:
            await app.stop()
            starting.cancel()

    asyncio.run(run())


def _produce(connection: Connection) -> None:
    admin, name = connection.admin(), connection.name("rows")
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(10)
    producer = connection.producer(linger_ms=50)
    for number in range(ROWS):
        producer.produce(name, b"%d" % number, b"%d" % number, partition=number % PARTITIONS)
        if number % 1_000 == 0:
            producer.poll(0)
    assert producer.flush(30) == 0


async def _until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.005)
