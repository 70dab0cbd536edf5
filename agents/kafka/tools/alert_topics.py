"""Alerts, and what people do about them, on the topics of a broker."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges
from driftline.agents.kafka.broker.topics import UnusableTopics
from driftline.agents.kafka.tools.settings_in_force import own_values
from driftline.schemas.alert_commands import AlertCommand, AlertEvent
from driftline.schemas.results import Alert, decoder, encode
from driftline.schemas.topics import ALERT_COMMANDS, ALERT_EVENTS, ALERTS

FLUSH_S: Final = 30.0
_BETWEEN_LOOKS_S: Final = 0.2

_decode_alert = decoder(Alert).decode
_decode_answer = decoder(AlertEvent).decode


def read_alerts(connection: Connection) -> list[Alert]:
    """All records of `alerts`; those of one model in their order."""
    ranges = offset_ranges(connection, [ALERTS])[ALERTS]
    return list(map(_decode_alert, own_values(connection, ranges)))


def read_answers(connection: Connection) -> list[AlertEvent]:
    """All records of `alert-events`; those of one model in their order."""
    ranges = offset_ranges(connection, [ALERT_EVENTS])[ALERT_EVENTS]
    return list(map(_decode_answer, own_values(connection, ranges)))


def send_commands(connection: Connection, commands: Sequence[AlertCommand]) -> None:
    """Send alert commands; they are on their topic when this returns.

    Raises
    ------
    UnusableTopics
        If the broker lacks the topic.
    KafkaException
        If the broker does not accept a command.
    """
    if not offset_ranges(connection, [ALERT_COMMANDS])[ALERT_COMMANDS]:
        raise UnusableTopics(
            f"{connection.servers} has no topic {connection.name(ALERT_COMMANDS)}; create it: "
            "driftline topics create"
        )
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = connection.producer(enable_idempotence=True, on_delivery=delivered)
    for command in commands:
        producer.produce(
            connection.name(ALERT_COMMANDS), encode(command), key=command.model_name.encode()
        )
    left = producer.flush(FLUSH_S)
    if failed or left:
        raise KafkaException(
            failed[0]
            if failed
            else KafkaError(KafkaError._TIMED_OUT, f"{left} commands were not acknowledged")
        )


def wait_for_answers(
    connection: Connection, command_ids: Collection[str], *, seconds: float
) -> list[AlertEvent]:
    """The answers to commands that come within some seconds, in the order in which they came."""
    until_s = time.monotonic() + seconds
    while True:
        found = [each for each in read_answers(connection) if each.command_id in command_ids]
        if len(found) >= len(command_ids) or time.monotonic() >= until_s:
            return found
        time.sleep(_BETWEEN_LOOKS_S)
