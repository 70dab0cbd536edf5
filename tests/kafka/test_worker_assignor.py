"""Partitions are shared out evenly, and move only when a worker joins or leaves."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from driftline.agents.worker.assignor import EvenAssignor, share_out

TOPICS = {"predictions", "ground-truth", "ticks"}


def moved(before: dict[str, list[int]], after: dict[str, list[int]]) -> int:
    """Number of partitions that remaining members have lost."""
    return sum(
        len(set(before[member]) - set(after[member])) for member in before.keys() & after.keys()
    )


def assert_even(shares: dict[str, list[int]], partitions: int) -> None:
    assert sorted(number for share in shares.values() for number in share) == list(
        range(partitions)
    )
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("partitions", [1, 2, 4, 5, 8, 16, 32])
def test_shares_stay_even_and_moves_are_minimal_while_workers_join_and_leave(
    partitions: int,
) -> None:
    random, shares = Random(partitions), share_out({"w0": []}, partitions)
    for number in range(1, 60):
        members = dict(shares)
        if len(members) == 3 or (len(members) > 1 and random.random() < 0.4):
            del members[random.choice(sorted(members))]
        else:
            members[f"w{number}"] = []
        before, shares = members, share_out(members, partitions)
        assert_even(shares, partitions)
        # A member with more than its new share gives the surplus away; nothing else moves.
        sizes = [sorted(map(len, each.values()), reverse=True) for each in (before, shares)]
        assert moved(before, shares) == sum(
            max(0, had - has) for had, has in zip(*sizes, strict=True)
        )
        assert share_out(shares, partitions) == shares


def test_third_worker_takes_one_of_four_partitions_and_leaves_the_others_alone() -> None:
    assert share_out({"a": [0, 1], "b": [2, 3], "c": []}, 4) == {"a": [0, 1], "b": [2], "c": [3]}
    assert share_out({"a": [0, 1], "b": [2], "c": [3]}, 4) == {"a": [0, 1], "b": [2], "c": [3]}


def test_with_more_workers_than_partitions_some_have_none() -> None:
    assert share_out({"a": [0], "b": [1], "c": []}, 2) == {"a": [0], "b": [1], "c": []}


def test_partition_reported_by_two_members_goes_to_one_of_them() -> None:
    assert_even(share_out({"a": [0, 1], "zombie": [0, 1], "b": [2, 3]}, 4), 4)


def test_partitions_that_no_longer_exist_are_dropped() -> None:
    assert share_out({"a": [0, 1, 7], "b": []}, 2) == {"a": [0], "b": [1]}


class Cluster:
    """Four partitions of every topic."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(4))


def member(name: str) -> EvenAssignor:
    tables = SimpleNamespace(data={}, changelog_topics=set())
    return EvenAssignor(
        cast(
            Any,
            SimpleNamespace(
                tables=tables, conf=SimpleNamespace(canonical_url=f"http://{name}"), tracer=None
            ),
        )
    )


def assign(members: dict[str, EvenAssignor]) -> dict[str, list[int]]:
    """Partitions of each member after a rebalance, the same of every topic."""
    metadata = {name: assignor.metadata(TOPICS) for name, assignor in members.items()}
    leader = next(iter(members.values()))
    partitions = {}
    for name, assignment in leader.assign(cast(Any, Cluster()), metadata).items():
        members[name].on_assignment(cast(Any, assignment))
        by_topic = dict(assignment.assignment)
        assert by_topic.keys() == TOPICS
        assert len({tuple(numbers) for numbers in by_topic.values()}) == 1
        partitions[name] = list(by_topic["ticks"])
    return partitions


def test_group_protocol_carries_the_partitions_that_members_had() -> None:
    members = {"a": member("a"), "b": member("b")}
    assert assign(members) == {"a": [0, 1], "b": [2, 3]}
    members["c"] = member("c")
    assert assign(members) == {"a": [0, 1], "b": [2], "c": [3]}
    del members["a"]
    assert assign(members) == {"b": [0, 2], "c": [1, 3]}
    members["a"] = member("a")
    assert assign(members) == {"b": [0, 2], "c": [1], "a": [3]}
    assert assign(members) == {"b": [0, 2], "c": [1], "a": [3]}


def test_members_with_another_subscription_get_no_partitions_of_the_first_program() -> None:
    own, other = member("a"), member("z")
    metadata = {"a": own.metadata(TOPICS), "z": other.metadata({"alerts"})}
    shares = {
        name: dict(assignment.assignment)
        for name, assignment in own.assign(cast(Any, Cluster()), metadata).items()
    }
    assert shares == {"a": {topic: [0, 1, 2, 3] for topic in TOPICS}, "z": {"alerts": [0, 1, 2, 3]}}
