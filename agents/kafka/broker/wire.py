"""Values to records on topics: keys, partitions and headers of what the stages say, and of what is
refused.

What is said goes out as JSON with readable keys and, in headers, the attributes of a CloudEvent
(binary mode). Everything after stage 1 is partitioned by model name, whatever else the key says, so
that all versions of a model meet in one task.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import xxhash

from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.schemas.rejects import Reject
from driftline.schemas.results import encode
from driftline.schemas.times import format_time
from driftline.schemas.topics import (
    ALERTS,
    DRIFT,
    HISTOGRAMS,
    METRICS,
    OUTCOMES,
    RECOMMENDATIONS,
    REFERENCE_PROFILES,
    REGISTRY_EFFECTS,
    REGISTRY_EVENTS,
    TOPICS,
    WINDOW_PARTIALS,
    dlq_name,
)
from driftline.streams.hashing import partitions_of
from driftline.streams.partial import Watermarks
from driftline.streams.partial import encode as encode_partial
from driftline.streams.stage import Record

# The attribute of a value that says which event time the record is about.
_TIME_OF: Final = {
    OUTCOMES: "known_at_ms",
    METRICS: "window_end_ms",
    HISTOGRAMS: "window_end_ms",
    DRIFT: "window_end_ms",
    ALERTS: "at_ms",
    RECOMMENDATIONS: "at_ms",
    REGISTRY_EVENTS: "at",
    REGISTRY_EFFECTS: "frontier",
    REFERENCE_PROFILES: "created_at",
}


@lru_cache(maxsize=65_536)
def partition_of(model_name: str, partitions: int) -> int:
    """Partition of everything about a model, as Kafka's default partitioner places the key
    "model_name".

    Examples
    --------
    >>> partition_of("churn", 4), partition_of("churn", 1)
    (1, 0)
    """
    return int(partitions_of([model_name.encode()], partitions)[0])


class WireEncoder:
    """Makes records of what the stages say.

    Parameters
    ----------
    app
        Name of the application, for `ce_source`.
    partitions
        Of the topics after stage 1.
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

    def said(self, records: Iterable[Record]) -> list[Outgoing]:
        """Records of stages 2 to 4, and outcomes: JSON, with the headers of a CloudEvent.

        `ce_id` is a hash of topic, key and value, so that a consumer who sees a record twice can
        tell. The state in force has no time of its own, hence no `ce_time`.
        """
        return [self._event(record) for record in records]

    def partials(self, records: Iterable[Record]) -> list[Outgoing]:
        """Partials to the partition of their models, watermarks to every partition; in order, since
        a watermark closes what came before.
        """
        outgoing: list[Outgoing] = []
        for record in records:
            value = encode_partial(record.value)
            name = record.value.key()
            key = name.encode()
            if isinstance(record.value, Watermarks):
                outgoing += [
                    Outgoing(WINDOW_PARTIALS, partition, key, value)
                    for partition in range(self._partitions)
                ]
            else:
                outgoing.append(
                    Outgoing(WINDOW_PARTIALS, partition_of(name, self._partitions), key, value)
                )
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
        return Outgoing(
            topic, partition_of(record.value.model_name, self._partitions), key, value, headers
        )


def dead_letter(
    topic: str,
    partition: int,
    reject: Reject,
    key: bytes | None,
    value: bytes | None,
    *,
    now_ms: int,
) -> Outgoing:
    """What was refused, with its untouched key and bytes.

    Parameters
    ----------
    topic, partition, key, value
        Where it was, and as it came.
    now_ms
        The clock, for `dlq_time`.
    """
    headers = {
        "dlq_topic": topic,
        "dlq_partition": str(partition),
        "dlq_offset": str(reject.offset),
        "dlq_reason": reject.reason,
        "dlq_error": reject.error,
        "dlq_time": format_time(now_ms),
    }
    # A record without a key has no partition by key; the dead letters of a topic have at least one
    # partition.
    place = 0 if key is None else None
    return Outgoing(
        dlq_name(topic),
        place,
        key,
        value,
        [(name, text.encode()) for name, text in headers.items()],
    )
