"""Records of one input partition that a driver delivers to a task.

Values are the unchanged bytes of the topic. The driver fetches them, the processor decodes them.
"""

from __future__ import annotations

from bisect import bisect_left

from msgspec import Struct

from driftline.schemas.rejects import Reject


class ReceivedRecords(Struct, gc=False):
    """Records of one topic partition in offset order.

    Attributes
    ----------
    topic
        Name of the topic, without the configured prefix.
    partition
        Number of the partition.
    offsets, keys, values, timestamps_ms
        One element per record. Offsets ascend with gaps, left by aborted records and by transaction
        markers.
    start
        Position of the fetch: the delivery holds every record from here to `next`. It is the `next`
        of the delivery before, or the position of a seek.
    next
        Position after this delivery, where the next fetch starts. Markers may lie between the last
        record and it.
    unreadable
        By offset, why the driver cannot read a batch, with its bytes as received. Such a batch is
        one record without key and value, at its first offset.
    """

    topic: str
    partition: int
    offsets: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps_ms: list[int]
    start: int
    next: int
    unreadable: dict[int, Reject] = {}

    def since(self, position: int) -> ReceivedRecords:
        """The records from a position on."""
        first = bisect_left(self.offsets, position)
        return ReceivedRecords(
            self.topic,
            self.partition,
            self.offsets[first:],
            self.keys[first:],
            self.values[first:],
            self.timestamps_ms[first:],
            max(self.start, position),
            self.next,
            self.unreadable,
        )

    def explained(self, rejects: list[Reject]) -> list[Reject]:
        """Rejected records, with the reason of the driver where it could not read them."""
        if not self.unreadable:
            return rejects
        return [self.unreadable.get(reject.offset, reject) for reject in rejects]
