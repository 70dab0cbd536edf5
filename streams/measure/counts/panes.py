"""Event-time panes of every model and lane: adding increments, and reading any span of time as few
tables.

Panes are kept in buckets of up to 64, a day where panes are hours, so that neither many short panes
nor a commit that touches many of them costs a write each. What was read is kept in memory by bucket
and by day until an increment changes it. Frontiers and windows are none of this file's business: it
adds what it is given and returns what it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from driftline.schemas.times import DAY_MS
from driftline.streams.lanes import LANE_NAMES
from driftline.streams.masks import all_true
from driftline.streams.measure.counts.count_table import (
    EMPTY,
    PANE_SHIFT,
    PANES_IN_BUCKET,
    WITHOUT_PANE,
    CountTable,
    Ints,
    merged,
)
from driftline.streams.measure.counts.dense_layout import DenseLayout
from driftline.streams.measure.counts.merge_runs import MergeRuns, RunFormat
from driftline.streams.measure.state_keys import PANES, state_key
from driftline.streams.stage import State

CACHED_ROWS: Final = 1_500_000

TABLES: Final = RunFormat(
    size=len,
    merge=merged,
    encode=CountTable.encode,
    decode=CountTable.decode,
    extent=CountTable.extent,
)


class CountSpan:
    """The table of a span of time without its panes, and what a layout makes of it.

    Attributes
    ----------
    table
        Keys begin with the rung, so the rows known at a rung are the first ones.
    layout_id, series, column
        Which layout unfolded the keys last, and into what; -1 and nothing before that.
    has_unknown
        Whether that layout had no column for some of them.
    fresh
        Places of keys that are still to be unfolded.
    """

    __slots__ = ("column", "fresh", "has_unknown", "layout_id", "series", "table")

    def __init__(self, table: CountTable) -> None:
        self.table = table
        self.layout_id = -1
        self.series = self.column = self.fresh = EMPTY.keys
        self.has_unknown = False

    def unfold(self, layout: DenseLayout) -> None:
        """Make `series` and `column` those of a layout."""
        if self.layout_id != layout.number:
            self.series, self.column = layout.unfold(self.table.keys)
        elif len(self.fresh):
            self.series[self.fresh], self.column[self.fresh] = layout.unfold(
                self.table.keys[self.fresh]
            )
        else:
            return
        self.layout_id, self.fresh = layout.number, EMPTY.keys
        self.has_unknown = bool(len(self.column)) and int(self.column.min()) < 0

    def plus(self, small: CountTable) -> CountSpan:
        """The sum with a smaller table; what was unfolded stays so."""
        table, fresh = self.table.plus(small)
        grown = CountSpan(table)
        if self.layout_id >= 0 and not len(self.fresh):
            at = fresh - np.arange(len(fresh))
            grown.series, grown.column = (
                np.insert(self.series, at, 0),
                np.insert(self.column, at, 0),
            )
            grown.layout_id, grown.fresh, grown.has_unknown = (
                self.layout_id,
                fresh,
                self.has_unknown,
            )
        return grown


class GainedPanes(NamedTuple):
    """The first and the last pane, by start in ms, that gained counts in a bucket of a lane;

    `model` is an index.
    """

    model: int
    lane: int
    first_ms: int
    last_ms: int


class Panes:
    """All panes of one task.

    Parameters
    ----------
    pane_ms
        Length of a pane.
    """

    def __init__(self, pane_ms: int) -> None:
        self._pane_ms = pane_ms
        panes_in_day = DAY_MS // pane_ms if DAY_MS % pane_ms == 0 else PANES_IN_BUCKET
        self._bucket_ms = pane_ms * max(
            size for size in range(1, PANES_IN_BUCKET + 1) if panes_in_day % size == 0
        )
        self._stride_ms = max(pane_ms * panes_in_day, self._bucket_ms)
        self._runs = MergeRuns(TABLES, cached=CACHED_ROWS)
        self._chunks: dict[tuple[int, int, int, int], CountSpan] = {}
        self._chunk_rows = 0

    def add(
        self,
        models: Sequence[int],
        model: Ints,
        lane: Ints,
        pane: Ints,
        keys: Ints,
        counts: Ints,
        state: State,
    ) -> list[GainedPanes]:
        """Add increments, and say which panes gained any.

        Parameters
        ----------
        models
            Numbers of the models.
        model, lane, pane, keys, counts
            Shape (N,): index into `models`, lane, start of the pane in ms, packed key without pane,
            increment; in any order.
        """
        if not len(keys):
            return []
        pane = pane // self._pane_ms
        first, panes_in_bucket = int(pane.min()), self._bucket_ms // self._pane_ms
        span = int(pane.max()) - first + 1
        place, keys, counts = _added_up(
            (model * _LANES + lane) * span + (pane - first), keys, counts
        )
        owners, pane = place // span, place % span + first
        bucket = pane // panes_in_bucket
        keys = keys | (pane - bucket * panes_in_bucket << PANE_SHIFT)
        nothing = not all_true(counts)
        gained = []
        edges = [
            0,
            *(
                ((owners[1:] != owners[:-1]) | (bucket[1:] != bucket[:-1])).nonzero()[0] + 1
            ).tolist(),
            len(keys),
        ]
        begins = edges[:-1]
        for (begin, end), owner, number in zip(
            pairwise(edges), owners[begins].tolist(), bucket[begins].tolist(), strict=True
        ):
            # Copies, so that what stays in memory is not the whole batch.
            start_ms, table = (
                number * self._bucket_ms,
                CountTable(keys[begin:end].copy(), counts[begin:end].copy()),
            )
            first_ms, last_ms = (
                start_ms + (key >> PANE_SHIFT) * self._pane_ms for key in table.extent()
            )
            gained.append(GainedPanes(owner // _LANES, owner % _LANES, first_ms, last_ms))
            if nothing:
                table = CountTable.of(table.keys, table.counts)
            if len(table):
                self._append(owner % _LANES, models[owner // _LANES], start_ms, table, state)
        return gained

    def span(self, model: int, lane: int, start: int, end: int, state: State) -> list[CountSpan]:
        """Chunks that together hold the panes from `start` (included) to `end` (excluded); both are
        edges of panes.
        """
        chunks = []
        stride, bucket = self._stride_ms, self._bucket_ms
        at = start
        while at < end:
            if at % stride == 0 and at + stride <= end:
                length = stride
            elif at % bucket == 0 and at + bucket <= end:
                length = bucket
            else:
                length = min(end, at - at % bucket + bucket) - at
            chunk = self._chunk(model, lane, at, length, state)
            if len(chunk.table):
                chunks.append(chunk)
            at += length
        return chunks

    def rows(
        self, model: int, lane: int, start: int, end: int, state: State
    ) -> tuple[Ints, Ints, Ints]:
        """All rows of the panes from `start` to `end`: start of the pane, key without pane, count;
        a key may come again.
        """
        parts = []
        for bucket in range(start - start % self._bucket_ms, end, self._bucket_ms):
            for table in self._runs.read(state_key(PANES, lane, model, bucket), state):
                parts.append(
                    (
                        bucket + (table.keys >> PANE_SHIFT) * self._pane_ms,
                        table.keys & WITHOUT_PANE,
                        table.counts,
                    )
                )
        if not parts:
            return EMPTY.keys, EMPTY.keys, EMPTY.counts
        pane, keys, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
        inside = (pane >= start) & (pane < end)
        return pane[inside], keys[inside], counts[inside]

    def drop(self, model: int, lane: int, start: int, end: int, state: State) -> None:
        """Forget whole buckets from `start` to `end`."""
        first, last = (
            start // self._bucket_ms * self._bucket_ms,
            end // self._bucket_ms * self._bucket_ms,
        )
        self._runs.drop(
            state_key(PANES, lane, model, first), state_key(PANES, lane, model, last), state
        )
        for key in [
            key
            for key in self._chunks
            if key[0] == model and key[1] == lane and first <= key[2] and key[2] + key[3] <= last
        ]:
            self._chunk_rows -= len(self._chunks.pop(key).table)

    def _append(self, lane: int, model: int, bucket: int, table: CountTable, state: State) -> None:
        self._runs.append(state_key(PANES, lane, model, bucket), table, state)
        stride = self._stride_ms
        for key in (
            (model, lane, bucket, self._bucket_ms),
            (model, lane, bucket - bucket % stride, stride),
        ):
            chunk = self._chunks.pop(key, None)
            if chunk is not None:
                self._chunk_rows -= len(chunk.table)

    def _chunk(self, model: int, lane: int, at: int, length: int, state: State) -> CountSpan:
        if length < self._bucket_ms:
            return CountSpan(self._table(model, lane, at, length, state))
        key = (model, lane, at, length)
        chunk = self._chunks.pop(key, None)
        if chunk is None:
            chunk = CountSpan(self._table(model, lane, at, length, state))
            self._chunk_rows += len(chunk.table)
            while self._chunk_rows > CACHED_ROWS and self._chunks:
                self._chunk_rows -= len(self._chunks.pop(next(iter(self._chunks))).table)
        self._chunks[key] = chunk
        return chunk

    def _table(self, model: int, lane: int, at: int, length: int, state: State) -> CountTable:
        bucket_ms, pane_ms = self._bucket_ms, self._pane_ms
        if length > bucket_ms:
            parts = [
                self._chunk(model, lane, bucket, bucket_ms, state).table
                for bucket in range(at, at + length, bucket_ms)
            ]
            return merged(parts)
        bucket = at - at % bucket_ms
        low, high = (
            (at - bucket) // pane_ms << PANE_SHIFT,
            (at - bucket + length) // pane_ms << PANE_SHIFT,
        )
        tables = self._runs.read(state_key(PANES, lane, model, bucket), state, (low, high - 1))
        if length < bucket_ms:
            tables = [table.between(low, high) for table in tables]
        if not any(map(len, tables)):
            return EMPTY
        keys = np.concatenate([table.keys for table in tables]) & WITHOUT_PANE
        return CountTable.of(keys, np.concatenate([table.counts for table in tables]))


def _added_up(place: Ints, keys: Ints, counts: Ints) -> tuple[Ints, Ints, Ints]:
    """The sum of the counts of each place and key, by place and then by key; shapes (N,), N above
    0, in any order.
    """
    bits = int(keys.max()).bit_length()
    if int(place.max()) < 1 << _SIGNED_BITS - bits:
        packed = place << bits | keys
        order = np.argsort(packed)
        packed = packed[order]
        starts = np.flatnonzero(np.diff(packed, prepend=-1))
        packed = packed[starts]
        place, keys = packed >> bits, packed & (1 << bits) - 1
    else:
        # Many models, far apart in time: place and key do not fit one number. A stable sort of
        # 16-bit integers is a radix sort.
        number = np.unique(place, return_inverse=True)[1]
        by_key = np.argsort(keys)
        order = by_key[
            np.argsort(
                number[by_key].astype(np.uint16 if int(number.max()) < 1 << 16 else np.int64),
                kind="stable",
            )
        ]
        place, keys = place[order], keys[order]
        starts = np.flatnonzero(np.diff(place, prepend=-1) | np.diff(keys, prepend=-1))
        place, keys = place[starts], keys[starts]
    return place, keys, np.add.reduceat(counts[order], starts)


_SIGNED_BITS: Final = 63
_LANES: Final = len(LANE_NAMES)
