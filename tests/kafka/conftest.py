"""Fixtures for tests on a real broker:

`broker` is shared, `names` gives a test its own topics, `own_broker` is a broker to kill, `guarded`
is one with ACLs, shared too.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline.agents.kafka.broker import failures
from tests.kafka.brokers import (
    BrokerProcess,
    Names,
    NoBroker,
    any_broker,
    need_java,
    without_broker,
)
from tests.kafka.guarded import PASSWORD, Guarded, guarded_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of the broker that all tests share."""
    try:
        with any_broker(tmp_path_factory.mktemp("broker")) as servers:
            yield servers
    except NoBroker as reason:
        without_broker(str(reason))


@pytest.fixture
def names(broker: str) -> Iterator[Names]:
    """Topic prefix, program name and configurations of this test; deletes its topics at the end."""
    own = Names(broker, f"t{secrets.token_hex(4)}")
    yield own
    own.clean()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A running broker of this test, which it may kill and restart."""
    need_java()
    own = BrokerProcess(tmp_path / "broker")
    own.start()
    yield own
    own.stop()


@pytest.fixture(scope="session")
def acl_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A broker with ACLs that the tests share."""
    need_java()
    with guarded_broker(tmp_path_factory.mktemp("acl")) as running:
        yield running


@pytest.fixture
def guarded(acl_broker: Guarded, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    """The broker with ACLs; the password of ann is in the environment."""
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)
    return acl_broker


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Exit code and message of each stop of the process, which raises SystemExit instead."""
    messages: list[str] = []

    def stop(code: int, why: str) -> None:
        messages.append(f"{code}: {why}")
        raise SystemExit

    monkeypatch.setattr(failures, "stop_process", stop)
    return messages
