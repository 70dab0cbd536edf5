"""Dead letters of a broker: how one is read, and how many of them are sent again, once each.

A dead letter that was sent again is remembered by a marker, a record without key and value on the
dead-letter topic that names the letter's offset. Letter and marker are one transaction. One
transactional id is used, so a second call waits for the first one or ends it, and sees its markers.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from driftline.agents.kafka.broker.ranges import FetchedRecord
from driftline.agents.kafka.broker.wire import DLQ_KEY_SIZE, DLQ_SHA256, DLQ_SIZE
from driftline.schemas.rejects import Reject

MARKER: Final = "dlq_sent_again"
"""Header of a marker: the offset of the letter in the same partition."""


class BrokerLetter(Struct, frozen=True, kw_only=True):
    """A dead letter on a broker.

    Attributes
    ----------
    topic, partition
        Topic and partition of the rejected record, without the prefix.
    reject
        Its offset there, the reason, and its bytes.
    time
        When it was rejected, in RFC 3339.
    key
        Key of the record.
    size, sha256
        Of a value that did not fit into the dead-letter topic.
    key_was_removed
        Whether the key did not fit.
    at
        Partition and offset of the letter.
    sent_at_ms
        The broker's timestamp of the letter, in ms since the epoch.
    """

    topic: str
    partition: int
    reject: Reject
    time: str
    key: bytes | None
    size: int | None
    sha256: str | None
    key_was_removed: bool
    at: tuple[int, int]
    sent_at_ms: int

    @property
    def is_complete(self) -> bool:
        """Whether the letter has the bytes of the record."""
        return self.size is None and not self.key_was_removed and self.reject.reason != "lost"


def read_dead_letter(record: FetchedRecord) -> BrokerLetter | None:
    """The dead letter in a record of a dead-letter topic; None for a marker, and for a record that
    Driftline did not write.
    """
    try:
        headers = {name: (value or b"").decode() for name, value in record.headers.items()}
        size = headers.get(DLQ_SIZE)
        return BrokerLetter(
            topic=headers["dlq_topic"],
            partition=int(headers["dlq_partition"]),
            reject=Reject(
                int(headers["dlq_offset"]),
                headers["dlq_reason"],  # type: ignore[arg-type]
                headers["dlq_error"],
                record.value,
            ),
            time=headers.get("dlq_time", ""),
            key=record.key,
            size=None if size is None else int(size),
            sha256=headers.get(DLQ_SHA256),
            key_was_removed=DLQ_KEY_SIZE in headers,
            at=(record.partition, record.offset),
            sent_at_ms=record.timestamp_ms,
        )
    except (KeyError, ValueError):
        return None
