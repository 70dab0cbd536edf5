"""Kafka records of the values that the stages emit, and of rejected records: key, partition, value,
headers.

Emitted values are JSON with readable keys; the headers carry the attributes of a CloudEvent (binary
mode). Every topic after stage 1 is partitioned by model name, whatever else the key contains, so
that all versions of a model meet in one task; `notifications`, which no task reads, by its key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec
import xxhash

from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.schemas.rejects import Reject
from driftline.schemas.results import encode
from driftline.schemas.times import format_time
from driftline.schemas.topics import (
    ACTIONS,
    ALERT_EVENTS,
    ALERTS,
    DRIFT,
    HISTOGRAMS,
    METRICS,
    NOTIFICATIONS,
    OUTCOMES,
    RECOMMENDATIONS,
    REFERENCE_PROFILES,
    REGISTRY_EFFECTS,
    REGISTRY_EVENTS,
    RULE_WINDOWS,
    TOPICS,
    WINDOW_PARTIALS,
    dlq_name,
)
from driftline.streams.hashing import partitions_of
from driftline.streams.partial import Partial
from driftline.streams.partial import encode as encode_partial
from driftline.streams.stage import Record

# The attribute of a value that holds the event time of the record.
_TIME_OF: Final = {
    OUTCOMES: "known_at_ms",
    METRICS: "window_end_ms",
    HISTOGRAMS: "window_end_ms",
    DRIFT: "window_end_ms",
    ALERTS: "at_ms",
    ALERT_EVENTS: "at",
    NOTIFICATIONS: "at_ms",
    RECOMMENDATIONS: "at_ms",
    RULE_WINDOWS: "at_ms",
    REGISTRY_EVENTS: "at",
    ACTIONS: "at_ms",
    REGISTRY_EFFECTS: "frontier",
    REFERENCE_PROFILES: "created_at",
}


@lru_cache(maxsize=65_536)
def partition_of(model_name: str, partitions: int) -> int:
    """Target partition of a model: where Kafka's default partitioner puts the key "model_name".

    Examples
    --------
    >>> partition_of("churn", 4), partition_of("churn", 1)
    (1, 0)
    """
    return int(partitions_of([model_name.encode()], partitions)[0])


class WireEncoder:
    """Encodes the records that the stages emit.

    Parameters
    ----------
    app
        Name of the application, for `ce_source`.
    partitions
        Number of partitions of the topics after stage 1.
    """

    def __init__(self, app: str, partitions: int) -> None:
        self._partitions = partitions
        self._fixed = {
            name: [
                ("content-type", b"application/json"),
                ("ce_specversion", b"1.0"),
                ("ce_type", f"driftline.{name}".encode()),
                ("ce_source", f"/{app}/{topic.stage}".encode()),
            ]
            for name, topic in TOPICS.items()
        }

    def events(self, records: Iterable[Record]) -> list[Outgoing]:
        """Encode outcomes and the records of stages 2 to 4: JSON with the headers of a CloudEvent.

        `ce_id` is a hash of topic, key and value, so that a consumer can detect a repeated record.
        Registry entries have no time, hence no `ce_time`.
        """
        return [self._event(record) for record in records]

    def partials(self, records: Iterable[Record]) -> list[Outgoing]:
        """Encode partials for the target partitions of their models, watermarks and lost spans for
        every partition; in order, because a watermark completes panes of the records before it.
        """
        outgoing: list[Outgoing] = []
        for record in records:
            value = encode_partial(record.value)
            name = record.value.key()
            key = name.encode()
            if isinstance(record.value, Partial):
                outgoing.append(
                    Outgoing(WINDOW_PARTIALS, partition_of(name, self._partitions), key, value)
                )
            else:
                outgoing += [
                    Outgoing(WINDOW_PARTIALS, partition, key, value)
                    for partition in range(self._partitions)
                ]
        return outgoing

    def _event(self, record: Record) -> Outgoing:
        topic, key, value = record.topic, record.value.key().encode(), encode(record.value)
        headers = [
            *self._fixed[topic],
            ("ce_id", xxhash.xxh3_128_hexdigest(b"\0".join((topic.encode(), key, value))).encode()),
        ]
        if topic in _TIME_OF:
            time = getattr(record.value, _TIME_OF[topic])
            text = time if isinstance(time, str) else format_time(time)
            headers.append(("ce_time", text.encode()))
        partition = (
            None
            if topic == NOTIFICATIONS
            else partition_of(record.value.model_name, self._partitions)
        )
        return Outgoing(topic, partition, key, value, headers)


def dead_letter(
    topic: str,
    partition: int,
    reject: Reject,
    key: bytes | None,
    value: bytes | None,
    *,
    app: str,
    now_ms: int,
) -> Outgoing:
    """The dead letter of a rejected record, with its key and value unchanged.

    Parameters
    ----------
    topic, partition, key, value
        The rejected record.
    app
        Name of the program that rejected it, for `dlq_app`.
    now_ms
        Wall-clock time in ms since the epoch, for `dlq_time`.
    """
    headers = {
        "dlq_topic": topic,
        "dlq_partition": str(partition),
        "dlq_offset": str(reject.offset),
        "dlq_reason": reject.reason,
        "dlq_error": reject.error,
        "dlq_time": format_time(now_ms),
        "dlq_app": app,
    }
    place = _KEYLESS_PARTITION if key is None else None
    return Outgoing(
        dlq_name(topic),
        place,
        key,
        value,
        [(name, text.encode()) for name, text in headers.items()],
    )


DLQ_LAST_OFFSET: Final = "dlq_last_offset"
"""Header of a letter that stands for a batch: the offset of its last record."""
DLQ_LOST_RECORDS: Final = "dlq_lost_records"
"""Header of a letter that stands for several records: how many."""
DLQ_LOG: Final = "dlq_log"
"""Header of a letter of stage 1 about a re-keyed record: the log of its partition and offset."""
DLQ_SIZE: Final = "dlq_size"
DLQ_SHA256: Final = "dlq_sha256"
DLQ_KEY_SIZE: Final = "dlq_key_size"
DLQ_KEY_SHA256: Final = "dlq_key_sha256"
# A dead letter without a key goes to partition 0, which every dead-letter topic has.
_KEYLESS_PARTITION: Final = 0
# What a record takes beside its key, value and headers: the head of its batch, and its own lengths.
_OVERHEAD_BYTES: Final = 512
_BYTES_PER_HEADER: Final = 16


def size_of(outgoing: Outgoing) -> int:
    """Upper bound of the bytes that a record takes in a batch of its own, not compressed."""
    headers = sum(len(name) + len(value) + _BYTES_PER_HEADER for name, value in outgoing.headers)
    return len(outgoing.key or b"") + len(outgoing.value or b"") + headers + _OVERHEAD_BYTES


def dead_letter_at(
    received: ReceivedRecords, at: int, reject: Reject, *, app: str, now_ms: int
) -> Outgoing:
    """The dead letter of a record of a delivery.

    Parameters
    ----------
    at
        Index of the record in the delivery.
    app, now_ms
        As for `dead_letter`.
    """
    unreadable = received.unreadable.get(received.offsets[at])
    if unreadable is None:
        key, value = received.keys[at], received.values[at]
        return dead_letter(
            received.topic, received.partition, reject, key, value, app=app, now_ms=now_ms
        )
    letter = dead_letter(
        received.topic,
        received.partition,
        unreadable,
        None,
        unreadable.raw,
        app=app,
        now_ms=now_ms,
    )
    last = unreadable.offset + unreadable.records - 1
    places = {DLQ_LAST_OFFSET: last, DLQ_LOST_RECORDS: unreadable.records}
    return _without_value(
        msgspec.structs.replace(
            letter,
            headers=[
                *letter.headers,
                *((name, str(count).encode()) for name, count in places.items()),
            ],
        )
    )


def fit_dead_letter(letter: Outgoing, limit: int) -> Outgoing:
    """A dead letter that fits its topic: what is too large is replaced by its size and SHA-256.

    The larger one of key and value goes first, the other one only if it does not fit either. A
    value that does not fit becomes empty, a key that does not fit null.

    Parameters
    ----------
    letter
        From `dead_letter`.
    limit
        Bytes that a record of the topic may take.

    Examples
    --------
    >>> reject = Reject(7, "too_large", "no")
    >>> letter = dead_letter("ticks", 0, reject, b"k", b"x" * 900, app="a", now_ms=0)
    >>> fitted = fit_dead_letter(letter, 1_000)
    >>> fitted.key, fitted.value, dict(fitted.headers)["dlq_size"]
    (b'k', b'', b'900')
    >>> fit_dead_letter(letter, 10_000) is letter
    True
    """
    if size_of(letter) <= limit:
        return letter
    fitted, removed = letter, []
    for part in sorted(("value", "key"), key=lambda part: -len(getattr(letter, part) or b"")):
        content: bytes = getattr(letter, part) or b""
        if not content:
            break
        fitted = _without_value(fitted) if part == "value" else _without_key(fitted)
        removed.append(f"{part} of {len(content)} bytes")
        if size_of(fitted) <= limit:
            break
    note = (
        f"; its {' and its '.join(removed)} does not fit into {letter.topic}, which takes {limit} "
        "bytes a record: only size and SHA-256 are kept"
    )
    return msgspec.structs.replace(
        fitted,
        headers=[
            (name, value + note.encode() if name == "dlq_error" else value)
            for name, value in fitted.headers
        ],
    )


def _without_value(letter: Outgoing) -> Outgoing:
    return msgspec.structs.replace(
        letter,
        value=b"",
        headers=[*letter.headers, *_digest(letter.value or b"", DLQ_SIZE, DLQ_SHA256)],
    )


def _without_key(letter: Outgoing) -> Outgoing:
    return msgspec.structs.replace(
        letter,
        partition=_KEYLESS_PARTITION,
        key=None,
        headers=[*letter.headers, *_digest(letter.key or b"", DLQ_KEY_SIZE, DLQ_KEY_SHA256)],
    )


def _digest(content: bytes, size: str, sha256: str) -> list[tuple[str, bytes]]:
    return [
        (size, str(len(content)).encode()),
        (sha256, hashlib.sha256(content).hexdigest().encode()),
    ]
