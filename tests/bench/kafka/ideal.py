"""The baseline on Kafka: the hand-written join of `tests.bench.ideal` behind a plain consumer, at
least once, all in memory.

`python -m tests.bench.kafka.ideal SERVERS PREFIX PARTITIONS HORIZON_MS` reads both input topics to
their end, commits the group's offsets every 100 ms after it has counted the records, and prints its
counts and its cost as JSON. It writes no results and keeps no state: a restart loses all counts. It
prints "begin" before the measurement starts.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from driftline.schemas.decode import decode_predictions, decode_truths
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from tests.bench.ideal import CHUNK, Ideal

COMMIT_MS: Final = 100


def read(servers: str, prefix: str, partitions: int, horizon_ms: int) -> Ideal:
    """Consume both topics to their present end."""
    group = {
        "group.id": f"{prefix}ideal-{time.time_ns()}",
        "auto.commit.interval.ms": COMMIT_MS,
        "enable.auto.offset.store": False,
    }
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            **group,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    names = prefix + PREDICTIONS, prefix + GROUND_TRUTH
    consumer.assign(
        [TopicPartition(name, number, 0) for name in names for number in range(partitions)]
    )
    ideal, ended = Ideal(horizon_ms), 0
    # Largest event time of each topic partition: with a backlog, a consumer is far ahead in some.
    reached = {(name, number): 0 for name in names for number in range(partitions)}
    while ended < 2 * partitions:
        values: dict[str, list[bytes]] = {name: [] for name in names}
        last: dict[tuple[str, int], int] = {}
        newest: dict[tuple[str, int], Message] = {}
        for message in consumer.consume(CHUNK, 0.1):
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                ended += 1
                continue
            topic = message.topic()
            last[topic, message.partition()] = len(values[topic])
            values[topic].append(message.value())
            newest[topic, message.partition()] = message
        rows, _, _ = decode_predictions(values[names[0]], range(len(values[names[0]])))
        truths, _, _ = decode_truths(values[names[1]], range(len(values[names[1]])))
        for (topic, number), place in last.items():
            reached[topic, number] = (rows if topic == names[0] else truths)[place].timestamp_ms
        if rows:
            ideal.predict(rows)
        if truths:
            ideal.join(truths)
        ideal.expire(min(reached.values()) - horizon_ms)
        for message in newest.values():
            consumer.store_offsets(message)
    ideal.expired += len(ideal.waiting)
    consumer.close()
    return ideal


def main(servers: str, prefix: str, partitions: str, horizon_ms: str) -> None:
    gc.disable()
    print("begin", flush=True)
    started, began = _cpu_s(), time.monotonic()
    ideal = read(servers, prefix, int(partitions), int(horizon_ms))
    spent = {"cpu_s": _cpu_s() - started, "elapsed_s": time.monotonic() - began}
    right = sum(n for (_, _, _, actual, predicted), n in ideal.cells.items() if actual == predicted)
    counted = {
        "predictions": ideal.predictions.total(),
        "joined": ideal.cells.total(),
        "right": right,
    }
    print(
        json.dumps(
            spent
            | counted
            | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        ),
        flush=True,
    )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
