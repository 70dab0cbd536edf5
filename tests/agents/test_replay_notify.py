"""`driftline.replay(notify=True)`: what a receiver gets of a recorded log, and after a stop."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import driftline
from driftline.agents.inprocess.notify_run import notify_run
from driftline.agents.inprocess.run_identity import RunRefused
from driftline.agents.notify.channel import NotSent
from driftline.schemas.config import ConfigError
from driftline.schemas.notification_settings import read_notifications
from driftline.schemas.notifications import Notification
from tests.agents.notify.receivers import http_receiver

START = datetime(2026, 1, 5, tzinfo=UTC)
SETTINGS = read_notifications({"channels": {"ops": {"type": "log"}}})


def rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Two days of a model, of which the second is wrong; truths come an hour later."""
    predictions, truths = [], []
    for i in range(200):
        at = START + timedelta(minutes=14 * i)
        name = f"p{i}"
        predictions.append(
            {
                "prediction_id": name,
                "timestamp": at.isoformat(),
                "prediction": "yes" if i % 2 else "no",
                "model_name": "churn",
                "model_version": "1.0",
            }
        )
        is_right = i < 100 or i > 180
        truths.append(
            {
                "prediction_id": name,
                "timestamp": (at + timedelta(hours=1)).isoformat(),
                "label": "yes" if (i % 2 == 1) == is_right else "no",
            }
        )
    return predictions, truths


def tables(**notifications: Any) -> dict[str, Any]:
    rule = {"type": "threshold", "name": "low", "metric": "accuracy", "below": 0.8}
    rule |= {"window": "6h", "severity": "critical", "min_samples": 10}
    return {
        "defaults": {
            "windows": ["6h"],
            "maturity": ["3h"],
            "label_horizon": "12h",
            "default_rules": False,
            "rules": [rule],
        },
        "notifications": notifications,
    }


def test_response_escalates_in_a_replay_at_the_time_of_its_alert(tmp_path: Path) -> None:
    levels = {"ops": {"type": "log"}, "boss": {"type": "log", "level": 2}}
    settings = tables(channels=levels, escalate_after="10h")
    response = {"rule": "low", "action": "escalate", "dry_run": False}
    settings["defaults"]["responses"] = [response]
    results = driftline.replay(*rows(), settings, tmp_path / "out", notify=True)
    (fired,) = [each for each in results.alerts if each["change"] == "firing"]
    records = (tmp_path / "out" / "notifications.jsonl").read_text().splitlines()
    planned = {
        (each["channel"], each["kind"]): each["planned_at"]
        for each in map(json.loads, records)
        if each["kind"] in ("firing", "escalation")
    }
    assert planned == {("ops", "firing"): fired["at"], ("boss", "escalation"): fired["at"]}


def test_receiver_gets_each_message_of_a_log_once_and_a_plain_replay_sends_nothing(
    tmp_path: Path,
) -> None:
    predictions, truths = rows()
    with http_receiver() as receiver:
        hook = {"type": "webhook", "url": receiver.url("/in"), "allow_private": True}
        config = tables(channels={"hook": hook})
        plain = driftline.replay(predictions, truths, config, tmp_path / "out")
        assert receiver.requests == []
        assert not (tmp_path / "out" / "notifications.jsonl").exists()
        results = driftline.replay(predictions, truths, config, tmp_path / "out", notify=True)
        got = [json.loads(each.body) for each in receiver.requests]
        driftline.replay(predictions, truths, config, tmp_path / "out", notify=True)
        assert len(receiver.requests) == len(got), "a finished call sends nothing again"
    fired = [each["alert_id"] for each in plain.alerts if each["change"] == "firing"]
    assert fired
    of_kind = {
        kind: [each["alerts"][0]["alert_id"] for each in got if each["kind"] == kind]
        for kind in ("firing", "resolved")
    }
    assert of_kind == {"firing": fired, "resolved": fired}
    keys = [each.headers["idempotency-key"] for each in receiver.requests]
    assert len(keys) == len({*keys}) == len(got)
    records = list(results.notifications)
    assert {each["status"] for each in records} == {"planned", "sent"}
    assert keys == [each["notification_id"] for each in records if each["status"] == "sent"]
    assert results.summary is not None
    assert results.summary.written["notifications"] == len(got)
    notice = next(each for each in got if each["kind"] == "notice")
    assert notice["events"][0]["event"] == "register"


def test_firing_is_planned_at_event_time_plus_group_wait(tmp_path: Path) -> None:
    predictions, truths = rows()
    config = tables(group_wait="30s", channels={"ops": {"type": "log"}})
    results = driftline.replay(predictions, truths, config, tmp_path / "out", notify=True)
    fired = next(each for each in results.alerts.structs() if each.change == "firing")
    told = next(each for each in results.notifications.structs() if each.kind == "firing")
    assert told.planned_at_ms == fired.at_ms + 30_000


def test_configuration_of_channels_is_checked_without_notify_too_but_not_its_secrets() -> None:
    predictions, truths = rows()
    hook = {"type": "webhook", "url": "https://hooks.example/x", "secret": {"env": "NOT_SET_HERE"}}
    driftline.replay(predictions[:1], truths[:1], tables(channels={"hook": hook}))
    with pytest.raises(ConfigError, match=r"notifications\.channels\.hook\.secret: .*NOT_SET_HERE"):
        driftline.replay(predictions[:1], truths[:1], tables(channels={"hook": hook}), notify=True)
    for wrong, message in (
        ({"type": "webhok"}, r"notifications\.channels\.hook\.type: .* is not a type"),
        ({"type": "webhook"}, r"notifications\.channels\.hook.*url"),
        ({"type": "webhook", "url": "ftp://host/"}, r"notifications\.channels\.hook\.url"),
        ({"type": "log", "nme": 1}, r"notifications\.channels\.hook.*nme"),
        ({"type": "webhook", "url": "https://host/", "secret": "plain"}, "plain text"),
    ):
        with pytest.raises(ConfigError, match=message):
            driftline.replay(predictions[:1], truths[:1], tables(channels={"hook": wrong}))


def test_notify_without_channels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"notifications\.channels"):
        driftline.replay([], [], notify=True)


class Listed:
    """A channel that keeps what it gets, and fails or dies as told."""

    def __init__(self, *answers: BaseException | None) -> None:
        self.answers = list(answers)
        self.tried: list[str] = []

    def send(self, notification: Notification, /) -> None:
        self.tried.append(notification.notification_id)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with alerts."""
    out = tmp_path_factory.mktemp("finished")
    driftline.replay(*rows(), tables(channels={"ops": {"type": "log"}}), out)
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    for name in ("alerts.jsonl", "registry-events.jsonl"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    return tmp_path


class Killed(BaseException):
    """The process ends here."""


def test_call_that_was_killed_at_any_message_goes_on_and_ends_with_the_same_bytes(
    out: Path,
) -> None:
    whole = Listed()
    notify_run(out, SETTINGS, {"ops": whole})
    file = out / "notifications.jsonl"
    expected = file.read_bytes()
    assert len(whole.tried) >= 3
    for n in range(len(whole.tried)):
        file.unlink()
        killed = Listed(*[None] * n, Killed())
        with pytest.raises(Killed):
            notify_run(out, SETTINGS, {"ops": killed})
        with file.open("ab") as torn:
            torn.write(b'{"notification_id":"hal')
        rest = Listed()
        notify_run(out, SETTINGS, {"ops": rest})
        assert file.read_bytes() == expected
        # The one whose result is missing is sent again, under its id; no other.
        assert killed.tried[:n] + rest.tried == whole.tried
        assert killed.tried[n] == rest.tried[0]


def test_channel_that_is_away_for_a_moment_is_tried_again_after_real_time(out: Path) -> None:
    slept: list[float] = []
    channel = Listed(NotSent("status 429", retry_after_s=7.0), NotSent("status 503"))
    last = notify_run(out, SETTINGS, {"ops": channel}, sleep=slept.append)
    assert slept == [7.0, 4.0]
    assert {each.status for each in last} == {"sent"}
    assert channel.tried[0] == channel.tried[1] == channel.tried[2]


def test_dead_channel_costs_three_attempts_and_then_one_for_each_message(out: Path) -> None:
    slept: list[float] = []
    channel = Listed(*[NotSent("no route")] * 100)
    last = notify_run(out, SETTINGS, {"ops": channel}, sleep=slept.append)
    assert {(each.status, each.error) for each in last} == {("failed", "no route")}
    assert len(channel.tried) == len(last) + 2
    assert len(slept) == 2


def test_notifications_of_other_settings_are_not_mixed(out: Path) -> None:
    notify_run(out, SETTINGS, {"ops": Listed()})
    other = read_notifications({"group_wait": "1m", "channels": {"ops": {"type": "log"}}})
    channel = Listed()
    with pytest.raises(RunRefused, match="delete the file"):
        notify_run(out, other, {"ops": channel})
    assert channel.tried == []
