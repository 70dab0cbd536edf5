"""Which ids may be due for forgetting, by bucket of event time.

Every entry is listed in the bucket of its due time; one whose due time moved is listed again, so a
listed id may have gone or may not be due. Ids are kept in lists of one batch each, buckets are
found through shelves of 64, and nothing is ever scanned.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.join.state_keys import NO_ID
from driftline.streams.join.target_partitions import edges
from driftline.streams.masks import any_true
from driftline.streams.stage import State

SHELF: Final = 64  # buckets to a shelf

_pack = msgspec.msgpack.Encoder().encode
_shelves_of = msgspec.msgpack.Decoder(list[int]).decode
_shelf_of = msgspec.msgpack.Decoder(dict[int, int]).decode
_ids_of = msgspec.msgpack.Decoder(list[bytes]).decode
_SHELVES = NO_ID + b"X"


class ExpiryIndex:
    """Ids of one partition by the bucket, `width_ms` wide, in which they fall due."""

    def __init__(self, width_ms: int, state: State) -> None:
        self._width_ms = width_ms
        listed = state.get(_SHELVES)
        numbers = _shelves_of(listed) if listed else []
        self._shelves: dict[int, dict[int, int]] = {}
        for number in numbers:
            shelf = state.get(_shelf_key(number))
            if shelf is None:
                raise RuntimeError(
                    f"score: state lists shelf {number} of the due index but does not hold it; the state is damaged"
                )
            self._shelves[number] = _shelf_of(shelf)

    def add(self, ids: Sequence[bytes], due_ms: NDArray[np.int64], state: State) -> None:
        """List each id, N of them, under its due time, shape (N,)."""
        if not len(ids):
            return
        buckets = due_ms // self._width_ms
        if any_true(buckets[1:] < buckets[:-1]):
            order = np.argsort(buckets, kind="stable")
            buckets, ids = buckets[order], list(map(ids.__getitem__, order.tolist()))
        for start, end in pairwise(edges(buckets).tolist()):
            self._append(int(buckets[start]), ids[start:end], state)

    def _append(self, bucket: int, ids: Sequence[bytes], state: State) -> None:
        number = bucket // SHELF
        if number not in self._shelves:
            self._shelves[number] = {}
            self._put_shelves(state)
        shelf = self._shelves[number]
        count = shelf.get(bucket, 0)
        state.put(_list_key(bucket, count), _pack(ids))
        shelf[bucket] = count + 1
        state.put(_shelf_key(number), _pack(shelf))

    def first_ms(self) -> int | None:
        """Start of the earliest bucket that lists anything."""
        if not self._shelves:
            return None
        return min(self._shelves[min(self._shelves)]) * self._width_ms

    def waits(self, before_ms: int) -> bool:
        """Whether `take` would find anything."""
        first_ms = self.first_ms()
        return first_ms is not None and first_ms + self._width_ms <= before_ms

    def take(self, before_ms: int, at_least: int, state: State) -> list[bytes]:
        """Take out whole lists of buckets that end by `before_ms`, earliest first, until `at_least`
        ids are out or none is left.
        """
        taken: list[bytes] = []
        while self._shelves and len(taken) < at_least:
            number = min(self._shelves)
            shelf = self._shelves[number]
            bucket = min(shelf)
            if (bucket + 1) * self._width_ms > before_ms:
                break
            while shelf[bucket] and len(taken) < at_least:
                key = _list_key(bucket, shelf[bucket] - 1)
                listed = state.get(key)
                if listed is None:
                    raise RuntimeError(
                        f"score: state lists ids under {key.hex()} but does not hold them; the state is damaged"
                    )
                taken += _ids_of(listed)
                state.delete(key)
                shelf[bucket] -= 1
            if not shelf[bucket]:
                del shelf[bucket]
            if shelf:
                state.put(_shelf_key(number), _pack(shelf))
            else:
                del self._shelves[number]
                state.delete(_shelf_key(number))
                self._put_shelves(state)
        return taken

    def _put_shelves(self, state: State) -> None:
        state.put(_SHELVES, _pack(sorted(self._shelves)))


def _shelf_key(number: int) -> bytes:
    return _SHELVES + number.to_bytes(8, "big", signed=True)


def _list_key(bucket: int, count: int) -> bytes:
    return NO_ID + b"x" + bucket.to_bytes(8, "big", signed=True) + count.to_bytes(4, "big")
