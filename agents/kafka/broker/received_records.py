"""What a driver hands to a task: records of one input partition, as they were fetched.

Values are the untouched bytes of the topic. Decoding them is the processor's part, fetching them
the driver's.
"""

from __future__ import annotations

from bisect import bisect_left

from msgspec import Struct


class ReceivedRecords(Struct, gc=False):
    """Records of one topic partition in offset order.

    Attributes
    ----------
    topic
        Name of the topic, without the configured prefix.
    partition
        Its number.
    offsets, keys, values, timestamps_ms
        One element a record. Offsets ascend, with gaps: aborted records and the markers of upstream
        transactions are no records.
    start
        Position from which was fetched: every record from here on is in this delivery. It is the
        `next` of the delivery before, or the position that was sought.
    next
        Position after this delivery, which is where the consumer fetches next. Beyond the last
        record where markers follow it.
    """

    topic: str
    partition: int
    offsets: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps_ms: list[int]
    start: int
    next: int

    def since(self, position: int) -> ReceivedRecords:
        """The part from a position on."""
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
        )
