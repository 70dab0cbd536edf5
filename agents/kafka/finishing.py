"""Letting time run on over a broker: what `finish.py` asks is sent, and the answers are read, until every window is final."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from agents.kafka.connection import Connection
from agents.kafka.finish import Finish
from agents.kafka.outgoing import Outgoing
from agents.kafka.ranges import ranges
from schemas.decode import decode_ticks
from schemas.settings import Config
from schemas.topics import TICKS

SEND_S = 30.0
POLL_S = 0.2
AT_ONCE = 1_000


class FinishError(Exception):
    """Time cannot run on; the message says why and what to do."""


def finish(
    connection: Connection, config: Config, *, timeout_s: float, told: Callable[[int, int], None] = lambda left, total: None
) -> Finish:
    """Ask the workers to let time run on and wait until they have; gives the end of the history and of time.

    Parameters
    ----------
    timeout_s
        Longest time without any answer.
    told
        Called with the tasks that have not answered yet, and all that have to.

    Raises
    ------
    FinishError
        If time is that of the clock, topics are missing, or tasks do not answer.
    KafkaException
        If the broker does not answer.
    """
    if config.clock != "data":
        raise FinishError('time is that of the clock here; only recorded history can be finished: set clock = "data" under [run]')
    logs = ranges(connection, [TICKS])[TICKS]
    if len(logs) != config.kafka.input_partitions:
        raise FinishError(
            f"topic {connection.name(TICKS)} has {len(logs)} partitions, and kafka.input_partitions says "
            f"{config.kafka.input_partitions}; see driftline topics check"
        )
    asking, before = Finish(config), {log.partition: log.end for log in logs}
    with closing(connection.consumer()) as consumer:
        consumer.assign([TopicPartition(connection.name(TICKS), log.partition, log.start) for log in logs])
        inputs, results = config.kafka.input_partitions, config.kafka.partitions
        _send(connection, asking.ask())
        _wait(consumer, asking, before, lambda: asking.silent, timeout_s, lambda left: told(left, inputs))
        _send(connection, asking.end())
        _wait(consumer, asking, before, lambda: [*asking.silent, *asking.unsettled], timeout_s, lambda left: told(left, inputs + results))
    return asking


def _send(connection: Connection, requests: Sequence[Outgoing]) -> None:
    refused: list[KafkaError] = []
    producer = connection.producer(on_delivery=lambda error, _: refused.append(error) if error else None)
    for request in requests:
        producer.produce(connection.name(request.topic), request.value, key=request.key, partition=request.partition or 0)
    left = producer.flush(SEND_S)
    if refused or left:
        raise KafkaException(refused[0] if refused else KafkaError(KafkaError._TIMED_OUT, f"{left} requests are not confirmed"))


def _wait(
    consumer: Any,
    asking: Finish,
    before: dict[int, int],
    left: Callable[[], Sequence[int]],
    timeout_s: float,
    told: Callable[[int], None],
) -> None:
    """Read answers until none is missing."""
    open_, heard_at = len(left()), time.monotonic()
    while open_:
        for message in consumer.consume(AT_ONCE, timeout=POLL_S):
            if message.error() is not None:
                raise KafkaException(message.error())
            partition, offset = message.partition(), message.offset()
            for row in decode_ticks([message.value()], [offset])[0]:
                asking.note(partition, row, before=offset < before[partition])
        if len(left()) < open_:
            open_, heard_at = len(left()), time.monotonic()
        told(open_)
        if time.monotonic() - heard_at > timeout_s:
            stage = "stage 1" if asking.end_ms is None or asking.silent else "stages 2 to 4"
            raise FinishError(
                f"{open_} tasks of {stage} have not answered for {timeout_s:.0f} s; start workers (driftline worker), or see whether they "
                "are ready (/health/ready) or far behind (driftline doctor), and call again"
            )
