"""Record batches of a fetch, each with its checksum compared, and where a damaged batch ends.

A batch whose checksum is wrong was changed on the broker's disk or on the way. Its head may be
wrong too, so its end is taken from the batch that follows it in the fetch, else from the fields of
the head that agree.
"""

from __future__ import annotations

from struct import Struct as Layout
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch
from msgspec import Struct

# Base offset, length of the rest, version of the format, offset of the last record less the base
# offset, number of records.
_HEAD: Final = Layout(">qi4xB4x2xi8x8x8x2x4xi")
_START: Final = Layout(">qi")
_VERSION_AT: Final = 16
"""Place of the version in a batch."""
_FORMAT: Final = 2


class DamagedBatch(Struct, frozen=True):
    """A batch whose checksum is wrong.

    Attributes
    ----------
    first, next
        Its first offset from the fetch position on, and the offset from which reading goes on.
    payload
        The batch as received.
    """

    first: int
    next: int
    payload: bytes


class FetchedBatches:
    """The batches of a fetch of one partition, in the place of aiokafka's `MemoryRecords`, which
    keeps no bytes and takes the version of the format from the first batch alone.

    Parameters
    ----------
    data
        The answer of the broker; its last batch may be cut off.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._end = self._end_of_next()

    def size_in_bytes(self) -> int:
        """Size of the answer."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether another whole batch follows."""
        return self._end <= len(self._data)

    def next_batch(self) -> Any:
        """The next batch, whatever its checksum, or None at the end: what aiokafka's own consumers
        in this process ask for.
        """
        if not self.has_next():
            return None
        content = memoryview(self._data)[self._at : self._end]
        self._at = self._end
        self._end = self._end_of_next()
        return _decoded(content)

    def next_checked(self, position: int, log_end: int) -> Any:
        """The next batch, a `DamagedBatch`, or None for a damaged batch before the position.

        Parameters
        ----------
        position
            Next offset to read.
        log_end
            Offset after the last record that may be read.
        """
        start, end = self._at, self._end
        if end - start < _HEAD.size:
            # The length is wrong, so the batches after it cannot be found.
            first = max(_START.unpack_from(self._data, start)[0], position)
            self._end = len(self._data) + 1
            return DamagedBatch(first, first + 1, self._data[start:])
        self._at = end
        self._end = self._end_of_next()
        content = memoryview(self._data)[start:end]
        # No checksum covers the version.
        if content[_VERSION_AT] <= _FORMAT:
            try:
                batch = _decoded(content)
                if batch.validate_crc():
                    return batch
            except CorruptRecordException:
                pass
        return self._damaged(start, position, log_end)

    def _end_of_next(self) -> int:
        if self._at + _START.size > len(self._data):
            return len(self._data) + 1
        _, length = _START.unpack_from(self._data, self._at)
        return int(self._at + _START.size + length)

    def _damaged(self, start: int, position: int, log_end: int) -> DamagedBatch | None:
        base, _, version, last, count = _HEAD.unpack_from(self._data, start)
        is_readable = version == _FORMAT
        follower = _START.unpack_from(self._data, self._at)[0] if self.has_next() else 0
        if follower > base:
            if follower <= position:
                return None
            end = follower
        else:
            end = base + (max(1, min(last + 1, count)) if is_readable else 1)
            if end <= position:
                # The broker finds this batch at the position, so by its head it goes on there.
                end = max(position + 1, base + last + 1 if is_readable else 0)
        first = max(base, position)
        return DamagedBatch(first, max(first + 1, min(end, log_end)), self._data[start : self._at])


def _decoded(content: memoryview) -> Any:
    version = content[_VERSION_AT]
    if version >= _FORMAT:
        return DefaultRecordBatch(content)
    return LegacyRecordBatch(content, version)


def install() -> None:
    """Let aiokafka's consumers in this process keep the bytes of their fetches."""
    fetcher.MemoryRecords = FetchedBatches


install()
