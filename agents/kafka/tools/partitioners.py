"""By which partitioner the producers of a topic spread its keys.

A prediction and its truth meet only if both were sent to the same partition. Java, Python's
kafka-python and aiokafka use murmur2, librdkafka and what is built on it (confluent-kafka, kcat,
Go, .NET) CRC32. Where the two are mixed most pairs never meet, and nothing else would say so.
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
KEYS_A_CALL = 8
# Distinct keys before anything is said. By chance all of 32 keys match the wrong one of two
# partitions once in 4 * 10^9.
LEAST = 32
# Of the keys that have to match; a few may come from an operator's hand.
SHARE = 0.99

NAMES = {
    "murmur2": "murmur2 (the default of Java, kafka-python and aiokafka)",
    "crc32": "CRC32 (the default of librdkafka: confluent-kafka, kcat and others)",
    "mixed": "murmur2 and CRC32, both",
    "other": "neither murmur2 nor CRC32",
    "none": "nothing: they have no key",
}
_REMEDY = (
    'give its producers partitioner=murmur2_random (librdkafka; kcat: "-X partitioner=murmur2_random"; Java: nothing to set) '
    "and send the records again"
)


class Sample(Struct, frozen=True):
    """What is known of one topic.

    Attributes
    ----------
    keys
        Distinct keys that were looked at.
    partitioner
        None while there are too few, or where there is only one partition.
    """

    keys: int
    partitioner: Partitioner | None


class KeySamples:
    """The newest keys of the input topics, with the partitions that they came from.

    Parameters
    ----------
    partitions
        Partitions of each of the topics.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._newest: dict[str, deque[tuple[bytes | None, int]]] = {}

    def take(self, topic: str, partition: int, keys: Iterable[bytes | None]) -> None:
        """Look at the first few of some keys that came from one partition."""
        newest = self._newest.setdefault(topic, deque(maxlen=KEPT))
        newest.extend((key, partition) for key in islice(keys, KEYS_A_CALL))

    def of(self, topic: str) -> Sample:
        """What the kept keys of a topic say."""
        newest = self._newest.get(topic, ())
        without = sum(key is None for key, _ in newest)
        placed = {(key, partition) for key, partition in newest if key is not None}
        if without + len(placed) < LEAST or self._partitions == 1:
            return Sample(len(placed), None)
        if without > len(placed):
            return Sample(len(placed), "none")
        keys, partitions = zip(*sorted(placed), strict=True)
        return Sample(len(placed), judge(keys, partitions, self._partitions))

    def complaints(self, topics: Sequence[str]) -> list[str]:
        """Why the records of topics that belong together do not meet, a sentence each; none while
        too little is known.
        """
        known = {
            topic: sample.partitioner
            for topic in topics
            if (sample := self.of(topic)).partitioner is not None
        }
        found = [
            f"topic {topic}: its keys are spread by {NAMES[kind]}, so most predictions and truths would never meet; "
            + ("send prediction_id as the key of each record" if kind == "none" else _REMEDY)
            for topic, kind in known.items()
            if kind in ("mixed", "none")
        ]
        plain = {topic: kind for topic, kind in known.items() if kind not in ("mixed", "none")}
        if len(set(plain.values())) > 1:
            spread = ", ".join(f"{topic} by {NAMES[kind]}" for topic, kind in plain.items())
            # Java's is the one that the remedy can ask of every producer; where none has it, the
            # last is as good as any.
            changed = [topic for topic, kind in plain.items() if kind != "murmur2"]
            found.append(
                f"keys are spread differently ({spread}), so most predictions and truths would never meet; "
                f"of topic {' and '.join(changed)}: {_REMEDY}"
            )
        return found


def judge(keys: Sequence[bytes], partitions: Sequence[int], count: int) -> Partitioner:
    """The partitioner that sends these keys to these of `count` partitions.

    Examples
    --------
    >>> keys = [b"%d" % i for i in range(100)]
    >>> judge(keys, [zlib.crc32(key) % 8 for key in keys], 8)
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
