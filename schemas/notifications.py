"""What is sent to people about alerts and changes of the registry.

When something is sent is decided by `driftline.streams.notify`; how it is sent by
`driftline.agents.notify`.
"""

from typing import Literal

from msgspec import Struct

from driftline.schemas.results import Alert, RegistryEvent
from driftline.schemas.times import EpochMs

__all__ = ["Notification", "NotificationKind", "NotificationStatus"]

NotificationKind = Literal[
    "firing", "update", "escalation", "resolved", "digest", "daily_digest", "notice", "test"
]
"""What a notification announces: "firing" the first alert of a group, "update" news of it,
"escalation" the same to a further level because nobody acknowledged it, "resolved" its end,
"digest" what the rate limit or quiet hours held back, "notice" changes of the registry.
"""

NotificationStatus = Literal["planned", "sent", "failed", "dropped"]


class Notification(
    Struct,
    kw_only=True,
    omit_defaults=True,
    rename={"planned_at_ms": "planned_at", "at_ms": "at", "next_attempt_ms": "next_attempt_at"},
):
    """One message to one channel. Records of one `notification_id` say what became of it.

    Attributes
    ----------
    notification_id
        The same for every attempt, also after a crash: a receiver that honours it takes the message
        once.
    channel
        Name of the channel in the configuration.
    group_key
        The same for all notifications about one group of alerts, from firing to resolved: what
        PagerDuty calls the dedup key. Empty for digests and notices.
    status
        "planned" at first; "sent" when the channel has taken it; "failed" when it was given up;
        "dropped" when it is not worth sending any more, such as a firing alert that was resolved
        while the channel was away.
    severity
        The highest one of its alerts; "info" for notices.
    title, text
        Plain text for a person; `title` is one line of at most 200 characters.
    alerts
        The newest record of each alert of the group, the highest severity first. Of a digest those
        of all groups.
    events
        Of a notice: the events of the registry.
    planned_at_ms, at_ms
        When it was planned, and when this status began: wall clock live, event time in a replay.
    attempts
        How often it was tried.
    next_attempt_ms
        When it is tried again; null if it is not.
    error
        Why the last attempt failed, without secrets.
    """

    notification_id: str
    channel: str
    kind: NotificationKind
    status: NotificationStatus
    severity: Literal["info", "warning", "error", "critical"]
    title: str
    text: str
    planned_at_ms: EpochMs
    at_ms: EpochMs
    group_key: str = ""
    alerts: list[Alert] = []
    events: list[RegistryEvent] = []
    attempts: int = 0
    next_attempt_ms: EpochMs | None = None
    error: str | None = None

    def key(self) -> str:
        """notification_id."""
        return self.notification_id
