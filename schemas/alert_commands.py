"""What people do about alerts: the commands, and the answer to each.

The commands come in on `alert-commands`; stage 3 answers each on `alert-events`. What an act does
to an alert is `driftline.streams.decide.alert_acts`.
"""

from typing import Any

from msgspec import Struct

from driftline.schemas.results import key_of
from driftline.schemas.times import EpochMs

__all__ = ["AlertCommand", "AlertEvent", "Silence"]


class AlertCommand(Struct, kw_only=True, omit_defaults=True):
    """What a person does about alerts of a model.

    Attributes
    ----------
    command_id
        Makes the command safe to send twice: the second one has no effect.
    command
        "acknowledge", "unacknowledge" or "accept" for one open alert; "silence" or "unsilence".
    timestamp
        When the person acted. Over fed history, the event time at which it is carried out.
    requested_by
        Who sent it.
    params
        Of an act on one alert: "fingerprint", or "rule", "model_version" and "segment" ("all" by
        default). Of a silence: "id" (by default the command_id); "rule", "model_version", "segment"
        and "severity", each a name or a pattern with * and ?, by default all; "starts_at" (by
        default at once); and either "ends_at" or "duration". Of unsilence: "id".
    reason
        Why, for others to read.
    """

    command_id: str
    command: str
    model_name: str
    timestamp: str
    requested_by: str
    params: dict[str, Any] = {}
    reason: str = ""

    def key(self) -> str:
        """model."""
        return key_of((self.model_name,))


class Silence(
    Struct,
    kw_only=True,
    frozen=True,
    omit_defaults=True,
    rename={"starts_at_ms": "starts_at", "ends_at_ms": "ends_at"},
):
    """A span of event time in which matching alerts of a model are to be left alone.

    Attributes
    ----------
    rule, model_version, segment, severity
        Names or patterns: * stands for any characters, ? for one.
    starts_at_ms, ends_at_ms
        The span, the end excluded; null is the time of the command.
    created_by, reason
        Who silences, and why.
    """

    id: str
    rule: str = "*"
    model_version: str = "*"
    segment: str = "*"
    severity: str = "*"
    starts_at_ms: EpochMs | None = None
    ends_at_ms: EpochMs
    created_by: str
    reason: str = ""


class AlertEvent(Struct, kw_only=True, omit_defaults=True):
    """The answer to a command: what it changed, or why it was rejected.

    Attributes
    ----------
    event
        Name of the accepted command, or "rejected".
    command, command_id, at, requested_by, params, reason
        The command, and its time.
    frontier
        Event time that the model had reached when the command was carried out; 1970 where nothing
        of the model had been counted yet.
    registry_revision
        Newest revision of the model's versions that was in force by then.
    alert_id
        The episode that the command is about.
    silence
        The silence that begins, or that is taken back.
    error
        Why the command was rejected.
    """

    event: str
    model_name: str
    command: str
    command_id: str
    at: str
    requested_by: str
    frontier: str
    registry_revision: int
    params: dict[str, Any] = {}
    reason: str = ""
    alert_id: str | None = None
    silence: Silence | None = None
    error: str | None = None

    def key(self) -> str:
        """model."""
        return key_of((self.model_name,))
