"""Settings of the whole test run: property tests draw new examples on a developer's machine, and
the same ones in CI.

A change is then judged by itself in CI; what a developer's run finds becomes an example or a seed
of its own. No example has a deadline: how long one takes says how busy the machine is.

Fixtures for Redis are here, because tests with and without a broker use them.

Files whose tests need a broker wait for more than half of their time, the others compute. They are
mixed, so that both cores are kept busy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import settings

from tests.redis_server import (
    NoRedis,
    Place,
    RedisProcess,
    any_redis,
    need_redis_server,
    without_redis,
)

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# A worker of pytest-xdist sets it, and tables would be as wide as the terminal of its user.
os.environ.pop("COLUMNS", None)

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mix the files: those with a broker lie evenly among the first four fifths of the others, and
    short ones, the examples in docstrings, come last.
    """
    files = [list(group) for _, group in groupby(items, lambda item: item.path)]
    tests = [group for group in files if group[0].path.is_relative_to(TESTS)]
    waiting = [group for group in tests if any(item.get_closest_marker("kafka") for item in group)]
    computing = [group for group in tests if group not in waiting]
    placed = [
        *((number / len(computing), group) for number, group in enumerate(computing)),
        *((0.8 * number / len(waiting), group) for number, group in enumerate(waiting)),
    ]
    placed.sort(key=lambda pair: pair[0])
    rest = [group for group in files if group not in tests]
    items[:] = [item for group in (*(group for _, group in placed), *rest) for item in group]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Redis server that all tests share."""
    try:
        with any_redis(tmp_path_factory.mktemp("redis")) as url:
            yield url
    except NoRedis as reason:
        without_redis(str(reason))


@pytest.fixture
def redis_place(redis_url: str) -> Iterator[Place]:
    """A prefix of this test on the shared server; deletes its keys at the end."""
    place = Place(redis_url)
    yield place
    place.clean()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """A running server of this test, which it may kill and restart."""
    need_redis_server()
    own = RedisProcess(tmp_path / "redis").start()
    yield own
    own.kill()
