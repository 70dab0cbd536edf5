"""Wrong keys of records, against the partitioners of librdkafka, one record at a time."""

from __future__ import annotations

import random

import pytest
from confluent_kafka import consistent, murmur2

from driftline.agents.kafka.task.uncounted import FEW_ROWS, WorkerTally
from driftline.agents.kafka.tools.newest_keys import NewestKeys, TopicKeys
from driftline.agents.record_keys import wrong_keys
from driftline.agents.uncounted_rows import BatchTally, Uncounted, message


@pytest.mark.parametrize("seed", range(20))
def test_each_wrong_key_has_one_reason(seed: int) -> None:
    draw = random.Random(seed)
    partitions = draw.choice((2, 3, 8, 64))
    partition = draw.randrange(partitions)
    ids = [f"p{draw.randrange(10**9)}".encode() for _ in range(draw.randrange(200))]
    share = draw.choice((0.0, 0.1, 1.0))
    keys = [
        draw.choice((None, b"", b"customer", b'"%b"' % id_)) if draw.random() < share else id_
        for id_ in ids
    ]
    expected: dict[str, list[int]] = {}
    for at, (key, id_) in enumerate(zip(keys, ids, strict=True)):
        if key is None:
            expected.setdefault("null_key", []).append(at)
        elif key != id_:
            expected.setdefault("foreign_key", []).append(at)
        elif partition not in (murmur2(id_, partitions), consistent(id_, partitions)):
            expected.setdefault("foreign_partition", []).append(at)
    offsets = [100 + 2 * at for at in range(len(ids))]
    found = wrong_keys("predictions", partition, partitions, keys, ids, offsets)
    assert {(wrong.reason, wrong.rows) for wrong in found} == {
        (reason, len(at)) for reason, at in expected.items()
    }
    for wrong in found:
        first = expected[wrong.reason][0]
        assert wrong.example.startswith(
            f"predictions[{partition}]@{100 + 2 * first}, "
            f'prediction_id "{ids[first].decode()}": the key is '
        )


def test_records_of_one_partition_meet_whatever_their_keys_are() -> None:
    assert wrong_keys("predictions", 0, 1, [None, b"x"], [b"a", b"b"], [0, 1]) == []


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (None, "null"),
        (b"", '""'),
        (b"\xff\0", '"\\xff\0"'),
        (b"k" * 5_000, '"' + "k" * 60 + '..."'),
    ],
)
def test_an_example_shows_the_beginning_of_the_key(key: bytes | None, shown: str) -> None:
    (found,) = wrong_keys("ground-truth", 1, 4, [key], [b"a"], [7])
    assert found.example == f'ground-truth[1]@7, prediction_id "a": the key is {shown}'


def test_a_worker_warns_of_many_wrong_keys_and_says_what_to_do() -> None:
    tally = WorkerTally(lambda: 0)

    def commit(rows: int, received: int) -> list[str]:
        wrong = Uncounted(topic="predictions", reason="null_key", rows=rows, example="e")
        tally.add(0, BatchTally({"predictions": received}, [wrong]))
        return tally.warnings()

    assert commit(FEW_ROWS - 1, 100) == [], "too few for a verdict"
    (warning,) = commit(1, 0)
    assert warning.startswith(
        "predictions: 20 of 100 rows in the last 10 minutes may not meet their counterparts, "
        "because of their keys (20 null_key); send the prediction id as the key of each record"
    )


def test_a_log_line_about_keys_says_what_to_do() -> None:
    (found,) = wrong_keys("ground-truth", 1, 4, [None], [b"a"], [7])
    assert message(found, 0) == (
        'null_key: ground-truth[1]@7, prediction_id "a": the key is null: without a key it lies '
        "on any partition, and meets its counterpart only by chance; it counts; 1 row of this "
        "batch. Send the prediction id as the key of each record, or set rekey = true under [kafka]"
        ' (see "Keys on Kafka" in docs/inputs.md)'
    )


@pytest.mark.parametrize(
    ("null_keys", "pairs", "meeting", "is_problem"),
    [
        (300, 300, 80, True),
        (300, 300, 300, False),  # keyed by luck, or both sides by the same customer
        (300, 0, 0, True),  # no pairs among them: without a key they meet by chance
        (10, 0, 0, False),
        (0, 300, 280, True),
        (0, 300, 290, False),
    ],
)
def test_pairs_that_cannot_meet_are_a_problem(
    null_keys: int, pairs: int, meeting: int, is_problem: bool
) -> None:
    wrong = {"null_key": null_keys} if null_keys else {}
    keys = NewestKeys({"predictions": TopicKeys(400, wrong)}, pairs, meeting)
    assert keys.is_problem == is_problem
    assert bool(keys.findings()) == (null_keys > 0 or meeting < pairs)
