"""The contract of `State` that stages rely on; one suite for every implementation."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftline.agents.kafka.notify.changelog import ChangelogState
from driftline.agents.state.dict_state import MemoryState
from driftline.agents.state.rocks import RocksState
from driftline.streams.stage import State

Settle = Callable[[], None]


CACHES = {"no": 0, "a tiny": 3_000, "a": 1 << 20}


@pytest.fixture(
    params=[
        "memory",
        "changelog",
        "rocks, a cache",
        *(f"rocks, {cache} cache, committed" for cache in CACHES),
    ]
)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[State, Settle]]:
    """A state, and a function that commits if the implementation has commits."""
    if request.param == "memory":
        yield MemoryState(), lambda: None
        return
    if request.param == "changelog":
        tracked = ChangelogState({})
        yield tracked, lambda: None
        return
    cache = request.param.split(", ")[1].removesuffix(" cache")
    rocks = RocksState(tmp_path / "state", tasks=2, memory_bytes=CACHES[cache])
    neighbour = rocks.task(0, 1)
    neighbour.put(b"a", b"of another partition")
    rocks.task(1, 0).put(b"a", b"of another stage")
    yield (
        rocks.task(0, 0),
        (lambda: rocks.commit({})) if "committed" in request.param else (lambda: None),
    )
    assert neighbour.get(b"a") == b"of another partition"
    assert rocks.task(1, 0).get(b"a") == b"of another stage"
    rocks.close()


def test_key_that_was_never_put_is_absent(state: tuple[State, Settle]) -> None:
    keyed, _ = state
    assert keyed.get(b"a") is None
    assert keyed.get_many([b"a", b"b", b"a"]) == [None, None, None]
    assert keyed.get_many([]) == []


def test_get_returns_the_last_value_put(state: tuple[State, Settle]) -> None:
    keyed, settle = state
    keyed.put(b"a", b"1")
    settle()
    keyed.put(b"a", b"2")
    keyed.put_many([b"b", b""], [b"3", b"4"])
    settle()
    assert keyed.get(b"a") == b"2"
    assert keyed.get_many([b"b", b"x", b"", b"b"]) == [b"3", None, b"4", b"3"]


def test_empty_value_is_a_value(state: tuple[State, Settle]) -> None:
    keyed, settle = state
    keyed.put(b"a", b"")
    settle()
    assert keyed.get(b"a") == b""


def test_deleted_key_is_absent_until_it_is_put_again(state: tuple[State, Settle]) -> None:
    keyed, settle = state
    keyed.put(b"a", b"1")
    settle()
    keyed.delete(b"a")
    keyed.delete(b"never there")
    keyed.put_many([b"b", b"c"], [b"1", b"2"])
    assert keyed.pop_many([b"b", b"never there", b"c", b"b"]) == [b"1", None, b"2", None]
    assert keyed.get_many([b"a", b"b", b"c"]) == [None, None, None]
    settle()
    assert keyed.get_many([b"a", b"b", b"c"]) == [None, None, None]
    assert keyed.get(b"a") is None
    keyed.put(b"a", b"2")
    settle()
    assert keyed.get(b"a") == b"2"


def test_range_deletion_includes_its_start_and_excludes_its_end(
    state: tuple[State, Settle],
) -> None:
    keyed, settle = state
    keys = [b"a", b"b", b"b\x00", b"bz", b"c", b"d"]
    for key in keys:
        keyed.put(key, key)
    settle()
    keyed.delete_range(b"b", b"c")
    assert keyed.get_many(keys) == [b"a", None, None, None, b"c", b"d"]
    settle()
    assert keyed.get_many(keys) == [b"a", None, None, None, b"c", b"d"]


def test_key_put_after_a_range_deletion_stays(state: tuple[State, Settle]) -> None:
    keyed, settle = state
    keyed.put(b"b", b"old")
    settle()
    keyed.get(b"b")
    keyed.delete_range(b"a", b"z")
    keyed.put(b"b", b"new")
    assert keyed.get_many([b"b", b"c"]) == [b"new", None]
    settle()
    assert keyed.get(b"b") == b"new"


@pytest.mark.parametrize("seed", range(10))
def test_any_sequence_of_changes_reads_like_a_dictionary(
    state: tuple[State, Settle], seed: int
) -> None:
    keyed, settle = state
    draw = random.Random(seed)
    expected: dict[bytes, bytes] = {}
    alphabet = [bytes([a, b]) for a in b"abc" for b in b"xyz"]
    for step in range(300):
        key = draw.choice(alphabet)
        action = draw.random()
        if action < 0.4:
            keyed.put(key, str(step).encode())
            expected[key] = str(step).encode()
        elif action < 0.6:
            keyed.delete(key)
            expected.pop(key, None)
        elif action < 0.62:
            popped = [draw.choice(alphabet), key]
            assert keyed.pop_many(popped) == [expected.pop(k, None) for k in popped], (
                f"seed {seed}, step {step}"
            )
        elif action < 0.64:
            put = [draw.choice(alphabet), key]
            keyed.put_many(put, [b"first", b"second"])
            expected.update(zip(put, [b"first", b"second"], strict=True))
        elif action < 0.67:
            start, end = sorted([draw.choice(alphabet), draw.choice(alphabet)])
            keyed.delete_range(start, end)
            expected = {k: v for k, v in expected.items() if not start <= k < end}
        elif action < 0.8:
            settle()
        keys = [draw.choice(alphabet) for _ in range(draw.randrange(12))]
        assert keyed.get_many(keys) == [expected.get(k) for k in keys], f"seed {seed}, step {step}"
        assert keyed.get(key) == expected.get(key), f"seed {seed}, step {step}"
