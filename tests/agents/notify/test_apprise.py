"""The channel `apprise`, through a service of apprise that posts JSON."""

from __future__ import annotations

import json
import logging

import pytest

from driftline.agents.notify.channel import NotSent
from tests.agents.notify.examples import channel, notification
from tests.agents.notify.receivers import http_receiver


def test_message_arrives_with_the_type_of_its_severity() -> None:
    with http_receiver() as receiver:
        environment = {"URL": f"json://127.0.0.1:{receiver.port}/hunter2"}
        sender = channel("apprise", environment, url={"env": "URL"})
        for changed in ({}, {"severity": "warning"}, {"kind": "resolved"}):
            sender.send(notification(**changed))
    documents = [json.loads(request.body) for request in receiver.requests]
    assert [each["type"] for each in documents] == ["failure", "warning", "success"]
    assert documents[0]["title"] == "performance_drop of churn 1.4.2"
    assert documents[0]["message"] == "recall 0.71, 0.08 below its baseline"


def test_message_that_is_not_taken_is_an_error_that_names_no_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG), http_receiver(500, 500, 500, 500) as receiver:
        environment = {"URL": f"json://user:hunter2@127.0.0.1:{receiver.port}/hunter2"}
        sender = channel("apprise", environment, url={"env": "URL"})
        assert "hunter2" not in repr(sender)
        with pytest.raises(NotSent) as failed:
            sender.send(notification())
    assert not failed.value.is_permanent
    assert "hunter2" not in str(failed.value)
    apprise_log = [record.getMessage() for record in caplog.records if record.name == "apprise"]
    assert apprise_log == []
