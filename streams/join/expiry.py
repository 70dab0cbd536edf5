"""Expiry of entries: once both topics have passed the last time that an entry waits for, it is
counted and deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.settings import Config
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.entry import (
    GENERAL,
    JOINED,
    PARKED,
    WAITING,
    known_ms,
    layout_for,
    load,
)
from driftline.streams.join.expiry_index import ExpiryIndex
from driftline.streams.join.increments import Ints
from driftline.streams.join.lane_counts import BatchCounts
from driftline.streams.join.sequential_join import SequentialJoin
from driftline.streams.lanes import NO_LABEL
from driftline.streams.masks import any_true
from driftline.streams.stage import State

MAX_EXPIRED: Final = 20_000
"""Entries that one batch expires at most, roughly. The others wait for the next batch and hold the
watermarks back.
"""


class Expiry:
    """Expires the entries of one partition."""

    def __init__(
        self, book: CodeBook, index: ExpiryIndex, sequential: SequentialJoin, config: Config
    ) -> None:
        self._book = book
        self._index = index
        self._sequential = sequential
        self._park_ms = config.park_ms
        self._repeat_ms = config.truth_repeat_ms
        self._dimensions = len(config.segments)
        self._layout = layout_for(self._dimensions)

    def expire(self, reached_ms: int, counts: BatchCounts, state: State) -> None:
        """Count and delete the entries, or parts of them, that expire before `reached_ms`, the
        frontier of the partition; about MAX_EXPIRED entries.
        """
        keys = self._index.take(reached_ms, MAX_EXPIRED, state)
        if not keys:
            return
        # An id may be listed more than once; only the first time has an entry.
        stored: Sequence[bytes | None] = state.pop_many(keys)
        if not all(stored):
            keys, stored = list(compress(keys, stored)), list(filter(None, stored))
        entries = cast(list[bytes], stored)
        rows = self._rows(entries)
        if rows is None:
            self._expire_general(keys, entries, reached_ms, counts, state)
            has_layout = [entry[0] != GENERAL for entry in entries]
            keys, entries = list(compress(keys, has_layout)), list(compress(entries, has_layout))
            rows = np.frombuffer(b"".join(entries), self._layout)
        expires_ms = self._expires_ms(rows)
        stays = expires_ms >= reached_ms
        gone = np.flatnonzero(~stays)
        if len(gone) < len(rows):
            state.put_many(list(compress(keys, stays)), list(compress(entries, stays)))
            rows, expires_ms = rows.take(gone), expires_ms[gone]
        expired, unmatched = self._count(rows, expires_ms, counts, state)
        if len(expired):
            first = int(expired[0])
            counts.add_expired(
                len(expired),
                keys[gone[first]],
                event_ms=int(rows["timestamp_ms"][first]),
                expires_ms=int(expires_ms[first]),
                reached_ms=reached_ms,
            )
        if len(unmatched):
            first = int(unmatched[0])
            counts.add_unmatched(
                len(unmatched),
                keys[gone[first]],
                event_ms=int(rows["truth_ms"][first]),
                known_ms=int(rows["known_ms"][first]),
                reached_ms=reached_ms,
            )

    def _rows(self, entries: list[bytes]) -> NDArray[np.void] | None:
        """The entries as rows of the fixed layout; None if one of them is of the general kind."""
        if frozenset(map(len, entries)) - {self._layout.itemsize}:
            return None
        rows = np.frombuffer(b"".join(entries), self._layout)
        return None if any_true(rows["kind"] == GENERAL) else rows

    def _expire_general(
        self,
        keys: list[bytes],
        entries: list[bytes],
        reached_ms: int,
        counts: BatchCounts,
        state: State,
    ) -> None:
        for key, encoded in zip(keys, entries, strict=True):
            if encoded[0] != GENERAL:
                continue
            entry = load(encoded, self._layout)
            self._sequential.expire(key, entry, reached_ms, counts, state)

    def _expires_ms(self, rows: NDArray[np.void]) -> Ints:
        expires_ms = rows["known_ms"] + self._park_ms
        waiting = np.flatnonzero(rows["kind"] == WAITING)
        label_horizon_ms = self._book.label_horizon_ms[rows["name"][waiting]]
        expires_ms[waiting] = rows["timestamp_ms"][waiting] + label_horizon_ms
        joined = np.flatnonzero(rows["kind"] == JOINED)
        correction_horizon_ms = self._book.correction_horizon_ms[rows["name"][joined]]
        expires_ms[joined] = np.maximum(
            known_ms(rows)[joined] + correction_horizon_ms,
            rows["known_ms"][joined] + self._repeat_ms,
        )
        return expires_ms

    def _count(
        self, rows: NDArray[np.void], expires_ms: Ints, counts: BatchCounts, state: State
    ) -> tuple[Ints, Ints]:
        """Count entries that have expired; gives the indexes of the predictions without a truth and
        of the unmatched truths.
        """
        expired = np.flatnonzero((rows["kind"] == WAITING) & (rows["predicted"] != NO_LABEL))
        if len(expired):
            name = rows["name"][expired].astype(np.int64)
            segments = rows["segments"][expired].astype(np.int64)
            counts.counter("expired", name, segments, expires_ms[expired])
        unmatched = np.flatnonzero(rows["kind"] == PARKED)
        if n := len(unmatched):
            name = np.full(n, self._book.no_model(state))
            no_segments = np.zeros((n, self._dimensions), np.int64)
            counts.counter("unmatched", name, no_segments, expires_ms[unmatched])
        return expired, unmatched
