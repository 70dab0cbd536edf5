"""Records of one model version resemble each other: each is compressed with a sample of them as
dictionary, to about a quarter of its bytes.
"""

from __future__ import annotations

import sqlite3
import zlib
from typing import Final, NamedTuple

_LEVEL: Final = 3
_LARGEST_WINDOW: Final = 15
_SMALL_WINDOW: Final = 13
"""Looks back 8 KiB, and costs a quarter of the largest one to set up."""
_WINDOW_BYTES: Final = 1 << _LARGEST_WINDOW
"""DEFLATE looks back no further: more of a sample is of no use."""


class Sample(NamedTuple):
    """A record that others are compressed with; `sample_id` is its row in the index."""

    sample_id: int
    content: bytes


def pack(record: bytes, sample: bytes) -> bytes:
    """The compressed record.

    Examples
    --------
    >>> packed = pack(b'{"n":1}', b'{"n":2}')
    >>> unpack(packed, b'{"n":2}')
    b'{"n":1}'
    """
    fits = len(record) + len(sample) <= 1 << _SMALL_WINDOW
    window = _SMALL_WINDOW if fits else _LARGEST_WINDOW
    packer = zlib.compressobj(_LEVEL, wbits=window, zdict=sample)
    return packer.compress(record) + packer.flush()


def unpack(packed: bytes, sample: bytes) -> bytes:
    """The inverse of `pack`."""
    unpacker = zlib.decompressobj(zdict=sample)
    return unpacker.decompress(packed) + unpacker.flush()


class Samples:
    """The samples of an index, those in use in memory."""

    def __init__(self) -> None:
        self._by_owner: dict[tuple[str, str, str, str], Sample] = {}
        self._by_id: dict[int, bytes] = {}

    def for_record(
        self,
        connection: sqlite3.Connection,
        owner: tuple[str, str, str, str],
        record: bytes,
    ) -> Sample:
        """The sample of an owner: topic, model name, version, lane. The first record becomes it."""
        sample = self._by_owner.get(owner)
        if sample is None:
            connection.execute(
                "INSERT INTO samples (topic, model_name, model_version, lane, sample)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (*owner, record[-_WINDOW_BYTES:]),
            )
            row = connection.execute(
                "SELECT sample_id, sample FROM samples WHERE topic = ? AND model_name = ?"
                " AND model_version = ? AND lane = ?",
                owner,
            ).fetchone()
            sample = self._by_owner[owner] = Sample(*row)
        return sample

    def content(self, connection: sqlite3.Connection, sample_id: int) -> bytes:
        """The sample of a row."""
        content = self._by_id.get(sample_id)
        if content is None:
            row = connection.execute(
                "SELECT sample FROM samples WHERE sample_id = ?", (sample_id,)
            ).fetchone()
            content = self._by_id[sample_id] = row[0]
        return content

    def forget(self) -> None:
        """Forget them: the index was emptied, or a transaction was undone."""
        self._by_owner.clear()
        self._by_id.clear()
