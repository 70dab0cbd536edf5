"""Requests that a broker refuses for a moment are repeated; all others fail at once."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from driftline.agents.kafka.broker import moving_partitions
from driftline.agents.kafka.broker.moving_partitions import patiently
from driftline.agents.kafka.tools import journal_positions
from driftline.agents.kafka.tools.journal_positions import position_faults
from driftline.schemas.config import parse_config


class Broker:
    """A connection whose clients refuse some requests before they answer."""

    config = parse_config("")
    settings = config.kafka

    def __init__(self, *codes: int) -> None:
        self._codes = list(codes)
        self.clients = 0

    def admin(self) -> Any:
        self.clients += 1
        return object()

    def answer(self, *_: Any, **__: Any) -> dict[Any, Any]:
        if self._codes:
            raise KafkaException(KafkaError(self._codes.pop(0)))
        return {}


MOVING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


def test_a_request_is_repeated_with_a_new_client_while_partitions_move() -> None:
    broker: Any = Broker(*MOVING)
    assert patiently(broker, broker.answer) == {}
    assert broker.clients == len(MOVING) + 1


@pytest.mark.parametrize(("also", "clients"), [((), 1), ((KafkaError.UNKNOWN_TOPIC_OR_PART,), 2)])
def test_a_missing_topic_is_asked_for_again_only_where_that_is_wanted(
    also: tuple[int, ...], clients: int
) -> None:
    broker: Any = Broker(KafkaError.UNKNOWN_TOPIC_OR_PART)
    if also:
        assert patiently(broker, broker.answer, also=also) == {}
    else:
        with pytest.raises(KafkaException):
            patiently(broker, broker.answer)
    assert broker.clients == clients


def test_a_request_is_not_repeated_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving_partitions, "REPEATED_S", 0.0)
    broker: Any = Broker(KafkaError.NOT_LEADER_FOR_PARTITION)
    with pytest.raises(KafkaException):
        patiently(broker, broker.answer)
    assert broker.clients == 1


def test_positions_are_compared_once_the_partitions_have_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One refusal for each kind of task.
    broker: Any = Broker(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.NOT_LEADER_FOR_PARTITION)
    monkeypatch.setattr(journal_positions, "last_commits", lambda connection, kind: {})
    monkeypatch.setattr(journal_positions, "input_logs", broker.answer)
    assert position_faults(broker) == []
    assert broker.clients > 2
