"""Deliveries hold exactly the records that a plain consumer sees, whatever else the log holds."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.worker.delivery import unpack_deliveries
from tests.kafka.brokers import Names

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic(names: Names) -> str:
    name = names.connection().name("rows")
    admin = names.connection().admin()
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(10)
    return name


def test_aborted_records_and_markers_are_skipped_and_the_position_moves_past_them(
    names: Names, topic: str
) -> None:
    #   0 1 2 | 3 marker | 4 5 6 | 7 abort marker | 8 | 9 marker
    producer = _producer(names, transactional_id=f"{topic}-writer")
    producer.init_transactions(10)
    for numbers, committed in (((0, 1, 2), True), ((4, 5, 6), False), ((8,), True)):
        producer.begin_transaction()
        for number in numbers:
            producer.produce(topic, f"v{number}", f"k{number}")
        producer.flush(10)
        (producer.commit_transaction if committed else producer.abort_transaction)(10)
    deliveries = _read(names, topic, from_offset=0, until=10, limit=2)
    assert [offset for received in deliveries for offset in received.offsets] == [0, 1, 2, 8]
    assert all(1 <= len(received.offsets) <= 2 for received in deliveries)
    assert [value for received in deliveries for value in received.values] == [
        b"v0",
        b"v1",
        b"v2",
        b"v8",
    ]
    assert [key for received in deliveries for key in received.keys] == [b"k0", b"k1", b"k2", b"k8"]
    assert deliveries[0].start == 0
    assert [received.start for received in deliveries[1:]] == [
        received.next for received in deliveries[:-1]
    ]
    assert deliveries[-1].next == 10


@pytest.mark.parametrize("compression", ["none", "lz4", "gzip", "snappy", "zstd"])
def test_fetch_in_the_middle_of_a_batch_starts_at_its_position(
    names: Names, topic: str, compression: str
) -> None:
    producer = _producer(names, compression_type=compression, linger_ms=1_000)
    for number in range(100):
        producer.produce(
            topic,
            None if number == 50 else b"x" * number,
            None if number % 2 else b"%d" % number,
            timestamp=1_000 + number,
        )
    producer.flush(10)
    (received,) = _read(names, topic, from_offset=37, until=100, limit=1_000)
    assert received.start == 37
    assert received.offsets == list(range(37, 100))
    assert received.keys == [None if number % 2 else b"%d" % number for number in range(37, 100)]
    assert received.values == [None if number == 50 else b"x" * number for number in range(37, 100)]
    assert received.timestamps_ms == list(range(1_037, 1_100))
    assert (received.topic, received.partition, received.next) == ("rows", 0, 100)


def test_bytes_of_a_fetch_are_freed_after_delivery_without_the_garbage_collector(
    names: Names, topic: str
) -> None:
    producer = _producer(names)
    producer.produce(topic, b"x" * 300_000, b"k")
    producer.flush(10)
    fetches: list[weakref.ref[Any]] = []
    with _without_collector():
        (received,) = _read(names, topic, from_offset=0, until=1, limit=1_000, fetches=fetches)
        assert [len(value or b"") for value in received.values] == [300_000]
        assert [fetch() for fetch in fetches] == [None]


@contextmanager
def _without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _producer(names: Names, **extra: Any) -> Producer:
    return names.connection().producer(**extra)


def _read(
    names: Names,
    topic: str,
    *,
    from_offset: int,
    until: int,
    limit: int,
    fetches: list[weakref.ref[Any]] | None = None,
) -> list[ReceivedRecords]:
    """Deliveries from `from_offset` until the fetch position reaches `until`.

    A weak reference to the data of each fetch is added to `fetches`.
    """

    async def read() -> list[ReceivedRecords]:
        consumer = AIOKafkaConsumer(
            **names.connection().aiokafka(),
            isolation_level="read_committed",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            tp = TopicPartition(topic, 0)
            consumer.assign([tp])
            consumer.seek(tp, from_offset)
            deliveries: list[ReceivedRecords] = []
            start = from_offset
            async with asyncio.timeout(20):
                while await consumer.position(tp) < until:
                    result = consumer._fetcher._records.pop(tp, None)
                    if result is None:
                        await asyncio.sleep(0.01)
                        continue
                    consumer._fetcher._notify(consumer._fetcher._wait_consume_future)
                    if fetches is not None:
                        fetches.append(weakref.ref(result._partition_records))
                    deliveries += unpack_deliveries(result, "rows", start, limit)
                    start = deliveries[-1].next if deliveries else start
            return deliveries
        finally:
            await consumer.stop()

    return asyncio.run(read())
