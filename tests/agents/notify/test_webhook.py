"""The channel `webhook`: body, signature and idempotency key, and how a receiver checks them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from pathlib import Path

import msgspec
import pytest

from driftline.agents.notify.channel import NotSent
from driftline.schemas.notifications import Notification
from driftline.schemas.results import decoder
from tests.agents.notify.examples import NOON_MS, alert, channel, notification
from tests.agents.notify.receivers import http_receiver

PAGE = Path(__file__).resolve().parents[3] / "docs" / "notifications.md"


def test_body_is_the_notification_and_the_key_is_its_id():
    with http_receiver() as receiver:
        channel("webhook", url=receiver.url("/in")).send(notification())
    (request,) = receiver.requests
    assert request.headers["idempotency-key"] == "n-0001"
    assert "webhook-signature" not in request.headers
    document = json.loads(request.body)
    assert document["kind"] == "firing"
    assert document["planned_at"] == "2026-01-01T12:00:10Z"
    assert document["alerts"][0]["starts_at"] == "2026-01-01T12:00:00Z"
    assert decoder(Notification).decode(request.body) == notification()


def test_every_attempt_has_the_same_body_and_key():
    later = notification(attempts=3, error="HTTP 503", at_ms=NOON_MS + 99_000, next_attempt_ms=1)
    with http_receiver() as receiver:
        for each in (notification(), later):
            channel("webhook", url=receiver.url()).send(each)
    first, second = receiver.requests
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("correct horse", b"correct horse"),
        ("whsec_" + base64.b64encode(b"\x00\xff key").decode(), b"\x00\xff key"),
    ],
)
def test_signature_is_over_id_time_and_body(secret, key):
    with http_receiver() as receiver:
        made = channel("webhook", {"KEY": secret}, url=receiver.url(), secret={"env": "KEY"})
        made.send(notification())
    headers = receiver.requests[0].headers
    assert headers["webhook-id"] == headers["idempotency-key"] == "n-0001"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    signed = f"n-0001.{headers['webhook-timestamp']}.".encode() + receiver.requests[0].body
    mac = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"


def test_receiver_of_the_documentation_takes_what_is_sent_and_nothing_else():
    (code,) = re.findall(
        r"```python\n(.*?def is_genuine.*?)```", PAGE.read_text("utf-8"), re.DOTALL
    )
    names: dict = {}
    exec(code, names)
    is_genuine = names["is_genuine"]
    with http_receiver() as receiver:
        made = channel("webhook", {"KEY": "hunter2"}, url=receiver.url(), secret={"env": "KEY"})
        made.send(notification())
    headers, body = receiver.requests[0].headers, receiver.requests[0].body
    assert is_genuine(headers, body, b"hunter2")
    assert not is_genuine(headers, body, b"hunter3")
    assert not is_genuine(headers, body.replace(b"error", b"debug"), b"hunter2")
    assert not is_genuine(headers | {"webhook-id": "n-0002"}, body, b"hunter2")
    old = int(headers["webhook-timestamp"]) - 1
    assert not is_genuine(headers | {"webhook-timestamp": str(old)}, body, b"hunter2")
    # Genuine, and older than five minutes.
    stamp = str(int(time.time()) - 301)
    signed = f"n-0001.{stamp}.".encode() + body
    mac = base64.b64encode(hmac.digest(b"hunter2", signed, hashlib.sha256)).decode()
    late = headers | {"webhook-timestamp": stamp, "webhook-signature": f"v1,{mac}"}
    assert not is_genuine(late, body, b"hunter2")


def test_authorization_is_sent_and_shown_nowhere():
    with http_receiver(200, (401, {}, b"not Bearer hunter2")) as receiver:
        made = channel(
            "webhook",
            {"AUTH": "Bearer hunter2", "KEY": "s3cret"},
            url=receiver.url(),
            authorization={"env": "AUTH"},
            secret={"env": "KEY"},
        )
        made.send(notification())
        with pytest.raises(NotSent) as refused:
            made.send(notification())
    assert receiver.requests[0].headers["authorization"] == "Bearer hunter2"
    for text in (repr(made), str(made), str(refused.value)):
        assert "hunter2" not in text
        assert "s3cret" not in text


def test_format_of_alertmanager_has_its_fields():
    resolved = alert(
        alert_id="b-1",
        rule="drift",
        status="resolved",
        change="resolved",
        at_ms=NOON_MS + 5_000,
        ends_at_ms=NOON_MS + 5_000,
    )
    with http_receiver() as receiver:
        made = channel("webhook", url=receiver.url(), format="alertmanager")
        made.send(notification(alerts=[alert(), resolved]))
    document = json.loads(receiver.requests[0].body)
    assert {key: document[key] for key in ("version", "groupKey", "status", "receiver")} == {
        "version": "4",
        "groupKey": "group-1",
        "status": "firing",
        "receiver": "ops",
    }
    assert document["commonLabels"] == {
        "model": "churn",
        "version": "1.4.2",
        "segment": "all",
        "severity": "error",
    }
    first, second = document["alerts"]
    assert first["labels"]["alertname"] == "performance_drop"
    assert (first["status"], first["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    assert (second["status"], second["endsAt"]) == ("resolved", "2026-01-01T12:00:05Z")


def test_body_of_a_notification_without_alerts_can_be_read_too():
    with http_receiver() as receiver:
        for format_ in ("driftline", "alertmanager"):
            made = channel("webhook", url=receiver.url(), format=format_)
            made.send(notification(kind="notice", alerts=[], group_key=""))
    assert msgspec.json.decode(receiver.requests[0].body)["kind"] == "notice"
    (only,) = msgspec.json.decode(receiver.requests[1].body)["alerts"]
    assert only["labels"]["alertname"] == "driftline_notice"
