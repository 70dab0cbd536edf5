"""`driftline alerts test-channel`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.agents.cli.program import driftline
from tests.agents.notify.receivers import http_receiver

CONFIG = """
[notifications.channels.hook]
type = "webhook"
url = "http://127.0.0.1:{port}/hunter2"
allow_private = true

[notifications.channels.refused]
type = "webhook"
url = "http://127.0.0.1:{port}/hunter2"
"""


def run(tmp_path: Path, config: str, *arguments: str) -> Result:
    path = tmp_path / "driftline.toml"
    path.write_text(config)
    command = ["alerts", "test-channel", *arguments, "--config", str(path)]
    return CliRunner().invoke(driftline, command)


def test_channel_that_works_gets_a_test_and_the_code_is_zero(tmp_path: Path) -> None:
    with http_receiver() as receiver:
        done = run(tmp_path, CONFIG.format(port=receiver.port), "hook")
    assert done.exit_code == 0, done.output
    assert "sent" in done.output
    (request,) = receiver.requests
    document = json.loads(request.body)
    assert (document["kind"], document["severity"]) == ("test", "info")
    assert "channel hook" in document["title"]


def test_every_channel_is_tried_and_one_that_fails_makes_the_code_one(tmp_path: Path) -> None:
    with http_receiver() as receiver:
        done = run(tmp_path, CONFIG.format(port=receiver.port), "--all", "--json")
    assert done.exit_code == 1
    hook, refused = json.loads(done.stdout)
    assert hook == {"channel": "hook", "type": "webhook", "sent": True, "error": None}
    assert refused["sent"] is False
    assert "which is loopback" in refused["error"]
    assert "hunter2" not in done.output


def test_two_tests_are_two_notifications(tmp_path: Path) -> None:
    with http_receiver() as receiver:
        for _ in range(2):
            run(tmp_path, CONFIG.format(port=receiver.port), "hook")
    first, second = receiver.requests
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        (CONFIG, ("mail",), "has no channel mail; known are hook, refused"),
        (CONFIG, (), "name one channel, or all of them with --all"),
        (CONFIG, ("hook", "--all"), "name one channel, or all of them with --all"),
        ("", ("--all",), "has no channels"),
        (
            '[notifications.channels.a]\ntype = "pagerduty"\nrouting_key = { env = "NO_SUCH_KEY" }',
            ("a",),
            "notifications.channels.a.routing_key: the environment variable NO_SUCH_KEY is not set",
        ),
    ],
)
def test_wrong_call_or_configuration_ends_with_two(
    tmp_path: Path, config: str, arguments: tuple[str, ...], message: str
) -> None:
    done = run(tmp_path, config.replace("{port}", "9"), *arguments)
    assert done.exit_code == 2
    assert message in done.output
