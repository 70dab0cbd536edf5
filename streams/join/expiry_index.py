"""Index of ids by the event time at which their entries may expire.

Each entry is listed in the bucket of its expiry. One whose expiry moved is listed again, so a
listed id may have gone or may not expire yet. The ids of a bucket are stored as one list per batch,
the buckets of a group under one key, so nothing is ever scanned.
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

INDEX_FORMAT: Final = 1
"""Version of everything that is written below: raise it with every change."""

BUCKETS_PER_GROUP: Final = 64

_encode = msgspec.msgpack.Encoder().encode
_decode_groups = msgspec.msgpack.Decoder(list[int]).decode
_decode_group = msgspec.msgpack.Decoder(dict[int, int]).decode
_decode_ids = msgspec.msgpack.Decoder(list[bytes]).decode
_GROUPS = NO_ID + b"X"


class ExpiryIndex:
    """Ids of one partition by the bucket, `width_ms` wide, in which they expire."""

    def __init__(self, width_ms: int, state: State) -> None:
        self._width_ms = width_ms
        stored = state.get(_GROUPS)
        # Number of id lists by bucket, by group.
        self._groups: dict[int, dict[int, int]] = {}
        for number in _decode_groups(stored) if stored else []:
            group = state.get(_group_key(number))
            if group is None:
                raise RuntimeError(
                    f"join: the expiry index lists group {number} but the state does not hold it;"
                    " the state is damaged"
                )
            self._groups[number] = _decode_group(group)

    def add(self, ids: Sequence[bytes], expires_ms: NDArray[np.int64], state: State) -> None:
        """List N ids under their expiry, shape (N,)."""
        if not len(ids):
            return
        buckets = expires_ms // self._width_ms
        if any_true(buckets[1:] < buckets[:-1]):
            order = np.argsort(buckets, kind="stable")
            buckets, ids = buckets[order], list(map(ids.__getitem__, order.tolist()))
        for start, end in pairwise(edges(buckets).tolist()):
            self._append(int(buckets[start]), ids[start:end], state)

    def _append(self, bucket: int, ids: Sequence[bytes], state: State) -> None:
        number = bucket // BUCKETS_PER_GROUP
        if number not in self._groups:
            self._groups[number] = {}
            self._put_groups(state)
        group = self._groups[number]
        count = group.get(bucket, 0)
        state.put(_list_key(bucket, count), _encode(ids))
        group[bucket] = count + 1
        state.put(_group_key(number), _encode(group))

    def first_ms(self) -> int | None:
        """Start of the earliest bucket with an id, in ms."""
        if not self._groups:
            return None
        return min(self._groups[min(self._groups)]) * self._width_ms

    def has_ids(self, before_ms: int) -> bool:
        """Whether `take` would return anything."""
        first_ms = self.first_ms()
        return first_ms is not None and first_ms + self._width_ms <= before_ms

    def take(self, before_ms: int, at_least: int, state: State) -> list[bytes]:
        """Remove whole id lists of buckets that end by `before_ms`, earliest first, until there are
        `at_least` ids or none is left.
        """
        ids: list[bytes] = []
        while self._groups and len(ids) < at_least:
            number = min(self._groups)
            group = self._groups[number]
            bucket = min(group)
            if (bucket + 1) * self._width_ms > before_ms:
                break
            while group[bucket] and len(ids) < at_least:
                key = _list_key(bucket, group[bucket] - 1)
                stored = state.get(key)
                if stored is None:
                    raise RuntimeError(
                        f"join: the expiry index lists ids under {key.hex()} but the state does not"
                        " hold them; the state is damaged"
                    )
                ids += _decode_ids(stored)
                state.delete(key)
                group[bucket] -= 1
            if not group[bucket]:
                del group[bucket]
            if group:
                state.put(_group_key(number), _encode(group))
            else:
                del self._groups[number]
                state.delete(_group_key(number))
                self._put_groups(state)
        return ids

    def _put_groups(self, state: State) -> None:
        state.put(_GROUPS, _encode(sorted(self._groups)))


def _group_key(number: int) -> bytes:
    return _GROUPS + number.to_bytes(8, "big", signed=True)


def _list_key(bucket: int, count: int) -> bytes:
    return NO_ID + b"x" + bucket.to_bytes(8, "big", signed=True) + count.to_bytes(4, "big")
