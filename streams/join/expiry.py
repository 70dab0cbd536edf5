"""The end of an entry: when both topics have passed what it waits for, it is counted and deleted."""

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
from driftline.streams.join.lane_counts import Counting
from driftline.streams.join.sequential_join import SequentialJoin
from driftline.streams.lanes import NO_LABEL
from driftline.streams.masks import any_true
from driftline.streams.stage import State

SLICE: Final = 20_000  # ids that one batch may forget; the rest waits for the next and holds the watermarks back


class Ending:
    """Forgets the entries of one partition."""

    def __init__(
        self, texts: CodeBook, due: ExpiryIndex, single: SequentialJoin, config: Config
    ) -> None:
        self._texts = texts
        self._due = due
        self._single = single
        self._park_ms = config.park_ms
        self._dimensions = len(config.segments)
        self._layout = layout_for(self._dimensions)

    def forget(self, reached_ms: int, counting: Counting, state: State) -> None:
        """Count and delete the entries that were due before `reached_ms`, at most about SLICE of
        them.
        """
        keys = self._due.take(reached_ms, SLICE, state)
        if not keys:
            return
        # An id may be listed more than once; it is found once.
        found: Sequence[bytes | None] = state.pop_many(keys)
        if not all(found):
            keys, found = list(compress(keys, found)), list(filter(None, found))
        entries = cast(list[bytes], found)
        rows = self._rows(entries)
        if rows is None:
            self._forget_general(keys, entries, reached_ms, counting, state)
            ordinary = [entry[0] != GENERAL for entry in entries]
            keys, entries = list(compress(keys, ordinary)), list(compress(entries, ordinary))
            rows = np.frombuffer(b"".join(entries), self._layout)
        due_ms = self._due_of(rows)
        stays = due_ms >= reached_ms
        if any_true(stays):
            state.put_many(list(compress(keys, stays)), list(compress(entries, stays)))
            gone = np.flatnonzero(~stays)
            rows, due_ms = rows.take(gone), due_ms[gone]
        self._count(rows, due_ms, counting, state)

    def _rows(self, entries: list[bytes]) -> NDArray[np.void] | None:
        """The entries as rows of the fixed layout, or None if one of them has another."""
        if frozenset(map(len, entries)) - {self._layout.itemsize}:
            return None
        rows = np.frombuffer(b"".join(entries), self._layout)
        return None if any_true(rows["kind"] == GENERAL) else rows

    def _forget_general(
        self,
        keys: list[bytes],
        entries: list[bytes],
        reached_ms: int,
        counting: Counting,
        state: State,
    ) -> None:
        for key, encoded in zip(keys, entries, strict=True):
            if encoded[0] != GENERAL:
                continue
            entry = load(encoded, self._layout)
            due = self._single.due_ms(entry)
            if due is None or due < reached_ms:
                self._single.bury(entry, counting, state)
            else:
                state.put(key, encoded)

    def _due_of(self, rows: NDArray[np.void]) -> Ints:
        due_ms = rows["known_ms"] + self._park_ms
        waiting, joined = (
            np.flatnonzero(rows["kind"] == WAITING),
            np.flatnonzero(rows["kind"] == JOINED),
        )
        due_ms[waiting] = (
            rows["timestamp_ms"][waiting] + self._texts.label_horizon_ms[rows["name"][waiting]]
        )
        due_ms[joined] = (
            known_ms(rows)[joined] + self._texts.correction_horizon_ms[rows["name"][joined]]
        )
        return due_ms

    def _count(
        self, rows: NDArray[np.void], due_ms: Ints, counting: Counting, state: State
    ) -> None:
        expired = (rows["kind"] == WAITING) & (rows["predicted"] != NO_LABEL)
        if any_true(expired):
            columns = (
                rows["name"][expired].astype(np.int64),
                rows["segments"][expired].astype(np.int64),
            )
            counting.counter("expired", *columns, due_ms[expired])
        parked = rows["kind"] == PARKED
        if any_true(parked):
            n = int(parked.sum())
            name = np.full(n, self._texts.no_model(state))
            counting.counter(
                "unmatched", name, np.zeros((n, self._dimensions), np.int64), due_ms[parked]
            )
