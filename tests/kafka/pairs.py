"""Predictions and their ground truths that tests send."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer

from driftline.agents.kafka.broker.connection import Connection

START_MS = 1_700_000_000_000
TRUTH_AFTER_MS = 1_000


def prediction(number: int, *, start_ms: int = START_MS, step_ms: int = 10) -> dict[str, Any]:
    """Prediction of model m with id `p<number>`."""
    return {
        "prediction_id": f"p{number}",
        "model_name": "m",
        "model_version": "1",
        "timestamp": start_ms + number * step_ms,
        "prediction": "yes",
    }


def truth(number: int, *, start_ms: int = START_MS, step_ms: int = 10) -> dict[str, Any]:
    """Its ground truth: it was right."""
    at_ms = start_ms + number * step_ms + TRUTH_AFTER_MS
    return {"prediction_id": f"p{number}", "label": "yes", "timestamp": at_ms}


def send_pairs(
    connection: Connection, numbers: Iterable[int], *, start_ms: int = START_MS, step_ms: int = 10
) -> None:
    """Send predictions and their truths."""
    producer = connection.producer()
    for number in numbers:
        for topic, row in (
            ("predictions", prediction(number, start_ms=start_ms, step_ms=step_ms)),
            ("ground-truth", truth(number, start_ms=start_ms, step_ms=step_ms)),
        ):
            producer.produce(connection.name(topic), json.dumps(row), row["prediction_id"])
    assert producer.flush(30) == 0


def member_of(connection: Connection, group: str, topic: str) -> Consumer:
    """A member of a consumer group that has partitions of a topic, named as on the broker."""
    consumer = connection.consumer(group_id=group)
    consumer.subscribe([topic])
    ends = time.monotonic() + 60
    while not consumer.assignment() and time.monotonic() < ends:
        consumer.poll(0.1)
    assert consumer.assignment()
    return consumer
