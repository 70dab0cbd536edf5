"""Stable hashes: partitions of keys, hashes of ids and texts, fingerprints of rows.

Python's `hash()` is not used, since it differs between runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

_M = np.uint32(0x5BD1E995)
_SEED = 0x9747B28C
# 2^64 divided by the golden ratio: multiplying by it is reversible and spreads low bits upwards.
_ODD = np.uint64(0x9E3779B97F4A7C15)


def id_hashes(ids: Sequence[bytes]) -> NDArray[np.uint64]:
    """64-bit xxHash of each id, shape (N,)."""
    return np.fromiter(map(xxhash.xxh64_intdigest, ids), np.uint64, len(ids))


def text_hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    """64-bit xxHash of each text as UTF-8, shape (N,)."""
    # JSON allows a lone surrogate, which strict UTF-8 rejects.
    return id_hashes([text.encode("utf-8", "surrogatepass") for text in texts])


def mixed(columns: Sequence[NDArray[np.uint64 | np.int64 | np.float64]]) -> NDArray[np.uint64]:
    """64-bit hash of each row of one or more columns; rows with equal bits have equal hashes.

    Columns have shape (N,), or broadcast to the shape of the first; the hashes have the shape of
    the first.
    """
    h = columns[0].view(np.uint64) * _ODD
    h ^= h >> np.uint64(32)
    for column in columns[1:]:
        h ^= column.view(np.uint64)
        h *= _ODD
        h ^= h >> np.uint64(32)
    return h


def murmur2(keys: Sequence[bytes]) -> NDArray[np.uint32]:
    """Kafka's murmur2 of each key, shape (N,), as Java's default partitioner computes it.

    Keys of one length are hashed together, four bytes of all of them at a time.

    Examples
    --------
    >>> [int(h) for h in murmur2([b"21", b"foobar", b"a-little-bit-long-string"]).astype(np.int32)]
    [-973932308, -790332482, -985981536]

    References
    ----------
    A. Appleby (2008), MurmurHash2; Apache Kafka, org.apache.kafka.common.utils.Utils.murmur2, whose
    unit tests give the numbers above.
    """
    if len(frozenset(map(len, keys))) == 1:  # the usual case, in half the time
        return _murmur2_of_one_length(
            np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), len(keys[0]))
        )
    hashes = np.empty(len(keys), np.uint32)
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    for length in np.unique(lengths):
        at = np.flatnonzero(lengths == length)
        together = b"".join(keys if len(at) == len(keys) else [keys[i] for i in at.tolist()])
        hashes[at] = _murmur2_of_one_length(
            np.frombuffer(together, np.uint8).reshape(len(at), int(length))
        )
    return hashes


def partitions_of(keys: Sequence[bytes], partitions: int) -> NDArray[np.int64]:
    """Partition of each key, shape (N,), by Kafka's default partitioner for keyed records."""
    positive = murmur2(keys) & np.uint32(0x7FFFFFFF)
    return (positive % np.uint32(partitions)).astype(np.int64)


def _murmur2_of_one_length(octets: NDArray[np.uint8]) -> NDArray[np.uint32]:
    n, length = octets.shape
    words = length // 4
    h = np.full(n, (_SEED ^ length) & 0xFFFFFFFF, np.uint32)
    if words:
        # One word at a time of all keys.
        ks = np.multiply(np.ascontiguousarray(octets[:, : words * 4]).view("<u4").T, _M, order="C")
        ks ^= ks >> np.uint32(24)
        ks *= _M
        for k in ks:
            h *= _M
            h ^= k
    tail = octets[:, words * 4 :]
    if tail.shape[1]:
        for i in range(tail.shape[1] - 1, -1, -1):
            h ^= tail[:, i].astype(np.uint32) << np.uint32(8 * i)
        h *= _M
    h ^= h >> np.uint32(13)
    h *= _M
    h ^= h >> np.uint32(15)
    return h
