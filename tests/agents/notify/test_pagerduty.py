"""The channel `pagerduty`: which events make which incidents."""

from __future__ import annotations

import json

import pytest

from driftline.schemas.results import Acknowledgement
from tests.agents.notify.examples import alert, channel, notification
from tests.agents.notify.receivers import http_receiver

KEY = "r" * 32


def events(*notifications) -> list[tuple[str, dict]]:
    """Path and document of each event that they make."""
    with http_receiver(*[202] * 10) as receiver:
        made = channel("pagerduty", {"KEY": KEY}, url=receiver.url(), routing_key={"env": "KEY"})
        assert KEY not in repr(made)
        for each in notifications:
            made.send(each)
    return [(request.path, json.loads(request.body)) for request in receiver.requests]


def test_group_opens_one_incident_and_resolves_it():
    sent = events(
        notification(),
        notification(notification_id="n-2", kind="escalation"),
        notification(notification_id="n-3", kind="resolved"),
    )
    assert {path for path, _ in sent} == {"/v2/enqueue"}
    assert [event["event_action"] for _, event in sent] == ["trigger", "trigger", "resolve"]
    assert {event["dedup_key"] for _, event in sent} == {"group-1"}
    assert {event["routing_key"] for _, event in sent} == {KEY}


def test_incident_says_what_happened_to_which_model():
    ((_, event),) = events(notification())
    assert event["payload"]["summary"] == "performance_drop of churn 1.4.2"
    assert event["payload"]["source"] == "churn 1.4.2"
    assert event["payload"]["timestamp"] == "2026-01-01T12:00:10Z"
    (details,) = event["payload"]["custom_details"]["alerts"]
    assert details["summary"] == "recall 0.71, 0.08 below its baseline"


@pytest.mark.parametrize("severity", ["info", "warning", "error", "critical"])
def test_severity_is_one_that_pagerduty_knows(severity):
    ((_, event),) = events(notification(severity=severity))
    assert event["payload"]["severity"] == severity


def test_update_of_a_group_that_is_acknowledged_as_a_whole_acknowledges_the_incident():
    taken = Acknowledgement(by="ann", at_ms=1)
    acknowledged = alert(status="acknowledged", acknowledged=taken)
    sent = events(
        notification(kind="update", alerts=[acknowledged]),
        notification(kind="update", alerts=[acknowledged, alert()]),
    )
    assert [event["event_action"] for _, event in sent] == ["acknowledge", "trigger"]


def test_notice_is_a_change_and_pages_nobody():
    ((path, event),) = events(notification(kind="notice", severity="info", alerts=[], group_key=""))
    assert path == "/v2/change/enqueue"
    assert "event_action" not in event
    assert event["payload"]["summary"]


def test_test_leaves_no_incident_open():
    sent = events(notification(kind="test", severity="info", alerts=[], group_key=""))
    assert [event["event_action"] for _, event in sent] == ["trigger", "resolve"]
    assert [event["dedup_key"] for _, event in sent] == ["n-0001", "n-0001"]


def test_long_key_of_a_group_is_within_the_limit_and_the_same_each_time():
    first, second, other = (
        event["dedup_key"]
        for _, event in events(
            notification(group_key="g" * 300),
            notification(group_key="g" * 300, kind="resolved"),
            notification(group_key="g" * 299 + "h"),
        )
    )
    assert first == second != other
    assert len(first) <= 255


def test_event_stays_below_the_limit_of_512_kb():
    many = [alert(model_name="m" * 10_000, summary="\x00" * 10_000) for _ in range(500)]
    with http_receiver(202) as receiver:
        made = channel("pagerduty", {"KEY": KEY}, url=receiver.url(), routing_key={"env": "KEY"})
        made.send(notification(alerts=many, text="\x1b" * 100_000))
    assert len(receiver.requests[0].body) < 512_000
