"""Notifications as alerts of Prometheus: labels say which alert it is, annotations what to say.

Read by Alertmanager (channel `alertmanager`), and by whatever takes its webhooks (channel
`webhook`).
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from driftline.agents.notify.texts import TEXT_CHARACTERS, one_line, text_of, title_of
from driftline.schemas.notifications import Notification
from driftline.schemas.results import Alert
from driftline.schemas.times import MINUTE_MS

MESSAGE_MS = 5 * MINUTE_MS


class PrometheusAlert(Struct, frozen=True, kw_only=True):
    """One alert.

    Attributes
    ----------
    ends_at_ms
        None while it is firing.
    fingerprint
        Of Driftline's alert; the id of the notification where it has none.
    """

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at_ms: int
    ends_at_ms: int | None
    fingerprint: str


def prometheus_alerts(notification: Notification) -> list[PrometheusAlert]:
    """The alerts of a notification; one of five minutes that is named by its kind if it has none.

    Times are not later than the notification was planned, so that an alert which ended has ended
    for a receiver with the wall clock.
    """
    if not notification.alerts:
        return [_message(notification)]
    return [_of_alert(alert, notification) for alert in notification.alerts]


def webhook_document(notification: Notification) -> dict[str, Any]:
    """What Alertmanager's own webhook receivers post, version 4.

    References
    ----------
    https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
    """
    from driftline.schemas.times import format_time

    alerts = prometheus_alerts(notification)
    firing = any(alert.ends_at_ms is None for alert in alerts)
    return {
        "version": "4",
        "groupKey": one_line(notification.group_key or notification.notification_id),
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": one_line(notification.channel),
        "groupLabels": {},
        "commonLabels": _common([alert.labels for alert in alerts]),
        "commonAnnotations": _common([alert.annotations for alert in alerts]),
        "externalURL": "",
        "alerts": [
            {
                "status": "firing" if alert.ends_at_ms is None else "resolved",
                "labels": alert.labels,
                "annotations": alert.annotations,
                "startsAt": format_time(alert.starts_at_ms),
                # The zero time of Go stands for an alert that has not ended.
                "endsAt": "0001-01-01T00:00:00Z"
                if alert.ends_at_ms is None
                else format_time(alert.ends_at_ms),
                "generatorURL": "",
                "fingerprint": alert.fingerprint,
            }
            for alert in alerts
        ],
    }


def _of_alert(alert: Alert, notification: Notification) -> PrometheusAlert:
    ends_at_ms = None
    if alert.status == "resolved":
        ended = alert.at_ms if alert.ends_at_ms is None else alert.ends_at_ms
        ends_at_ms = min(ended, notification.planned_at_ms)
    latest = notification.planned_at_ms if ends_at_ms is None else ends_at_ms
    annotations = {
        "summary": one_line(alert.summary, TEXT_CHARACTERS),
        "status": alert.status,
        "driftline_alert_id": one_line(alert.alert_id),
    }
    if alert.runbook_url:
        annotations["runbook_url"] = one_line(alert.runbook_url)
    return PrometheusAlert(
        labels={
            "alertname": one_line(alert.rule),
            "model": one_line(alert.model_name),
            "version": one_line(alert.model_version),
            "segment": one_line(alert.segment),
            "severity": alert.severity,
        },
        annotations=annotations,
        starts_at_ms=min(alert.starts_at_ms, latest),
        ends_at_ms=ends_at_ms,
        fingerprint=one_line(alert.fingerprint),
    )


def _message(notification: Notification) -> PrometheusAlert:
    identity = one_line(notification.notification_id)
    return PrometheusAlert(
        labels={
            "alertname": f"driftline_{notification.kind}",
            "severity": notification.severity,
            "notification_id": identity,
        },
        annotations={"summary": title_of(notification), "description": text_of(notification)},
        starts_at_ms=notification.planned_at_ms,
        ends_at_ms=notification.planned_at_ms + MESSAGE_MS,
        fingerprint=identity,
    )


def _common(tables: list[dict[str, str]]) -> dict[str, str]:
    return {
        key: value
        for key, value in tables[0].items()
        if all(table.get(key) == value for table in tables)
    }
