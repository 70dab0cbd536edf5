"""Alerts, what people do about them, and what they lead to, on the topics of a broker."""

from __future__ import annotations

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges
from driftline.agents.kafka.tools.settings_in_force import own_values
from driftline.schemas.actions import Action
from driftline.schemas.alert_commands import AlertEvent
from driftline.schemas.results import Alert, decoder
from driftline.schemas.topics import ACTIONS, ALERT_EVENTS, ALERTS

_decode_action = decoder(Action).decode
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


def read_actions(connection: Connection) -> list[Action]:
    """All records of `actions`; those of one model in their order."""
    ranges = offset_ranges(connection, [ACTIONS])[ACTIONS]
    return list(map(_decode_action, own_values(connection, ranges)))
