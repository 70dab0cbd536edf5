"""The channel `alertmanager`, on a real Alertmanager."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.notify.channel import NotSent
from driftline.schemas.times import DAY_MS, format_time, parse_time
from tests.agents.notify.examples import alert, channel, notification
from tests.agents.notify.receivers import free_port, http_receiver

CONFIG = """
route: {receiver: nobody}
receivers: [{name: nobody}]
"""
BINARIES = ("prometheus-alertmanager", "alertmanager")
HOSTILE = "churn\n\x1b[31m<script>alert(1)</script> {{ .Labels }} \u202e" + "x" * 10_000


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an Alertmanager that the tests share."""
    binary = next(filter(None, map(shutil.which, BINARIES)), None)
    if binary is None:
        without_alertmanager("no Alertmanager: none of " + ", ".join(BINARIES) + " is on PATH")
    folder = tmp_path_factory.mktemp("alertmanager")
    (folder / "config.yml").write_text(CONFIG)
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(binary),
                f"--config.file={folder / 'config.yml'}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def without_alertmanager(reason: str) -> None:
    """Skip the test, or fail if DRIFTLINE_REQUIRE names alertmanager."""
    if "alertmanager" in os.environ.get("DRIFTLINE_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"Alertmanager does not become ready: {log.read_text()}")


def listed(url: str, model: str) -> list[dict[str, Any]]:
    """The alerts of a model that Alertmanager holds to be firing."""
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=10) as response:
        return [each for each in json.load(response) if each["labels"].get("model") == model]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def fired(model: str, **changed: Any) -> Any:
    begin_ms = now_ms() - 60_000
    return alert(model_name=model, starts_at_ms=begin_ms, at_ms=begin_ms, **changed)


@pytest.mark.alertmanager
def test_alert_is_firing_and_then_resolved(alertmanager: str) -> None:
    sender = channel("alertmanager", url=alertmanager, generator_url="https://wiki.example.com/d")
    begun = fired("churn")
    sender.send(notification(alerts=[begun], planned_at_ms=now_ms()))
    (held,) = listed(alertmanager, "churn")
    assert held["labels"] == {
        "alertname": "performance_drop",
        "model": "churn",
        "version": "1.4.2",
        "segment": "all",
        "severity": "error",
    }
    assert held["status"]["state"] in ("active", "unprocessed")
    assert held["annotations"]["summary"] == "recall 0.71, 0.08 below its baseline"
    assert parse_time(held["startsAt"]) == begun.starts_at_ms
    assert parse_time(held["endsAt"]) > now_ms() + 29 * DAY_MS
    assert held["generatorURL"] == "https://wiki.example.com/d"

    ended = fired("churn", status="resolved", change="resolved", ends_at_ms=now_ms())
    sender.send(notification(kind="resolved", alerts=[ended], planned_at_ms=now_ms()))
    assert listed(alertmanager, "churn") == []


@pytest.mark.alertmanager
def test_alert_of_a_higher_severity_takes_the_place_of_the_lower_one(alertmanager: str) -> None:
    sender = channel("alertmanager", url=alertmanager)
    for severity in ("warning", "critical"):
        sender.send(
            notification(alerts=[fired("ranks", severity=severity)], planned_at_ms=now_ms())
        )
        (held,) = listed(alertmanager, "ranks")
        assert held["labels"]["severity"] == severity
    ended = fired(
        "ranks", severity="critical", status="resolved", change="resolved", ends_at_ms=now_ms()
    )
    sender.send(notification(kind="resolved", alerts=[ended], planned_at_ms=now_ms()))
    assert listed(alertmanager, "ranks") == []


@pytest.mark.alertmanager
def test_alert_that_ended_in_the_future_of_its_data_ends_now(alertmanager: str) -> None:
    sender = channel("alertmanager", url=alertmanager)
    ahead = now_ms() + DAY_MS
    begun = alert(model_name="ahead", starts_at_ms=ahead, at_ms=ahead)
    sender.send(notification(alerts=[begun], planned_at_ms=now_ms()))
    assert len(listed(alertmanager, "ahead")) == 1
    ended = alert(
        model_name="ahead",
        status="resolved",
        change="resolved",
        starts_at_ms=ahead,
        at_ms=ahead + 1,
        ends_at_ms=ahead + 1,
    )
    sender.send(notification(kind="resolved", alerts=[ended], planned_at_ms=now_ms()))
    assert listed(alertmanager, "ahead") == []


@pytest.mark.alertmanager
def test_hostile_names_are_taken_as_text(alertmanager: str) -> None:
    sender = channel("alertmanager", url=alertmanager)
    begun = fired(HOSTILE, summary=HOSTILE, segment=HOSTILE, rule=HOSTILE)
    sender.send(notification(alerts=[begun], planned_at_ms=now_ms()))
    with urllib.request.urlopen(f"{alertmanager}/api/v2/alerts", timeout=10) as response:
        (held,) = [each for each in json.load(response) if "script" in each["labels"]["alertname"]]
    for text in (*held["labels"].values(), *held["annotations"].values()):
        assert text.isprintable()


@pytest.mark.alertmanager
def test_notice_and_test_are_alerts_of_five_minutes(alertmanager: str) -> None:
    sender = channel("alertmanager", url=alertmanager)
    for kind in ("notice", "test"):
        sender.send(
            notification(
                notification_id=kind,
                kind=kind,
                severity="info",
                alerts=[],
                group_key="",
                planned_at_ms=now_ms(),
            )
        )
    with urllib.request.urlopen(f"{alertmanager}/api/v2/alerts", timeout=10) as response:
        held = {each["labels"]["alertname"]: each for each in json.load(response)}
    for name in ("driftline_notice", "driftline_test"):
        assert held[name]["annotations"]["description"] == "recall 0.71, 0.08 below its baseline"
        left_ms = parse_time(held[name]["endsAt"]) - now_ms()
        assert 240_000 < left_ms <= 300_000


@pytest.mark.alertmanager
def test_path_that_alertmanager_does_not_have_is_permanent(alertmanager: str) -> None:
    sender = channel("alertmanager", url=f"{alertmanager}/nowhere")
    with pytest.raises(NotSent, match="HTTP 404") as refused:
        sender.send(notification())
    assert refused.value.is_permanent


def test_path_of_the_url_is_a_prefix_and_the_authorization_is_sent() -> None:
    with http_receiver() as receiver:
        sender = channel(
            "alertmanager",
            {"AUTH": "Bearer hunter2"},
            url=receiver.url("/am/"),
            authorization={"env": "AUTH"},
        )
        sender.send(notification())
        assert "hunter2" not in repr(sender)
    (request,) = receiver.requests
    assert request.path == "/am/api/v2/alerts"
    assert request.headers["authorization"] == "Bearer hunter2"
    first, *others = json.loads(request.body)
    assert first["endsAt"] == format_time(notification().planned_at_ms + 30 * DAY_MS)
    ended = {each["labels"]["severity"]: each["endsAt"] for each in others}
    assert ended == dict.fromkeys(
        ("info", "warning", "critical"), format_time(notification().planned_at_ms)
    )
