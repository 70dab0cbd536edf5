"""Commands to stages 3 and 4, and their answers, on the topics of a broker."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, Final

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges
from driftline.agents.kafka.tools.send_records import send_records
from driftline.agents.kafka.tools.settings_in_force import own_values
from driftline.schemas.alert_commands import AlertCommand, AlertEvent
from driftline.schemas.results import RegistryCommand, RegistryEvent, decoder, encode
from driftline.schemas.topics import (
    ALERT_COMMANDS,
    ALERT_EVENTS,
    REGISTRY_COMMANDS,
    REGISTRY_EVENTS,
)

_BETWEEN_LOOKS_S: Final = 0.2

_ANSWERS: Final[dict[str, tuple[str, Any]]] = {
    ALERT_COMMANDS: (ALERT_EVENTS, decoder(AlertEvent)),
    REGISTRY_COMMANDS: (REGISTRY_EVENTS, decoder(RegistryEvent)),
}
"""By topic of commands, the topic of their answers and its decoder."""

_decode_event = decoder(RegistryEvent).decode


def answers_topic(topic: str) -> str:
    """The topic on which commands of a topic are answered."""
    return _ANSWERS[topic][0]


def read_registry_events(connection: Connection) -> list[RegistryEvent]:
    """All records of `registry-events`; those of one model in their order."""
    ranges = offset_ranges(connection, [REGISTRY_EVENTS])[REGISTRY_EVENTS]
    return list(map(_decode_event, own_values(connection, ranges)))


def send_commands(
    connection: Connection, topic: str, commands: Sequence[AlertCommand | RegistryCommand]
) -> None:
    """Send commands; they are on their topic when this returns.

    Raises
    ------
    UnusableTopics
        If the broker lacks the topic.
    KafkaException
        If the broker does not accept a command.
    """
    send_records(
        connection,
        topic,
        [(command.model_name.encode(), encode(command)) for command in commands],
    )


def wait_for_answers(
    connection: Connection, topic: str, command_ids: Collection[str], *, seconds: float
) -> list[Any]:
    """The answers to commands of a topic that come within some seconds, in the order in which they
    came.
    """
    until_s = time.monotonic() + seconds
    answers, answer_decoder = _ANSWERS[topic]
    while True:
        ranges = offset_ranges(connection, [answers])[answers]
        values = map(answer_decoder.decode, own_values(connection, ranges))
        found = [each for each in values if each.command_id in command_ids]
        if len(found) >= len(command_ids) or time.monotonic() >= until_s:
            return found
        time.sleep(_BETWEEN_LOOKS_S)
