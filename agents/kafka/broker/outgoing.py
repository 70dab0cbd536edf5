"""What a processor gives to its task: records to write in the transaction of the commit."""

from __future__ import annotations

from msgspec import Struct


class Outgoing(Struct, frozen=True, gc=False):
    """One record to write.

    Attributes
    ----------
    topic
        Name of the topic, without the configured prefix.
    partition
        Its number, or None to choose it from the key as Java's default partitioner does (murmur2).
    key, value
        The bytes.
    headers
        Name and value of each header.
    """

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = []
