"""Channel: JSON to a receiver of one's own."""

from __future__ import annotations

import time
from typing import Literal

import msgspec

from driftline.agents.notify.channel import NetworkChannel
from driftline.agents.notify.http_post import idempotency, post_json
from driftline.agents.notify.prometheus_alerts import webhook_document
from driftline.agents.notify.setting_types import SecretText, WebAddress
from driftline.agents.notify.webhook_signature import signature, signing_key
from driftline.schemas.notifications import Notification
from driftline.schemas.results import encode


class WebhookChannel(
    NetworkChannel,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="webhook",
):
    """Posts the notification as JSON, the same body in each attempt.

    The header `Idempotency-Key` is its `notification_id`. With a secret the headers `webhook-id`,
    `webhook-timestamp` and `webhook-signature` say who sent it and when
    (`driftline.agents.notify.webhook_signature`).

    Parameters
    ----------
    url
        Where to post.
    secret
        What the signature is made with; "whsec_" and base64, or any text.
    authorization
        The header `Authorization`, such as "Bearer ...".
    format
        "driftline": the fields of a record of `notifications`; "alertmanager": as the webhooks of
        Prometheus Alertmanager.
    """

    url: WebAddress
    secret: SecretText | None = None
    authorization: SecretText | None = None
    format: Literal["driftline", "alertmanager"] = "driftline"

    def __post_init__(self) -> None:
        if self.secret is not None:
            try:
                signing_key(self.secret.reveal())
            except ValueError as error:
                raise ValueError(f'"secret" {error}') from None

    def send(self, notification: Notification, /) -> None:
        """Post it once."""
        body = self._body(notification)
        headers = idempotency(notification)
        secrets = [each.reveal() for each in (self.secret, self.authorization) if each is not None]
        if self.authorization is not None:
            headers["Authorization"] = self.authorization.reveal()
        if self.secret is not None:
            identity, now_s = headers["Idempotency-Key"], int(time.time())
            headers |= {
                "webhook-id": identity,
                "webhook-timestamp": str(now_s),
                "webhook-signature": signature(
                    signing_key(self.secret.reveal()), identity, now_s, body
                ),
            }
        post_json(
            self.url,
            body,
            allow_private=self.allow_private,
            ca_file=self.ca_file,
            headers=headers,
            secrets=secrets,
        )

    def _body(self, notification: Notification) -> bytes:
        if self.format == "alertmanager":
            return msgspec.json.encode(webhook_document(notification))
        # What changes from attempt to attempt is left as it was planned: a receiver may refuse a
        # key that it knows with another body.
        planned = msgspec.structs.replace(
            notification,
            status="planned",
            at_ms=notification.planned_at_ms,
            attempts=0,
            next_attempt_ms=None,
            error=None,
        )
        return encode(planned)
