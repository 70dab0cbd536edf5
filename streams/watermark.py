"""The watermark of a topic partition: the event time that its rows bear out.

It is the largest event time so far, with one exception: a row that is more than JUMP_MS ahead does
not move it alone. WITNESSES such rows of different ids do; each row that is not ahead takes two of
them away, so they must be the greater part of the partition's rows. Once they are enough, the
watermark moves to the median of their event times. A row dated wrongly thus leaves the others in
time, and a gap in the data costs nothing: the watermark only stands still for a few rows.

Everything is a function of the rows and ticks of the partition in their order, so it depends
neither on how they were cut into batches nor on restarts.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.schemas.times import DAY_MS, HOUR_MS
from driftline.streams.masks import any_true

Ints = NDArray[np.int64]

JUMP_MS: Final = HOUR_MS
"""A row further ahead of the watermark than this needs witnesses."""
WITNESSES: Final = 10
"""Rows of different ids that are ahead before the watermark follows them."""
LAST_JUMP_MS: Final = DAY_MS
"""A last row that is at most this far ahead needs none."""
_MAX_AHEAD: Final = 4 * WITNESSES
_MAX_COPIES: Final = 40 * WITNESSES
_STRETCH: Final = 512


class Ahead(msgspec.Struct, array_like=True, frozen=True):
    """A row ahead of the watermark that waits for witnesses: id, offset, and the largest event time
    in ms of the id.
    """

    timestamp_ms: int
    id: bytes
    offset: int


class Watermark(msgspec.Struct, array_like=True, frozen=True):
    """Watermark of a topic partition.

    Attributes
    ----------
    ms
        Event time in ms since the epoch; 0 before any row is borne out.
    ahead
        The rows ahead of it, by arrival.
    votes
        Number of rows in `ahead`, less two for each row since that was not ahead.
    copies
        Number of rows since the first one in `ahead` whose id was there already.
    """

    ms: int = 0
    ahead: tuple[Ahead, ...] = ()
    votes: int = 0
    copies: int = 0

    @property
    def follows(self) -> bool:
        """Whether the watermark goes to the rows ahead if no further row comes: at least two votes
        are left, the rows are at most LAST_JUMP_MS ahead, or there were few rows at all.
        """
        return (
            self.votes >= 2
            or not self.ms
            or all(row.timestamp_ms <= self.ms + LAST_JUMP_MS for row in self.ahead)
        )

    @property
    def final_ms(self) -> int:
        """The watermark if no further row comes."""
        return (
            max([self.ms, *(row.timestamp_ms for row in self.ahead)]) if self.follows else self.ms
        )

    def given_up(self) -> list[Misdated]:
        """The rows that are still ahead, when no further row comes."""
        return [Misdated(row, self.ms) for row in self.ahead]

    def raised(self, tick_ms: int) -> Watermark:
        """The watermark after a tick."""
        walk = WatermarkWalk(self)
        walk.raise_to(tick_ms)
        return walk.frozen()


class Misdated(NamedTuple):
    """A row that had no witnesses, and the watermark when that was known, in ms."""

    row: Ahead
    watermark_ms: int


class Passage(NamedTuple):
    """The watermark over the rows of a batch.

    Attributes
    ----------
    ms
        Shape (N,): the watermark at each row, including it.
    after
        The watermark after the batch.
    misdated
        Rows, also of earlier batches, that were ahead without enough witnesses.
    copies
        Offsets of rows that were ahead and whose id was ahead before them.
    in_order
        Whether no row, of an earlier batch either, was ahead.
    """

    ms: Ints
    after: Watermark
    misdated: list[Misdated]
    copies: list[int]
    in_order: bool

    def order_times(self, timestamp_ms: Ints, offset: Ints) -> Ints:
        """The event times whose running maximum orders the rows of a batch, shape (N,): 0 for rows
        that turned out to be misdated.
        """
        if self.in_order:
            return timestamp_ms
        left_out = {wrong.row.offset for wrong in self.misdated} | set(self.copies)
        return np.where(np.isin(offset, sorted(left_out)), 0, timestamp_ms)


def advance(
    before: Watermark, timestamp_ms: Ints, tick_ms: Ints | int, ids: Sequence[bytes], offset: Ints
) -> Passage:
    """The watermark over the rows of a batch.

    Parameters
    ----------
    timestamp_ms
        Event time of each row in ms, shape (N,).
    tick_ms
        The tick in force at each row, shape (N,), or one for all.
    ids, offset
        Id and offset of each row.

    Examples
    --------
    >>> day = 86_400_000
    >>> times = np.array([20, 20, 250, 20, 21, 21]) * day
    >>> start = Watermark(ms=20 * day)
    >>> rows = np.arange(6)
    >>> passage = advance(start, times, 0, [b"%d" % i for i in rows], rows)
    >>> (passage.ms // day).tolist(), [m.row.offset for m in passage.misdated]
    ([20, 20, 20, 20, 20, 20], [2])
    """
    n = len(timestamp_ms)
    ticks = np.broadcast_to(np.asarray(tick_ms, np.int64), n)
    marks = np.empty(n, np.int64)
    walk = WatermarkWalk(before)
    begin, length, in_order = 0, n, True
    while begin < n:
        if not walk.ahead:
            end = min(begin + length, n)
            reached = begin + _in_order(
                walk.ms, timestamp_ms[begin:end], ticks[begin:end], marks[begin:end]
            )
            if reached > begin:
                walk.ms = int(marks[reached - 1])
            # After a jump the rows are looked at in short stretches: more jumps may follow.
            begin, length = reached, _STRETCH
            if reached == end:
                continue
        in_order = False
        begin = walk.take(begin, timestamp_ms, ticks, ids, offset, marks)
    return Passage(marks, walk.frozen(), walk.misdated, walk.copied, in_order)


def _in_order(before_ms: int, timestamp_ms: Ints, tick_ms: Ints, marks: Ints) -> int:
    """Write the running maximum to `marks` and return the number of rows before the first one that
    is ahead.
    """
    np.maximum(timestamp_ms, tick_ms, out=marks)
    marks[0] = max(int(marks[0]), before_ms)
    np.maximum.accumulate(marks, out=marks)
    reached = np.empty_like(marks)
    reached[0] = before_ms
    reached[1:] = marks[:-1]
    np.maximum(reached, tick_ms, out=reached)
    is_ahead = timestamp_ms > reached + JUMP_MS
    return int(np.argmax(is_ahead)) if any_true(is_ahead) else len(marks)


class WatermarkWalk:
    """A watermark that is moved row by row.

    Attributes
    ----------
    ms, ahead, votes, copies
        As in `Watermark`.
    misdated, copied
        As `misdated` and `copies` of `Passage`.
    """

    def __init__(self, before: Watermark) -> None:
        self.ms = before.ms
        self.ahead = list(before.ahead)
        self.votes = before.votes
        self.copies = before.copies
        self.misdated: list[Misdated] = []
        self.copied: list[int] = []

    def frozen(self) -> Watermark:
        """The watermark as it is now."""
        return Watermark(self.ms, tuple(self.ahead), self.votes, self.copies)

    def take(
        self,
        begin: int,
        timestamp_ms: Ints,
        ticks: Ints,
        ids: Sequence[bytes],
        offset: Ints,
        marks: Ints,
    ) -> int:
        """Take rows from `begin` on until none waits for witnesses; gives the next index."""
        n = len(timestamp_ms)
        for i in range(begin, n):
            self.row(int(timestamp_ms[i]), int(ticks[i]), ids[i], int(offset[i]))
            marks[i] = self.ms
            if not self.ahead:
                return i + 1
        return n

    def row(self, time_ms: int, tick_ms: int, id_: bytes, offset: int) -> None:
        """Take one row."""
        self.raise_to(tick_ms)
        if time_ms > self.ms + JUMP_MS:
            self._witness(Ahead(time_ms, id_, offset))
            return
        self.votes -= 2
        self.raise_to(time_ms)
        if self.votes <= 0:
            self._give_up(len(self.ahead))

    def raise_to(self, time_ms: int) -> None:
        """Raise the watermark, and follow the rows that are not ahead of it any more."""
        if time_ms <= self.ms:
            return
        self.ms = time_ms
        while reached := [row for row in self.ahead if row.timestamp_ms <= self.ms + JUMP_MS]:
            self.ms = max(self.ms, *(row.timestamp_ms for row in reached))
            self.ahead = [row for row in self.ahead if row not in reached]
            self.votes = max(self.votes - len(reached), 0)
        self._rest()

    def _witness(self, row: Ahead) -> None:
        at = next((at for at, other in enumerate(self.ahead) if other.id == row.id), None)
        if at is not None:
            first = self.ahead[at]
            # The same id may come again later, with a correction.
            later_ms = max(first.timestamp_ms, row.timestamp_ms)
            self.ahead[at] = Ahead(later_ms, first.id, first.offset)
            self.copied.append(row.offset)
            self.copies += 1
            if self.copies > _MAX_COPIES:
                self._give_up(len(self.ahead))
            return
        self.ahead.append(row)
        self.votes += 1
        if self.votes < WITNESSES:
            self._give_up(len(self.ahead) - _MAX_AHEAD)
            return
        self.raise_to(median_low([other.timestamp_ms for other in self.ahead]))
        self.votes, self.copies = len(self.ahead), 0

    def _give_up(self, rows: int) -> None:
        """Take the first `rows` rows for misdated."""
        if rows > 0:
            self.misdated += [Misdated(row, self.ms) for row in self.ahead[:rows]]
            del self.ahead[:rows]
        self._rest()

    def _rest(self) -> None:
        if not self.ahead:
            self.votes = self.copies = 0
