"""Offsets of logs while their broker starts: a number is one of the log, or it is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from driftline.agents.kafka.broker.log_offsets import log_offsets
from driftline.agents.kafka.broker.moving_partitions import patiently

PLACES = [TopicPartition("metrics", 0), TopicPartition("metrics", 1)]


class Answer:
    """The answer for a partition: an offset, or an error."""

    def __init__(self, given: int | KafkaException) -> None:
        self._given = given

    def result(self) -> Any:
        if isinstance(self._given, KafkaException):
            raise self._given
        self.offset = self._given
        return self


class ScriptedAdmin:
    """Gives one list of answers a request."""

    def __init__(self, *requests: Sequence[int | KafkaException]) -> None:
        self._requests = list(requests)

    def list_offsets(self, wanted: dict[TopicPartition, OffsetSpec], **_: Any) -> Any:
        answers = self._requests.pop(0)
        return {place: Answer(given) for place, given in zip(wanted, answers, strict=True)}


def asked(*requests: Sequence[int | KafkaException]) -> dict[tuple[str, int], int]:
    admin: Any = ScriptedAdmin(*requests)
    return log_offsets(admin, PLACES, OffsetSpec.latest(), timeout_s=1.0)


@pytest.mark.parametrize("unknown", [OFFSET_INVALID, KafkaException(KafkaError(KafkaError._NOENT))])
def test_a_partition_whose_offset_is_not_known_yet_is_an_error_that_is_asked_again(
    unknown: int | KafkaException,
) -> None:
    with pytest.raises(KafkaException, match=r"offsets of metrics\[1\] yet") as caught:
        asked([7, unknown])
    assert caught.value.args[0].code() == KafkaError.LEADER_NOT_AVAILABLE

    admin: Any = ScriptedAdmin([7, unknown], [7, 9])

    class Connection:
        def admin(self) -> Any:
            return admin

    connection: Any = Connection()
    found = patiently(
        connection,
        lambda admin: log_offsets(admin, PLACES, OffsetSpec.latest(), timeout_s=1.0),
    )
    assert found == {("metrics", 0): 7, ("metrics", 1): 9}


def test_no_offset_at_or_after_a_time_is_an_answer_and_another_error_stays_one() -> None:
    assert asked([-1, 0]) == {("metrics", 0): -1, ("metrics", 1): 0}
    refused = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(KafkaException) as caught:
        asked([7, refused])
    assert caught.value is refused
