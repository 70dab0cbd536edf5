"""Transactions a second by number of partitions: the load on a broker."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.bench.kafka.live import SETTINGS, Load
from tests.bench.kafka.topics import Bench
from tests.bench.kafka.usage import Meter
from tests.bench.kafka.worker import Worker

WARM_UP_S = 20.0
Ends = dict[tuple[str, int], int]


def transactions(
    folder: Path, servers: str, broker: int, *, partitions: int, rate: int, seconds: float
) -> dict[str, Any]:
    """Committed transactions a second at a rate of pairs, with `partitions` partitions of the
    inputs and of the topics after stage 1.

    Each transaction writes to the changelog of its task and ends there with one marker, which has
    an offset but is not a record.
    """
    bench = Bench(servers, f"bench-partitions-{partitions}.", partitions)
    app = f"partitions-{partitions}"
    config = bench.configuration(
        folder / app / "driftline.toml", SETTINGS["plain"], app, clock="wall"
    )
    bench.make_inputs()
    bench.fresh(config)
    load = Load(bench, rate, full=False)
    worker = Worker(config, folder / app / "state", folder / app / "worker.log")
    try:
        worker.ready()
        load.start()
        time.sleep(WARM_UP_S)
        before, meter, began = (
            _ends(bench),
            Meter(broker=broker, worker=worker.pid),
            time.monotonic(),
        )
        time.sleep(seconds)
        after, used, passed = _ends(bench), meter.read(), time.monotonic() - began
        load.stop()
        worker.check_alive()
        committed = (
            sum(after.values()) - sum(before.values()) - _count_records(bench, before, after)
        )
    finally:
        worker.kill()
    bench.delete(bench.names())
    return {
        "partitions": partitions,
        "rate": rate,
        "transactions_per_s": committed / passed,
        "core_share": {name: use.cpu_s / passed for name, use in used.items()},
    }


def _ends(bench: Bench) -> Ends:
    """Next offset of each partition of the changelogs."""
    consumer = bench.reader()
    names = [name for name in bench.names() if name.endswith("-changelog")]
    places = [TopicPartition(name, number) for name in names for number in range(bench.partitions)]
    ends = {
        (place.topic, place.partition): consumer.get_watermark_offsets(place, timeout=30.0)[1]
        for place in places
    }
    consumer.close()
    return ends


def _count_records(bench: Bench, before: Ends, after: Ends) -> int:
    """Number of records between two sets of offsets."""
    consumer = bench.reader(**{"enable.partition.eof": True})
    consumer.assign(
        [TopicPartition(topic, number, offset) for (topic, number), offset in before.items()]
    )
    ended = count = 0
    while ended < len(before):
        for message in consumer.consume(10_000, 1.0):
            error = message.error()
            if error is None:
                count += message.offset() < after[message.topic(), message.partition()]
            elif error.code() == KafkaError._PARTITION_EOF:
                ended += 1
            else:
                raise KafkaException(error)
    consumer.close()
    return count
