"""A planner with a clock of its own, for tests: alerts come in, time passes, messages go out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.actions import Action
from driftline.schemas.notification_settings import NotificationSettings, read_notifications
from driftline.schemas.notifications import Notification
from driftline.schemas.results import Acknowledgement, Alert, RegistryEvent
from driftline.schemas.times import EpochMs, parse_time
from driftline.streams.notify.planner import Planner

START_MS = parse_time("2026-11-30T10:00:00Z")


def settings(channels: dict[str, Any] | None = None, **keys: Any) -> NotificationSettings:
    """Settings with one log channel "ops" from warning on, or with other channels."""
    return read_notifications(
        {"channels": channels or {"ops": {"type": "log", "min_severity": "warning"}}} | keys
    )


def alert(name: str, severity: str = "critical", **fields: Any) -> Alert:
    """The first record of an alert."""
    return Alert(
        **{
            "fingerprint": name,
            "alert_id": name,
            "group_id": name,
            "model_name": "churn",
            "model_version": "1.4.2",
            "segment": "all",
            "rule": f"rule_{name}",
            "status": "firing",
            "change": "firing",
            "severity": severity,
            "summary": f"{name} is bad.",
            "starts_at_ms": EpochMs(START_MS),
            "at_ms": EpochMs(START_MS),
        }
        | fields
    )


def changed(before: Alert, change: str, **fields: Any) -> Alert:
    """A later record of an alert, which is its newest state but for the change."""
    of_change: dict[str, dict[str, Any]] = {
        "resolved": {"status": "resolved", "ends_at_ms": before.at_ms},
        "silenced": {"status": "silenced", "silenced_by": ["night"]},
        "unsilenced": {"status": "firing", "silenced_by": []},
        "acknowledged": {
            "status": "acknowledged",
            "acknowledged": Acknowledgement(by="ann", at_ms=before.at_ms),
        },
        "unacknowledged": {"status": "firing", "acknowledged": None},
    }
    return msgspec.structs.replace(
        before, **{"change": change} | of_change.get(change, {}) | fields
    )


def event(name: str = "promote", **fields: Any) -> RegistryEvent:
    """A change of the registry."""
    return RegistryEvent(
        **{
            "event": name,
            "model_name": "churn",
            "model_version": "1.4.2",
            "revision": 3,
            "command_id": "c",
            "at": "2026-11-30T10:00:00Z",
            "requested_by": "ann",
        }
        | fields
    )


def action(of: Alert, name: str = "call", **fields: Any) -> Action:
    """A response that escalates an alert."""
    return Action(
        **{
            "action_id": f"{of.alert_id}/{name}",
            "action": "escalate",
            "response": name,
            "model_name": of.model_name,
            "model_version": of.model_version,
            "segment": of.segment,
            "rule": of.rule,
            "alert_id": of.alert_id,
            "severity": of.severity,
            "outcome": "taken",
            "dry_run": False,
            "at_ms": of.at_ms,
            "reason": of.summary,
        }
        | fields
    )


class Desk:
    """A planner, its state, the clock, and all that was sent.

    Parameters
    ----------
    takes
        Called with each notification that is sent; gives the error of the channel, or None if it
        takes it. By default every channel takes everything.

    Attributes
    ----------
    sent
        What the channels took, with the seconds since the start.
    records
        All records of `notifications`.
    raised
        All alerts about channels.
    """

    def __init__(
        self,
        of: NotificationSettings,
        takes: Callable[[Notification], str | None] | None = None,
        *,
        start: bool = True,
        at_ms: int = START_MS,
    ) -> None:
        self.settings, self.state, self.now_ms = of, MemoryState(), at_ms
        self.takes = takes or (lambda notification: None)
        self.is_permanent = False
        self.retry_after_ms: int | None = None
        self.sent: list[tuple[int, Notification]] = []
        self.tried: list[tuple[int, Notification]] = []
        self.records: list[Notification] = []
        self.raised: list[Alert] = []
        self.began_ms = at_ms
        self.planner = Planner(of, self.state)
        if start:
            self.planner.start(at_ms)

    def crash(self, of: NotificationSettings | None = None) -> None:
        """Go on with a new planner on the same state, perhaps with other settings."""
        self.settings = of or self.settings
        self.planner = Planner(self.settings, self.state)

    def take(self, *alerts: Alert) -> None:
        """Alerts come in now."""
        self.planner.take_alerts(alerts, self.now_ms)
        self.settle()

    def take_actions(self, *actions: Action) -> None:
        """Actions come in now."""
        self.planner.take_actions(actions, self.now_ms)
        self.settle()

    def take_events(self, *events: RegistryEvent) -> None:
        """Changes of the registry come in now."""
        self.planner.take_events(events, self.now_ms)
        self.settle()

    def wait(self, seconds: float) -> None:
        """Time passes; what is due on the way is done at its time."""
        until_ms = self.now_ms + int(seconds * 1000)
        while True:
            next_ms = self.planner.next_ms()
            if next_ms is None or next_ms > until_ms:
                break
            assert next_ms > self.now_ms, "next_ms is not after what was done"
            self.now_ms = next_ms
            self.settle()
        self.now_ms = until_ms
        self.settle()

    def settle(self) -> None:
        """Do all that is due now."""
        self.plan()
        while chosen := self.planner.to_send(self.now_ms):
            for notification in chosen:
                self.attempt(notification)
            self.plan()

    def plan(self) -> None:
        """Plan what is due now, and keep the records."""
        self.records += self.planner.due(self.now_ms)
        self.raised += self.planner.raised()

    def attempt(self, notification: Notification) -> None:
        """Send a notification, and tell the planner the result."""
        self.tried.append((self.seconds(), notification))
        error = self.takes(notification)
        if error is None:
            self.sent.append((self.seconds(), notification))
            self.planner.delivered(notification.notification_id, self.now_ms)
        else:
            self.planner.not_delivered(
                notification.notification_id,
                error,
                is_permanent=self.is_permanent,
                retry_after_ms=self.retry_after_ms,
                now_ms=self.now_ms,
            )

    def seconds(self) -> int:
        """Since the start."""
        return (self.now_ms - self.began_ms) // 1000

    def told(self, channel: str | None = None) -> list[tuple[int, str, list[str]]]:
        """What was sent: seconds since the start, kind, ids of the alerts."""
        return [
            (seconds, each.kind, [alert.alert_id for alert in each.alerts])
            for seconds, each in self.sent
            if channel in (None, each.channel)
        ]

    def outcomes(self) -> dict[str, str]:
        """The last status of each notification, by "channel kind"."""
        last = {each.notification_id: each for each in self.records}
        return {f"{each.channel} {each.kind}": each.status for each in last.values()}
