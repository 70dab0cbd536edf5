"""Output records of a processor, which its task writes in the transaction of the commit."""

from __future__ import annotations

from msgspec import Struct


class Outgoing(Struct, frozen=True, gc=False):
    """One output record.

    Attributes
    ----------
    topic
        Name of the topic, without the configured prefix.
    partition
        Number of the partition, or None to derive it from the key as Java's default partitioner
        does (murmur2).
    key, value
        Bytes on the topic.
    headers
        Name and value of each header.
    """

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = []
