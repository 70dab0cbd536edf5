"""Waits for ticks of a worker: that all inputs are read, or that all results are emitted."""

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


def wait_until_answered(bench: Bench, worker: Worker, upto_ms: int) -> None:
    """Wait until all partitions of stage 1 have answered a request for this time, which they do
    once their inputs are read to the end.
    """

    def answers(partition: int, tick: dict[str, Any]) -> int | None:
        return partition if "reached" in tick and parse_time(tick["timestamp"]) >= upto_ms else None

    _wait_for_all(bench, worker, answers, "have not been read")


def wait_until_settled(bench: Bench, worker: Worker, upto_ms: int) -> None:
    """Wait until all tasks of stages 2 to 4 have emitted all results up to this time; each reports
    its progress several times.
    """

    def reports(_: int, tick: dict[str, Any]) -> int | None:
        return tick.get("settled") if parse_time(tick["timestamp"]) >= upto_ms else None

    _wait_for_all(bench, worker, reports, "have not emitted all results")


def _wait_for_all(
    bench: Bench, worker: Worker, reported: Callable[[int, dict[str, Any]], int | None], what: str
) -> None:
    consumer, waiting, ends = (
        bench.reader(TICKS),
        set(range(bench.partitions)),
        time.monotonic() + WAIT_S,
    )
    while waiting:
        worker.check_alive()
        if time.monotonic() > ends:
            raise TimeoutError(f"partitions {sorted(waiting)} {what} after {WAIT_S:.0f} s")
        for message in consumer.consume(1_000, 0.2):
            waiting.discard(reported(message.partition(), msgspec.json.decode(value_of(message))))
    consumer.close()
