"""Event-time panes of every model and lane: they take increments and return any span of time.

Panes are stored in buckets of up to 64 (a day, where panes are hours), so that neither many short
panes nor a commit that touches many of them cost a write each. Tables that were read stay in memory
by bucket and by day until an increment changes them. Frontiers and windows are `timing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from driftline.schemas.times import DAY_MS
from driftline.streams.lanes import LANE_NAMES
from driftline.streams.masks import all_true
from driftline.streams.measure.counts.count_table import EMPTY, CountTable, merged
from driftline.streams.measure.counts.dense_layout import DenseLayout
from driftline.streams.measure.counts.merge_runs import MergeRuns, RunFormat
from driftline.streams.measure.counts.packed_key import (
    PANES_IN_BUCKET,
    Ints,
    first_key_of_pane,
    panes_of,
    with_pane,
    without_pane,
)
from driftline.streams.measure.state_keys import PANES, state_key
from driftline.streams.stage import State
from driftline.streams.work_slices import WorkSlices, in_slices

CACHED_ROWS: Final = 1_500_000
SMALL_ROWS: Final = 256

TABLES: Final = RunFormat(
    size=len,
    merge=merged,
    encode=CountTable.encode,
    decode=CountTable.decode,
    extent=CountTable.extent,
)


class SpanColumns(NamedTuple):
    """The rows of a span as a layout unfolds them.

    Attributes
    ----------
    layout_id
        Number of the layout.
    series, column
        Shape (N,): series number and column of each row.
    has_unknown
        Whether the layout has no column for some of them.
    """

    layout_id: int
    series: Ints
    column: Ints
    has_unknown: bool


class CountSpan:
    """The table of a span of time, keys without panes, and its columns in the layout used last.

    Keys begin with the rung, so the rows known at a rung are the first ones.
    """

    __slots__ = ("_columns", "_new", "table")

    def __init__(
        self, table: CountTable, columns: SpanColumns | None = None, new: Ints = EMPTY.keys
    ) -> None:
        self.table = table
        self._columns = columns
        self._new = new  # places of keys that `columns` does not cover yet

    def unfold(self, layout: DenseLayout) -> SpanColumns:
        """Series and columns in a layout."""
        columns = self._columns
        if columns is None or columns.layout_id != layout.number:
            series, column = layout.unfold(self.table.keys)
        elif len(self._new):
            series, column = columns.series, columns.column
            series[self._new], column[self._new] = layout.unfold(self.table.keys[self._new])
        else:
            return columns
        has_unknown = bool(len(column)) and int(column.min()) < 0
        self._columns = SpanColumns(layout.number, series, column, has_unknown)
        self._new = EMPTY.keys
        return self._columns

    def is_small_and_folded(self, layout: DenseLayout) -> bool:
        """Whether the span has few rows, and no columns in a layout yet."""
        columns = self._columns
        return 0 < len(self.table) <= SMALL_ROWS and (
            columns is None or columns.layout_id != layout.number
        )

    def set_columns(self, columns: SpanColumns) -> None:
        """Take over the columns of all rows."""
        self._columns = columns
        self._new = EMPTY.keys

    def plus(self, small: CountTable) -> CountSpan:
        """The sum with a smaller table; columns that were unfolded are kept."""
        table, new = self.table.plus(small)
        columns = self._columns
        if columns is None or len(self._new):
            return CountSpan(table)
        at = new - np.arange(len(new))
        grown = SpanColumns(
            columns.layout_id,
            np.insert(columns.series, at, 0),
            np.insert(columns.column, at, 0),
            columns.has_unknown,
        )
        return CountSpan(table, grown, new)


def unfold_together(spans: Iterable[CountSpan], layout: DenseLayout) -> None:
    """Unfold the small tables of several spans in one call; the larger ones wait for `unfold`.

    For a few rows a call costs more than its numbers.
    """
    todo = [span for span in spans if span.is_small_and_folded(layout)]
    if len(todo) < 2:
        return
    edges = np.cumsum([0, *(len(span.table) for span in todo)])
    series, column = layout.unfold(np.concatenate([span.table.keys for span in todo]))
    has_unknown = np.minimum.reduceat(column, edges[:-1]) < 0
    for span, begin, end, unknown in zip(
        todo, edges[:-1].tolist(), edges[1:].tolist(), has_unknown.tolist(), strict=True
    ):
        # Copies: a slice would keep the columns of all spans in memory.
        span.set_columns(
            SpanColumns(layout.number, series[begin:end].copy(), column[begin:end].copy(), unknown)
        )


class GainedPanes(NamedTuple):
    """First and last of some panes of a lane that gained counts and follow each other, by start in
    ms.

    `model` is an index into the models that `Panes.add` was called with.
    """

    model: int
    lane: int
    first_ms: int
    last_ms: int


class PaneRows(NamedTuple):
    """Rows of panes, columns of shape (N,): start of the pane in ms, key without pane, count."""

    pane: Ints
    keys: Ints
    counts: Ints


class _SpanKey(NamedTuple):
    """A bucket or a stride of a lane."""

    model: int
    lane: int
    start_ms: int
    length_ms: int


class Panes:
    """All panes of one task.

    Parameters
    ----------
    pane_ms
        Length of a pane.

    Attributes
    ----------
    bucket_ms
        Length of a bucket.
    """

    def __init__(self, pane_ms: int) -> None:
        self._pane_ms = pane_ms
        panes_in_day = DAY_MS // pane_ms if DAY_MS % pane_ms == 0 else PANES_IN_BUCKET
        self.bucket_ms = pane_ms * max(
            size for size in range(1, PANES_IN_BUCKET + 1) if panes_in_day % size == 0
        )
        # A day, or a bucket where the day is not made of whole panes.
        self._stride_ms = max(pane_ms * panes_in_day, self.bucket_ms)
        self._runs = MergeRuns(TABLES, cached=CACHED_ROWS)
        self._spans: dict[_SpanKey, CountSpan] = {}
        self._span_rows = 0

    def add(
        self,
        models: Sequence[int],
        model: Ints,
        lane: Ints,
        pane: Ints,
        keys: Ints,
        counts: Ints,
        state: State,
    ) -> WorkSlices[list[GainedPanes]]:
        """Add increments, in slices; one write per model and bucket.

        Parameters
        ----------
        models
            Numbers of the models.
        model, lane, pane, keys, counts
            Shape (N,): index into `models`, lane, start of the pane in ms, packed key without pane,
            increment; in any order.

        Returns
        -------
        list
            The panes that gained counts, even if the counts add up to 0.
        """
        if not len(keys):
            return []
        pane = pane // self._pane_ms
        first, panes_in_bucket = int(pane.min()), self.bucket_ms // self._pane_ms
        span = int(pane.max()) - first + 1
        place, keys, counts = _summed((model * _LANES + lane) * span + (pane - first), keys, counts)
        owner, pane = place // span, place % span + first
        bucket = pane // panes_in_bucket
        keys = with_pane(keys, pane - bucket * panes_in_bucket)
        has_zeros = not all_true(counts)
        gained = self._gained(owner, pane)
        is_first = (owner[1:] != owner[:-1]) | (bucket[1:] != bucket[:-1])
        edges = [0, *(is_first.nonzero()[0] + 1).tolist(), len(keys)]
        begins = edges[:-1]
        places = list(
            zip(pairwise(edges), owner[begins].tolist(), bucket[begins].tolist(), strict=True)
        )
        for some in in_slices(places):
            for (begin, end), owner_number, bucket_number in some:
                model_index, lane_number = divmod(owner_number, _LANES)
                start_ms = bucket_number * self.bucket_ms
                # Copies: a slice would keep the whole batch in memory.
                table = CountTable(keys[begin:end].copy(), counts[begin:end].copy())
                if has_zeros:
                    table = CountTable.of(table.keys, table.counts)
                if len(table):
                    self._append(lane_number, models[model_index], start_ms, table, state)
            yield
        return gained

    def _gained(self, owner: Ints, pane: Ints) -> list[GainedPanes]:
        """The panes of rows that are sorted by owner and pane, shape (N,)."""
        is_apart = (owner[1:] != owner[:-1]) | (pane[1:] > pane[:-1] + 1)
        edges = is_apart.nonzero()[0] + 1
        first = np.concatenate(([0], edges))
        last = np.concatenate((edges, [len(owner)])) - 1
        model, lane = np.divmod(owner[first], _LANES)
        pane_ms = pane * self._pane_ms
        columns = (model, lane, pane_ms[first], pane_ms[last])
        return [GainedPanes(*row) for row in zip(*(each.tolist() for each in columns), strict=True)]

    def span(
        self, model: int, lane: int, start_ms: int, end_ms: int, state: State
    ) -> list[CountSpan]:
        """The panes from `start_ms` (included) to `end_ms` (excluded), in few tables.

        Both are edges of panes. Empty tables are left out.
        """
        spans = []
        stride_ms, bucket_ms = self._stride_ms, self.bucket_ms
        at_ms = start_ms
        while at_ms < end_ms:
            if at_ms % stride_ms == 0 and at_ms + stride_ms <= end_ms:
                length_ms = stride_ms
            elif at_ms % bucket_ms == 0 and at_ms + bucket_ms <= end_ms:
                length_ms = bucket_ms
            else:
                length_ms = min(end_ms, at_ms - at_ms % bucket_ms + bucket_ms) - at_ms
            span = self._span(_SpanKey(model, lane, at_ms, length_ms), state)
            if len(span.table):
                spans.append(span)
            at_ms += length_ms
        return spans

    def rows(self, model: int, lane: int, start_ms: int, end_ms: int, state: State) -> PaneRows:
        """All rows of the panes from `start_ms` to `end_ms`; a key of a pane may be repeated."""
        parts = []
        for bucket_ms in range(start_ms - start_ms % self.bucket_ms, end_ms, self.bucket_ms):
            for table in self._runs.read(state_key(PANES, lane, model, bucket_ms), state):
                pane = bucket_ms + panes_of(table.keys) * self._pane_ms
                parts.append((pane, without_pane(table.keys), table.counts))
        if not parts:
            return PaneRows(EMPTY.keys, EMPTY.keys, EMPTY.counts)
        pane, keys, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
        is_inside = (pane >= start_ms) & (pane < end_ms)
        return PaneRows(pane[is_inside], keys[is_inside], counts[is_inside])

    def drop(
        self, model: int, lane: int, first_ms: int, last_ms: int, end_ms: int, state: State
    ) -> None:
        """Delete the buckets with the panes from `first_ms` to `last_ms`, but for one that goes on
        after `end_ms`.
        """
        bucket_ms, stride_ms = self.bucket_ms, self._stride_ms
        begin_ms = first_ms // bucket_ms * bucket_ms
        behind_ms = min(last_ms + bucket_ms, end_ms) // bucket_ms * bucket_ms
        buckets = range(begin_ms, behind_ms, bucket_ms)
        self._runs.drop((state_key(PANES, lane, model, bucket) for bucket in buckets), state)
        for bucket in buckets:
            self._uncache(_SpanKey(model, lane, bucket, bucket_ms))
        for start_ms in range(begin_ms // stride_ms * stride_ms, behind_ms, stride_ms):
            self._uncache(_SpanKey(model, lane, start_ms, stride_ms))

    def _append(self, lane: int, model: int, bucket: int, table: CountTable, state: State) -> None:
        self._runs.append(state_key(PANES, lane, model, bucket), table, state)
        stride = self._stride_ms
        self._uncache(_SpanKey(model, lane, bucket, self.bucket_ms))
        self._uncache(_SpanKey(model, lane, bucket - bucket % stride, stride))

    def _span(self, key: _SpanKey, state: State) -> CountSpan:
        """A span within a bucket, a whole bucket, or a stride; the last two are cached."""
        if key.length_ms < self.bucket_ms:
            return CountSpan(self._table(key, state))
        span = self._spans.pop(key, None)
        if span is None:
            span = CountSpan(self._table(key, state))
            self._span_rows += len(span.table)
            while self._span_rows > CACHED_ROWS and self._spans:
                self._uncache(next(iter(self._spans)))
        self._spans[key] = span
        return span

    def _uncache(self, key: _SpanKey) -> None:
        span = self._spans.pop(key, None)
        if span is not None:
            self._span_rows -= len(span.table)

    def _table(self, key: _SpanKey, state: State) -> CountTable:
        bucket_ms, pane_ms = self.bucket_ms, self._pane_ms
        model, lane, start_ms, length_ms = key
        if length_ms > bucket_ms:
            return merged(
                [
                    self._span(_SpanKey(model, lane, bucket, bucket_ms), state).table
                    for bucket in range(start_ms, start_ms + length_ms, bucket_ms)
                ]
            )
        bucket = start_ms - start_ms % bucket_ms
        low = first_key_of_pane((start_ms - bucket) // pane_ms)
        high = first_key_of_pane((start_ms - bucket + length_ms) // pane_ms)
        tables = self._runs.read(state_key(PANES, lane, model, bucket), state, (low, high - 1))
        if length_ms < bucket_ms:
            tables = [table.between(low, high) for table in tables]
        if not any(map(len, tables)):
            return EMPTY
        keys = without_pane(np.concatenate([table.keys for table in tables]))
        return CountTable.of(keys, np.concatenate([table.counts for table in tables]))


class _PlaceRows(NamedTuple):
    """Rows by place, columns of shape (N,)."""

    place: Ints
    keys: Ints
    counts: Ints


def _summed(place: Ints, keys: Ints, counts: Ints) -> _PlaceRows:
    """The sum of the counts of each place and key, by place and then by key.

    Columns of shape (N,), N above 0, in any order.
    """
    bits = int(keys.max()).bit_length()
    if int(place.max()) < 1 << SIGNED_BITS - bits:
        packed = place << bits | keys
        order = np.argsort(packed)
        packed = packed[order]
        starts = np.flatnonzero(np.diff(packed, prepend=-1))
        packed = packed[starts]
        place, keys = packed >> bits, packed & (1 << bits) - 1
    else:
        # Many models, far apart in time: place and key do not fit one integer. A stable sort of
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
    return _PlaceRows(place, keys, np.add.reduceat(counts[order], starts))


SIGNED_BITS: Final = 63
_LANES: Final = len(LANE_NAMES)
