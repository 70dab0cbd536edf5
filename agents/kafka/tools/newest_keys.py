"""Keys of the newest records of both inputs: how many are wrong, and how many pairs can meet."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from driftline.agents.input_rules import with_rules
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges, read_all
from driftline.agents.kafka.task.uncounted import is_much
from driftline.agents.record_keys import wrong_keys
from driftline.schemas.decode import decode_predictions, decode_truths
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

MOST_RECORDS: Final = 50_000
"""Records of each topic that are read, from the ends of its partitions."""
_WORDS: Final = {
    "null_key": "{} have no key",
    "foreign_key": "{} have a key that is not their prediction id",
    "foreign_partition": "{} lie on a partition on which neither murmur2 nor CRC32 puts their key",
}
_DECODE: Final[dict[str, Any]] = {PREDICTIONS: decode_predictions, GROUND_TRUTH: decode_truths}


class TopicKeys(Struct, frozen=True):
    """Keys of the newest valid records of one topic.

    Attributes
    ----------
    records
        Number of records.
    wrong
        Number of them with wrong keys, by reason (`driftline.agents.uncounted_rows.KEY_REASONS`).
    example
        One of them; empty if there is none.
    """

    records: int
    wrong: Mapping[str, int]
    example: str = ""


class NewestKeys(Struct, frozen=True):
    """Keys of the newest records.

    Attributes
    ----------
    topics
        Those of each input.
    pairs, meeting
        Number of prediction ids with a prediction and a truth among these records, and of those
        whose prediction and truth share a partition.
    """

    topics: Mapping[str, TopicKeys]
    pairs: int
    meeting: int

    @property
    def is_problem(self) -> bool:
        """Whether many pairs cannot meet; without pairs, whether many records have no key."""
        if self.pairs:
            return is_much(self.pairs - self.meeting, self.pairs)
        return any(
            is_much(keys.wrong.get("null_key", 0), keys.records) for keys in self.topics.values()
        )

    def findings(self) -> list[str]:
        """A sentence for each topic with wrong keys, and one on pairs if they do not all meet.

        Examples
        --------
        >>> keys = NewestKeys({"ground-truth": TopicKeys(400, {"null_key": 300}, "...")}, 80, 20)
        >>> for sentence in keys.findings():
        ...     print(sentence)
        of the newest 400 records of ground-truth, 300 (75.0%) have no key, for example ...
        of 80 pairs among them, 20 (25.0%) can be joined: the others are on different partitions
        """
        found = []
        for topic, keys in self.topics.items():
            if keys.wrong:
                faults = ", ".join(
                    _WORDS[reason].format(f"{n:,} ({n / keys.records:.1%})")
                    for reason, n in keys.wrong.items()
                )
                found.append(
                    f"of the newest {keys.records:,} records of {topic}, {faults}, for example "
                    f"{keys.example}"
                )
        if self.meeting < self.pairs:
            found.append(
                f"of {self.pairs:,} pairs among them, {self.meeting:,} "
                f"({self.meeting / self.pairs:.1%}) can be joined: the others are on different "
                "partitions"
            )
        elif found:
            found.append(
                f"all {self.pairs:,} pairs among them can be joined"
                if self.pairs
                else "no prediction among them has its truth among them, so how many can be joined "
                "is not known"
            )
        return found

    @property
    def remedy(self) -> str:
        """What to do if there are findings."""
        return with_rules(
            "send the prediction id as the key of each record, with one partitioner for both "
            "topics, or set rekey = true under [kafka]",
            "Keys on Kafka",
        )


def newest_keys(connection: Connection, *, most: int = MOST_RECORDS) -> NewestKeys:
    """Look at the keys of the newest records of both inputs.

    Parameters
    ----------
    most
        Records of each topic that are read.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    ranges = offset_ranges(connection, tuple(_DECODE))
    partitions = max(1, len(ranges[PREDICTIONS]))
    each = max(1, most // partitions)
    tails = [
        msgspec.structs.replace(part, start=max(part.start, part.end - each))
        for parts in ranges.values()
        for part in parts
    ]
    records: dict[tuple[str, int], list[tuple[bytes | None, bytes | None, int]]] = defaultdict(list)
    for topic, message in read_all(connection, tails):
        place = topic, message.partition() or 0
        records[place].append((message.key(), message.value(), message.offset() or 0))
    return _looked_at(records, partitions)


def _looked_at(
    records: Mapping[tuple[str, int], Iterable[tuple[bytes | None, bytes | None, int]]],
    partitions: int,
) -> NewestKeys:
    counts, examples = Counter[str](), dict.fromkeys(_DECODE, "")
    wrong: dict[str, Counter[str]] = {topic: Counter() for topic in _DECODE}
    places: dict[str, dict[bytes, set[int]]] = {topic: defaultdict(set) for topic in _DECODE}
    for (topic, partition), read in sorted(records.items()):
        keys, values, offsets = map(list, zip(*read, strict=True))
        rows, good, _ = _DECODE[topic](values, offsets)
        ids = [row.prediction_id.encode() for row in rows]
        counts[topic] += len(ids)
        for id_ in ids:
            places[topic][id_].add(partition)
        for found in wrong_keys(
            topic,
            partition,
            partitions,
            [keys[i] for i in good],
            ids,
            [offsets[i] for i in good],
        ):
            wrong[topic][found.reason] += found.rows
            examples[topic] = examples[topic] or found.example
    predictions, truths = places[PREDICTIONS], places[GROUND_TRUTH]
    both = [id_ for id_ in truths if id_ in predictions]
    return NewestKeys(
        {topic: TopicKeys(counts[topic], wrong[topic], examples[topic]) for topic in _DECODE},
        len(both),
        sum(not truths[id_].isdisjoint(predictions[id_]) for id_ in both),
    )
