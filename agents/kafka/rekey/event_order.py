"""Merges the partitions of the sources in the order of a log (`driftline.streams.log_order`), as
far as their records have been read.

A partition with unread records is waited for, so that a backlog comes out as if it had been sent in
the order of event time. A partition that is read to its end is not waited for, except for a moment
under the data clock, under which recorded history may run ahead of it by days in a second.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from driftline.streams.watermark import Watermark, WatermarkWalk

HELD_S: Final = 1.0
"""Under the data clock, the time for which a record waits for partitions that are read to their
ends.
"""

Place = tuple[str, int]
_Item = TypeVar("_Item")


class _Record(NamedTuple, Generic[_Item]):
    number: int
    time_ms: int
    arrived_s: float
    item: _Item


class _Source(Generic[_Item]):
    """The records of one partition that were read and not passed on."""

    def __init__(self) -> None:
        self.records: deque[_Record[_Item]] = deque()
        self.at_end = False
        self._number = 0
        self._key_ms = 0
        self._walk = WatermarkWalk(Watermark())
        self._misdated: set[int] = set()

    def push(self, time_ms: int, arrived_s: float, item: _Item) -> None:
        self._number += 1
        self.at_end = False
        self.records.append(_Record(self._number, time_ms, arrived_s, item))
        if not time_ms:
            return
        walk = self._walk
        walk.row(time_ms, 0, b"%d" % self._number, self._number)
        if walk.misdated:
            self._misdated.update(wrong.row.offset for wrong in walk.misdated)
            walk.misdated.clear()

    def key_ms(self) -> int:
        """Key of the next record. One of which it is not known whether it is misdated counts as if
        it were not: it waits for the other partitions.
        """
        record = self.records[0]
        if record.number in self._misdated:
            return self._key_ms
        return max(self._key_ms, record.time_ms)

    def pop(self) -> _Record[_Item]:
        self._key_ms = self.key_ms()
        record = self.records.popleft()
        self._misdated.discard(record.number)
        return record


class EventOrder(Generic[_Item]):
    """Records of several partitions in the order of a log.

    Parameters
    ----------
    places
        Topic and partition of each source, in the order of records with equal keys.
    held_s
        Seconds for which a record waits for partitions that are read to their ends.
    """

    def __init__(self, places: Iterable[Place], *, held_s: float) -> None:
        self._sources: dict[Place, _Source[_Item]] = {place: _Source() for place in places}
        self._held_s = held_s

    def push(self, place: Place, time_ms: int, arrived_s: float, item: _Item) -> None:
        """Add the next record of a partition.

        Parameters
        ----------
        time_ms
            Its event time; 0 for a record without a valid one.
        arrived_s
            When it was read, in seconds of a clock that never goes back.
        """
        self._sources[place].push(time_ms, arrived_s, item)

    def note_end(self, place: Place) -> None:
        """Note that a partition is read to its end."""
        self._sources[place].at_end = True

    @property
    def is_read(self) -> bool:
        """Whether all partitions are read to their ends, and all records passed on."""
        return all(not source.records and source.at_end for source in self._sources.values())

    def waiting(self, place: Place) -> int:
        """Number of records of a partition that were not passed on."""
        return len(self._sources[place].records)

    def pop(self, most: int, now_s: float) -> Iterator[tuple[Place, _Item]]:
        """Pass on the records whose turn it is, at most `most`."""
        order = list(self._sources.items())
        empty = [source for _, source in order if not source.records]
        if any(not source.at_end for source in empty):
            return
        heads = [
            (source.key_ms(), number) for number, (_, source) in enumerate(order) if source.records
        ]
        heapq.heapify(heads)
        while heads and most:
            place, source = order[heads[0][1]]
            if len(heads) < len(order) and source.records[0].arrived_s > now_s - self._held_s:
                return
            yield place, source.pop().item
            most -= 1
            if source.records:
                heapq.heapreplace(heads, (source.key_ms(), heads[0][1]))
                continue
            heapq.heappop(heads)
            if not source.at_end:
                return
