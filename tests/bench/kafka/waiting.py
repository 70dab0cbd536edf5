"""Waiting for what a worker writes to the topic of ticks: that everything is read, or that
everything is announced.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from driftline.schemas.times import parse_time
from driftline.schemas.topics import TICKS
from tests.bench.kafka.topics import Bench, value_of
from tests.bench.kafka.worker import Worker

WAIT_S: Final = 7_200.0


def answered(bench: Bench, worker: Worker, upto_ms: int) -> None:
    """Wait until every partition of stage 1 has answered a request for this time: it does so when
    nothing is unread.
    """

    def answers(partition: int, tick: dict[str, Any]) -> int | None:
        return partition if "reached" in tick and parse_time(tick["timestamp"]) >= upto_ms else None

    _all(bench, worker, answers, "have not been read")


def settled(bench: Bench, worker: Worker, upto_ms: int) -> None:
    """Wait until every task of stages 2 to 4 has announced everything up to this time: each says
    several times how far it has come.
    """

    def tells(_: int, tick: dict[str, Any]) -> int | None:
        return tick.get("settled") if parse_time(tick["timestamp"]) >= upto_ms else None

    _all(bench, worker, tells, "have not announced everything")


def _all(
    bench: Bench, worker: Worker, says: Callable[[int, dict[str, Any]], int | None], what: str
) -> None:
    consumer, waiting, ends = (
        bench.reader(TICKS),
        set(range(bench.partitions)),
        time.monotonic() + WAIT_S,
    )
    while waiting:
        worker.alive()
        if time.monotonic() > ends:
            raise TimeoutError(f"partitions {sorted(waiting)} {what} after {WAIT_S:.0f} s")
        for message in consumer.consume(1_000, 0.2):
            waiting.discard(says(message.partition(), msgspec.json.decode(value_of(message))))
    consumer.close()
