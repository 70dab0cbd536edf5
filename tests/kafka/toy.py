"""A small job for the task layer, with a driver without any framework and the expected sums.

The job sums amounts by name: an input value is b"name amount". Each commit writes the amounts that
it added to each name, and the state holds the totals. So the outputs of a name add up to its inputs
and to its total exactly if each record counted once. A name "gone" with the
amount n deletes the totals of all names that begin with "x", as a range.

Run as a program it is a worker: `python -m tests.kafka.toy SERVERS APP PREFIX FOLDER PARTITIONS`
serves the partitions until every record that was there at the start is committed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewTopic

from driftline.agents.kafka.broker.connection import TO_THE_END, Connection
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.task.input_positions import Loss
from driftline.agents.kafka.task.runtime import Runtime
from driftline.agents.kafka.task.task import Task
from driftline.agents.kafka.task.tasks import Tasks
from driftline.agents.uncounted_rows import BatchTally
from driftline.streams.stage import State
from tests.kafka.brokers import Names

INPUT = "amounts"
OUTPUT = "sums"
PARTITIONS = 4
NAMES = [b"a", b"b", b"c", b"x1", b"x2"]


class Sums:
    """The processor of the job."""

    inputs: tuple[str, ...] = (INPUT,)

    def __init__(
        self, partition: int, state_of: Callable[[str], State], positions: Mapping[str, int]
    ) -> None:
        self.partition = partition
        self.state = state_of("join")
        self.opened_at = dict(positions)
        self.taken: list[tuple[bytes, int]] = []

    def note_loss(self, loss: Loss, /) -> None:
        """Do nothing: no test of the job loses records."""

    def note_unread(self, unread: frozenset[str], /, *, now_ms: int) -> None:
        """Do nothing: there is one input."""

    def note_caught_up(self, caught_up: bool, /, *, now_ms: int) -> None:
        """Do nothing: sums do not depend on time."""

    def take(self, received: ReceivedRecords, /) -> int:
        for value in received.values:
            name, amount = (value or b"").split(b" ")
            self.taken.append((name, int(amount)))
        return len(self.taken)

    def process(self, positions: Mapping[str, int], /) -> list[Outgoing]:
        added: dict[bytes, int] = {}
        for name, amount in self.taken:
            if name == b"gone":
                self.state.delete_range(b"x", b"y")
            else:
                self.state.put(name, b"%d" % (int(self.state.get(name) or b"0") + amount))
                added[name] = added.get(name, 0) + amount
        self.taken = []
        return [
            Outgoing(OUTPUT, self.partition, name, b"%d" % amount) for name, amount in added.items()
        ]

    def tally(self) -> BatchTally:
        return BatchTally()

    def waits(self) -> None:
        """Do nothing: there is one input."""

    def defers(self) -> bool:
        return False

    def pending(self) -> bool:
        return False


def connection(names: Names, kafka: str = "") -> Connection:
    """A connection for a test's worker, with frequent commits."""
    return names.connection(
        kafka=(
            f"partitions = {PARTITIONS}\ninput_partitions = {PARTITIONS}\ncommit_interval = "
            f'"20ms"\n{kafka}'
        )
    )


def make_topics(names: Names, *more: str) -> None:
    """The topics of the job."""
    admin = names.connection().admin()
    changelog = {"cleanup.policy": "delete", "retention.ms": "-1"}
    wanted = [NewTopic(names.prefix + topic, PARTITIONS, 1) for topic in (INPUT, OUTPUT, *more)]
    wanted += [
        NewTopic(f"{names.prefix}{names.app}-join-changelog", PARTITIONS, 1, config=changelog)
    ]
    for made in admin.create_topics(wanted, operation_timeout=20, request_timeout=20).values():
        made.result()


def rows(seed: int, count: int) -> list[tuple[int, bytes]]:
    """Partition and value of records drawn at random."""
    draw = random.Random(seed)
    return [
        (draw.randrange(PARTITIONS), b"%b %d" % (draw.choice(NAMES), draw.randrange(100)))
        for _ in range(count)
    ]


def send(names: Names, rows: list[tuple[int, bytes]]) -> dict[tuple[int, bytes], int]:
    """Write values to partitions of the input; returns the sums by partition and name."""
    producer = names.connection().producer()
    sums: dict[tuple[int, bytes], int] = {}
    for partition, value in rows:
        producer.produce(names.prefix + INPUT, value, partition=partition)
        name, amount = value.split(b" ")
        if name != b"gone":
            sums[partition, name] = sums.get((partition, name), 0) + int(amount)
    assert producer.flush(20) == 0
    return sums


def read(
    names: Names, topic: str, *, committed: bool = True
) -> list[tuple[int, int, bytes | None, bytes | None]]:
    """All records of a topic: partition, offset, key, value."""
    level = "read_committed" if committed else "read_uncommitted"
    consumer = names.connection().consumer(
        **TO_THE_END, isolation_level=level, auto_offset_reset="earliest"
    )
    consumer.assign(
        [TopicPartition(names.prefix + topic, partition, 0) for partition in range(PARTITIONS)]
    )
    found, ended = [], 0
    while ended < PARTITIONS:
        for message in consumer.consume(1000, 0.1):
            if message.error() is not None:
                ended += 1
            else:
                found.append(
                    (
                        message.partition() or 0,
                        message.offset() or 0,
                        message.key(),
                        message.value(),
                    )
                )
    consumer.close()
    return found


def sums_of(names: Names) -> dict[tuple[int, bytes], int]:
    """Sums of the committed outputs."""
    sums: dict[tuple[int, bytes], int] = {}
    for partition, _, key, value in read(names, OUTPUT):
        sums[partition, key or b""] = sums.get((partition, key or b""), 0) + int(value or b"0")
    return sums


class Driver:
    """Delivers to tasks, as a worker does, from a consumer without a group."""

    def __init__(self, connection: Connection, tasks: Tasks) -> None:
        self._connection = connection
        self.tasks = tasks
        self._topic = connection.name(INPUT)
        self._consumers: dict[int, tuple[Consumer, int, int]] = {}

    async def reopened(self, partition: int, positions: Mapping[str, int]) -> None:
        self._consumers.pop(partition)[0].close()

    async def serve(self) -> None:
        """Deliver until all records on the input are committed."""
        while True:
            open_tasks = self.tasks.tasks()
            done = self.tasks.ready
            for task in open_tasks:
                done &= await self._deliver(task)
            if done:
                return
            await asyncio.sleep(0.005)

    async def _deliver(self, task: Task) -> bool:
        """Make one delivery; returns whether the task has committed all records."""
        if task.partition not in self._consumers:
            position = task.positions.get(INPUT, 0)
            consumer = self._connection.consumer(auto_offset_reset="error", fetch_wait_max_ms=10)
            end = consumer.get_watermark_offsets(
                TopicPartition(self._topic, task.partition), timeout=20
            )[1]
            consumer.assign([TopicPartition(self._topic, task.partition, position)])
            self._consumers[task.partition] = consumer, position, end
        consumer, start, end = self._consumers[task.partition]
        messages = consumer.consume(50, 0.002)
        if messages:
            for message in messages:
                assert message.error() is None, message.error()
            offsets = [message.offset() or 0 for message in messages]
            received = ReceivedRecords(
                INPUT,
                task.partition,
                offsets,
                [message.key() for message in messages],
                [message.value() for message in messages],
                [message.timestamp()[1] for message in messages],
                start,
                offsets[-1] + 1,
            )
            self._consumers[task.partition] = consumer, offsets[-1] + 1, end
            await task.room()
            task.take(received)
        return task.committed.get(INPUT, 0) >= end

    def close(self) -> None:
        for consumer, _, _ in self._consumers.values():
            consumer.close()


async def work(
    connection: Connection,
    folder: Path,
    partitions: set[int],
    *,
    max_records: int = 200,
    memory_bytes: int = 1 << 20,
) -> None:
    """Serve partitions until all records on the input are committed."""
    runtime = Runtime(connection, folder, max_records=max_records, memory_bytes=memory_bytes)
    driver: Driver

    async def reopened(partition: int, positions: Mapping[str, int]) -> None:
        await driver.reopened(partition, positions)

    driver = Driver(connection, Tasks(runtime, "join", Sums, reopened=reopened))
    await driver.tasks.assign(partitions)
    await driver.serve()
    await driver.tasks.close()
    driver.close()
    runtime.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    servers, app, folder, partitions = sys.argv[1:5]
    toy_names = Names(servers, app)
    asyncio.run(work(connection(toy_names), Path(folder), set(map(int, partitions.split(",")))))
