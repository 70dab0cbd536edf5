"""Channel: PagerDuty, Events API v2, and services that take the same events."""

from __future__ import annotations

from typing import Any

import msgspec

from driftline.agents.notify.channel import NetworkChannel
from driftline.agents.notify.http_post import idempotency, post_json
from driftline.agents.notify.setting_types import SecretText, WebAddress
from driftline.agents.notify.texts import cut, one_line, plain_key, text_of, title_of
from driftline.schemas.notifications import Notification
from driftline.schemas.results import Alert
from driftline.schemas.times import format_time

# Limits of the service. An event may have 512 kB in all.
VALUE_CHARACTERS = 1_000
MOST_ALERTS = 50


class PagerDutyChannel(
    NetworkChannel,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="pagerduty",
):
    """Opens an incident for a group of alerts, and resolves it with the group.

    Its dedup key is the key of the group, so an incident is opened once. An update of a group of
    which each alert is acknowledged acknowledges the incident. Notices are change events, which
    page nobody. A test opens an incident and resolves it at once.

    Parameters
    ----------
    routing_key
        Integration key of the service.
    url
        Where the events go; "https://events.eu.pagerduty.com" in the EU.

    References
    ----------
    https://developer.pagerduty.com/docs/events-api-v2-overview
    """

    routing_key: SecretText
    url: WebAddress = WebAddress("https://events.pagerduty.com")

    def send(self, notification: Notification, /) -> None:
        """Post its events."""
        if notification.kind == "notice":
            self._post("/v2/change/enqueue", _change_event(notification), notification)
            return
        for action in _actions(notification):
            self._post("/v2/enqueue", _event(action, notification), notification)

    def _post(self, path: str, event: dict[str, Any], notification: Notification) -> None:
        key = self.routing_key.reveal()
        post_json(
            self.url.below(path),
            msgspec.json.encode({"routing_key": key, **event}),
            allow_private=self.allow_private,
            ca_file=self.ca_file,
            headers=idempotency(notification),
            secrets=[key],
        )


def _actions(notification: Notification) -> tuple[str, ...]:
    if notification.kind == "resolved":
        return ("resolve",)
    if notification.kind == "test":
        return ("trigger", "resolve")
    statuses = {alert.status for alert in notification.alerts}
    if notification.kind == "update" and statuses == {"acknowledged"}:
        return ("acknowledge",)
    return ("trigger",)


def _event(action: str, notification: Notification) -> dict[str, Any]:
    return {
        "event_action": action,
        "dedup_key": plain_key(notification.group_key or notification.notification_id),
        "payload": {
            "summary": title_of(notification),
            "severity": notification.severity,  # PagerDuty has the same four
            "source": _source(notification),
            "timestamp": format_time(notification.planned_at_ms),
            "custom_details": {
                "text": text_of(notification),
                "alerts": [_details(alert) for alert in notification.alerts[:MOST_ALERTS]],
            },
        },
    }


def _change_event(notification: Notification) -> dict[str, Any]:
    return {
        "payload": {
            "summary": title_of(notification),
            "source": _source(notification),
            "timestamp": format_time(notification.planned_at_ms),
            "custom_details": {"text": text_of(notification)},
        }
    }


def _source(notification: Notification) -> str:
    """Model and version of the first alert."""
    for alert in notification.alerts:
        return one_line(f"{alert.model_name} {alert.model_version}", VALUE_CHARACTERS)
    return "driftline"


def _details(alert: Alert) -> dict[str, str]:
    return {
        name: one_line(cut(value, VALUE_CHARACTERS))
        for name, value in {
            "rule": alert.rule,
            "model": alert.model_name,
            "version": alert.model_version,
            "segment": alert.segment,
            "severity": alert.severity,
            "status": alert.status,
            "summary": alert.summary,
            "since": format_time(alert.starts_at_ms),
        }.items()
    }
