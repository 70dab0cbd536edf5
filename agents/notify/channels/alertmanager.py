"""Channel: Prometheus Alertmanager, which groups, silences and routes by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from driftline.agents.notify.channel import NetworkChannel
from driftline.agents.notify.http_post import idempotency, post_json
from driftline.agents.notify.prometheus_alerts import PrometheusAlert, prometheus_alerts
from driftline.agents.notify.setting_types import SecretText, WebAddress
from driftline.schemas.notifications import Notification
from driftline.schemas.times import MAX_TIME_MS, format_time, parse_duration

SEVERITIES = ("info", "warning", "error", "critical")


class AlertmanagerChannel(
    NetworkChannel,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="alertmanager",
):
    """Posts the alerts of a notification to `/api/v2/alerts`.

    Labels are alertname (the rule), model, version, segment and severity. An alert of another
    severity is another alert to Alertmanager, so each post also ends the same alert with the other
    severities; to end one that it does not know changes nothing. A notification without alerts is
    an alert of five minutes with the name of its kind, such as `driftline_notice`.

    Parameters
    ----------
    url
        Of Alertmanager, without `/api`.
    authorization
        The header `Authorization`, such as "Bearer ...".
    firing_for
        How long an alert stays firing if nothing more is heard of it. Driftline says each change
        once and does not send again every minute, as Alertmanager otherwise expects.
    generator_url
        What Alertmanager links an alert to.

    References
    ----------
    https://prometheus.io/docs/alerting/latest/alerts_api/
    """

    url: WebAddress
    authorization: SecretText | None = None
    firing_for: str = "30d"
    generator_url: str | None = None

    def __post_init__(self) -> None:
        try:
            parse_duration(self.firing_for)
            if self.generator_url is not None:
                WebAddress(self.generator_url)
        except ValueError as error:
            key = "firing_for" if self.generator_url is None else "firing_for or generator_url"
            raise ValueError(f'"{key}" {error}') from error

    def send(self, notification: Notification, /) -> None:
        """Post them once."""
        headers, secrets = idempotency(notification), []
        if self.authorization is not None:
            secrets = [self.authorization.reveal()]
            headers["Authorization"] = secrets[0]
        body = [
            posted
            for alert in prometheus_alerts(notification)
            for posted in self._posted(alert, notification.planned_at_ms)
        ]
        post_json(
            self.url.below("/api/v2/alerts"),
            msgspec.json.encode(body),
            allow_private=self.allow_private,
            ca_file=self.ca_file,
            headers=headers,
            secrets=secrets,
        )

    def _posted(self, alert: PrometheusAlert, planned_at_ms: int) -> Iterator[dict[str, Any]]:
        """The alert, and its end with other severities."""
        ends_at_ms = alert.ends_at_ms
        if ends_at_ms is None:
            ends_at_ms = min(planned_at_ms + parse_duration(self.firing_for), MAX_TIME_MS)
        yield self._document(alert, alert.labels, ends_at_ms)
        if "model" not in alert.labels:
            return
        for severity in SEVERITIES:
            if severity != alert.labels["severity"]:
                yield self._document(
                    alert, alert.labels | {"severity": severity}, min(planned_at_ms, ends_at_ms)
                )

    def _document(
        self, alert: PrometheusAlert, labels: dict[str, str], ends_at_ms: int
    ) -> dict[str, Any]:
        document: dict[str, Any] = {
            "labels": labels,
            "annotations": alert.annotations,
            "startsAt": format_time(alert.starts_at_ms),
            "endsAt": format_time(ends_at_ms),
        }
        if self.generator_url is not None:
            document["generatorURL"] = self.generator_url
        return document
