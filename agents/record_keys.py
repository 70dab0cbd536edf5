"""Whether the key of an input record lets a prediction meet its truth on Kafka.

The two are joined only if they lie on the same partition. They do if both have the prediction id as
key and the same partitioner. Here each record of a worker is looked at; which partitioner a topic
has is `driftline.agents.kafka.tools.partitioners`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np

from driftline.agents.uncounted_rows import KeyReason, Uncounted
from driftline.streams.hashing import partitions_of


def wrong_keys(
    topic: str,
    partition: int,
    partitions: int,
    keys: Sequence[bytes | None],
    ids: Sequence[bytes],
    offsets: Sequence[int],
) -> list[Uncounted]:
    """The records of one batch whose keys are wrong, by reason.

    Parameters
    ----------
    topic, partition, partitions
        Where the records lie, and of how many partitions. With one partition all records meet,
        whatever their keys are.
    keys, ids, offsets
        Shape (N,), of each record.

    Examples
    --------
    >>> for found in wrong_keys("predictions", 3, 4, [b"a1", None], [b"a1", b"a2"], [7, 8]):
    ...     print(found.reason, found.rows, found.example)
    null_key 1 predictions[3]@8, prediction_id "a2": the key is null
    """
    if partitions == 1 or not ids:
        return []
    found: dict[KeyReason, list[int]] = {}
    right: Sequence[int] = range(len(ids))
    # The usual case takes one comparison of two lists.
    if keys != ids:
        pairs = list(zip(keys, ids, strict=True))
        right = [at for at, (key, id_) in enumerate(pairs) if key == id_]
        found["null_key"] = [at for at, (key, _) in enumerate(pairs) if key is None]
        found["foreign_key"] = [
            at for at, (key, id_) in enumerate(pairs) if key is not None and key != id_
        ]
    found["foreign_partition"] = _misplaced(ids, right, partition, partitions)
    return [
        Uncounted(
            topic=topic,
            reason=reason,
            rows=len(at),
            example=f"{topic}[{partition}]@{offsets[at[0]]}, prediction_id "
            f'"{ids[at[0]].decode(errors="replace")}": the key is {_shown(keys[at[0]])}',
        )
        for reason, at in found.items()
        if at
    ]


def _shown(key: bytes | None) -> str:
    """A key in a message."""
    if key is None:
        return "null"
    text = key[:_SHOWN_BYTES].decode(errors="backslashreplace")
    return f'"{text}{"..." if len(key) > _SHOWN_BYTES else ""}"'


_SHOWN_BYTES: Final = 60


def _misplaced(
    ids: Sequence[bytes], at: Sequence[int], partition: int, partitions: int
) -> list[int]:
    """The indexes `at` of ids that no usual partitioner puts on the partition."""
    if not at:
        return []
    own = ids if len(at) == len(ids) else [ids[i] for i in at]
    # Of a topic that is spread by CRC32, murmur2 is asked for few or none: 0.1 instead of 0.3
    # microseconds a record.
    if zlib.crc32(own[0]) % partitions == partition:
        left = [i for i in range(len(own)) if zlib.crc32(own[i]) % partitions != partition]
        own, at = [own[i] for i in left], [at[i] for i in left]
        if not own:
            return []
    elsewhere = np.flatnonzero(partitions_of(own, partitions) != partition).tolist()
    return [at[i] for i in elsewhere if zlib.crc32(own[i]) % partitions != partition]
