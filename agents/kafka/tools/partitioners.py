"""Detection of the partitioner with which producers spread the keys of a topic.

A prediction and its truth are joined only if both were sent to the same partition. Java, Python's
kafka-python and aiokafka use murmur2; librdkafka and clients built on it (confluent-kafka, kcat,
Go, .NET) use CRC32. If the two are mixed, most pairs never meet, and no other check notices it.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal

from msgspec import Struct

from driftline.streams.hashing import partitions_of

Partitioner = Literal["murmur2", "crc32", "mixed", "other", "none"]

KEPT = 1_000
KEYS_PER_CALL = 8
# Distinct keys needed for an answer. All of 32 keys match the wrong partitioner by chance once in
# 4 * 10^9 with two partitions.
MIN_KEYS = 32
# Share of keys that must match; an operator may have sent a few by hand.
SHARE = 0.99

NAMES = {
    "murmur2": "murmur2 (the default of Java, kafka-python and aiokafka)",
    "crc32": "CRC32 (the default of librdkafka: confluent-kafka, kcat and others)",
    "mixed": "murmur2 and CRC32, both",
    "other": "neither murmur2 nor CRC32",
    "none": "nothing: they have no key",
}
_REMEDY = (
    'give its producers partitioner=murmur2_random (librdkafka; kcat: "-X '
    'partitioner=murmur2_random"; Java: nothing to set) '
    "and send the records again"
)


class Sample(Struct, frozen=True):
    """Partitioner of one topic, as far as known.

    Attributes
    ----------
    keys
        Number of distinct keys.
    partitioner
        None while there are too few keys, or if the topic has one partition.
    """

    keys: int
    partitioner: Partitioner | None


class KeySamples:
    """Newest keys of the input topics, with their partitions.

    Parameters
    ----------
    partitions
        Number of partitions of each topic.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._newest: dict[str, deque[tuple[bytes | None, int]]] = {}

    def take(self, topic: str, partition: int, keys: Iterable[bytes | None]) -> None:
        """Add the first few of these keys, which come from one partition."""
        newest = self._newest.setdefault(topic, deque(maxlen=KEPT))
        newest.extend((key, partition) for key in islice(keys, KEYS_PER_CALL))

    def sample_of(self, topic: str) -> Sample:
        """The partitioner that the kept keys of a topic show."""
        newest = self._newest.get(topic, ())
        without = sum(key is None for key, _ in newest)
        placed = {(key, partition) for key, partition in newest if key is not None}
        if without + len(placed) < MIN_KEYS or self._partitions == 1:
            return Sample(len(placed), None)
        if without > len(placed):
            return Sample(len(placed), "none")
        keys, partitions = zip(*sorted(placed), strict=True)
        return Sample(len(placed), identify_partitioner(keys, partitions, self._partitions))

    def warnings(self, topics: Sequence[str]) -> list[str]:
        """Sentences that say why records of these topics do not meet; empty while too few keys are
        known.
        """
        known = {
            topic: sample.partitioner
            for topic in topics
            if (sample := self.sample_of(topic)).partitioner is not None
        }
        texts = [
            f"topic {topic}: its keys are spread by {NAMES[kind]}, so most predictions and truths "
            "would never meet; "
            + ("send prediction_id as the key of each record" if kind == "none" else _REMEDY)
            for topic, kind in known.items()
            if kind in ("mixed", "none")
        ]
        plain = {topic: kind for topic, kind in known.items() if kind not in ("mixed", "none")}
        if len(set(plain.values())) > 1:
            spread = ", ".join(f"{topic} by {NAMES[kind]}" for topic, kind in plain.items())
            # Every producer can be configured to murmur2, so only the other topics need a change.
            changed = [topic for topic, kind in plain.items() if kind != "murmur2"]
            texts.append(
                f"keys are spread differently ({spread}), so most predictions and truths would "
                "never meet; "
                f"of topic {' and '.join(changed)}: {_REMEDY}"
            )
        return texts


def identify_partitioner(
    keys: Sequence[bytes], partitions: Sequence[int], count: int
) -> Partitioner:
    """The partitioner that sends these keys to these of `count` partitions.

    Examples
    --------
    >>> keys = [b"%d" % i for i in range(100)]
    >>> identify_partitioner(keys, [zlib.crc32(key) % 8 for key in keys], 8)
    'crc32'
    """
    murmur2 = [
        own == there
        for own, there in zip(partitions_of(keys, count).tolist(), partitions, strict=True)
    ]
    crc32 = [zlib.crc32(key) % count == there for key, there in zip(keys, partitions, strict=True)]
    if sum(murmur2) >= SHARE * len(keys):
        return "murmur2"
    if sum(crc32) >= SHARE * len(keys):
        return "crc32"
    either = sum(one or other for one, other in zip(murmur2, crc32, strict=True))
    return "mixed" if either >= SHARE * len(keys) else "other"
