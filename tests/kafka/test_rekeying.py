"""When stage 1 may take its inputs for read to their ends although re-keying goes on; no broker is
needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from driftline.agents.worker import rekeying
from driftline.agents.worker.rekeying import Rekeying

Place = tuple[str, int]
SOURCE = ("predictions-source", 0)


class Broker:
    """End of one source, and the position of the step in it."""

    end = 0
    position = 0

    def logs(self, _: Any) -> dict[Place, int]:
        return {SOURCE: self.end}

    def unread(self, _: Any, logs: Mapping[Place, int]) -> dict[Place, int]:
        return {place: max(0, end - self.position) for place, end in logs.items()}


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    own = Broker()
    monkeypatch.setattr(rekeying, "source_logs", own.logs)
    monkeypatch.setattr(rekeying, "unread_sources", own.unread)
    return own


def test_a_source_that_goes_on_is_caught_up_with_if_nothing_older_is_left(broker: Broker) -> None:
    step = Rekeying(cast(Any, None), cast(Any, None), lambda *_: None)
    broker.end, broker.position = 100, 90
    step.look()
    assert not step.is_caught_up, "nothing is known at the first look"
    broker.end, broker.position = 200, 99
    step.look()
    assert (step.is_caught_up, step.lag_records) == (False, 1)
    broker.end, broker.position = 300, 205
    step.look()
    assert (step.is_caught_up, step.lag_records) == (True, 0)
    broker.end, broker.position = 400, 299
    step.look()
    assert (step.is_caught_up, step.lag_records) == (False, 1)


def test_a_failed_look_is_not_compared_with(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Rekeying(cast(Any, None), cast(Any, None), lambda *_: None)
    broker.end = broker.position = 100
    step.look()
    step.look()
    assert step.is_caught_up

    def away(*_: Any) -> Any:
        raise OSError

    monkeypatch.setattr(rekeying, "unread_sources", away)
    with pytest.raises(OSError):
        step.look()
    monkeypatch.setattr(rekeying, "unread_sources", broker.unread)
    assert not step.is_caught_up
