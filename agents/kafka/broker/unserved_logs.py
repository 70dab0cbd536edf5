"""Logs of which the broker gives no record although they go on: they are damaged on its disk.

A broker finds the next batch by the length in the head of the one before. If a length is wrong, it
answers with an error or with nothing, for every offset up to the next entry of its index, and a
consumer waits for ever.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from confluent_kafka import KafkaError, TopicPartition

from driftline.agents.kafka.broker.connection import TO_THE_END, Connection
from driftline.agents.kafka.broker.input_logs import PositionFault
from driftline.agents.kafka.broker.ranges import MAX_BATCH_BYTES, is_unreadable

ANSWER_S: Final = 10.0
_CHUNK: Final = 100
_DAMAGED: Final = (KafkaError.INVALID_MSG, KafkaError.KAFKA_STORAGE_ERROR, KafkaError.UNKNOWN)
_REMEDY: Final = (
    "the log is damaged on the broker's disk; restore the partition from a replica, or go on "
    "without the records up to an offset that the broker serves: delete them "
    "(kafka-delete-records), then start the workers with --resume earliest (docs/operations.md)"
)

Place = tuple[str, int]
"""Topic as named on the broker, and partition."""


def unserved(
    connection: Connection, behind: Mapping[Place, tuple[int, int]]
) -> list[PositionFault]:
    """The logs that the broker does not serve; waits up to ANSWER_S for all of them together.

    Parameters
    ----------
    behind
        By place, the next offset to read, and the end of the committed records, which is greater.
    """
    if not behind:
        return []
    left, faults = dict(behind), []
    consumer = connection.consumer(
        **TO_THE_END,
        auto_offset_reset="error",
        receive_message_max_bytes=MAX_BATCH_BYTES,
    )
    with closing(consumer):
        consumer.assign([TopicPartition(*place, position) for place, (position, _) in left.items()])
        ends = time.monotonic() + ANSWER_S
        while left and time.monotonic() < ends:
            answered = []
            for message in consumer.consume(_CHUNK, 0.2):
                place, error = (message.topic() or "", message.partition() or 0), message.error()
                if place not in left:
                    continue
                if error is None or error.code() == KafkaError._PARTITION_EOF:
                    del left[place]
                elif is_unreadable(message):
                    del left[place]  # put aside like any other poison
                elif error.code() in _DAMAGED:
                    faults.append(_fault(place, *left.pop(place), f"it says: {error.str()}"))
                else:
                    del left[place]  # a broker in trouble says nothing about the log
                answered.append(TopicPartition(*place))
            consumer.pause(answered)
    silent = f"nothing in {ANSWER_S:.0f} s"
    return faults + [_fault(place, *offsets, silent) for place, offsets in left.items()]


def _fault(place: Place, position: int, end: int, answer: str) -> PositionFault:
    topic, partition = place
    what = (
        f"{topic}[{partition}]: the log ends at {end}, but the broker gives no record from "
        f"{position} on ({answer})"
    )
    return PositionFault(topic, partition, position, "unserved", what, _REMEDY)
