"""Channels from the configuration: types, keys, secrets, and errors with their place."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from driftline.agents.notify.channel import ChannelPlugin
from driftline.agents.notify.channel_builder import build_channels, channel_plugins
from driftline.agents.notify.setting_types import SecretAddress, SecretText
from driftline.schemas.config import ConfigError, parse_config
from tests.agents.notify.examples import channel

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "notifications.md").read_text("utf-8")
TOML = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
SECRETS = {
    "OPS_SLACK_URL": "https://hooks.slack.com/services/T0/B0/hunter2",
    "HOOK_SECRET": "hunter2",
    "HOOK_AUTHORIZATION": "Bearer hunter2",
    "PAGERDUTY_KEY": "hunter2" * 5,
    "SMTP_PASSWORD": "hunter2",
    "APPRISE_URL": "json://user:hunter2@localhost/hunter2",
}


def built(toml: str, environment: dict[str, str] | None = None) -> dict[str, ChannelPlugin]:
    settings = parse_config(toml, "driftline.toml")
    return build_channels(settings.notifications, environment or {}, settings.path)


def error_of(toml: str, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as wrong:
        built(toml, environment)
    # A cause would show the value.
    assert wrong.value.__suppress_context__ or wrong.value.__context__ is None
    return str(wrong.value)


@pytest.mark.parametrize("toml", TOML, ids=range(len(TOML)))
def test_every_example_of_the_documentation_is_a_channel(toml: str, tmp_path: Path) -> None:
    secret = tmp_path / "pagerduty"
    secret.write_text("hunter2\n")
    channels = built(toml.replace("/run/secrets/pagerduty", str(secret)), SECRETS)
    assert channels
    assert "hunter2" not in repr(channels)


def test_documentation_has_an_example_of_every_type() -> None:
    shown = set(re.findall(r'^type = "(\w+)"', "\n".join(TOML), re.MULTILINE))
    assert shown == set(channel_plugins())


@pytest.mark.parametrize("name", sorted(channel_plugins()))
def test_every_channel_is_frozen_checks_its_keys_and_says_what_its_settings_mean(name: str) -> None:
    plugin = channel_plugins()[name]
    assert plugin.__struct_config__.frozen
    assert plugin.__struct_config__.forbid_unknown_fields
    documented = "".join(each.__doc__ or "" for each in plugin.__mro__)
    for field in msgspec.structs.fields(plugin):
        assert re.search(rf"`?\b{field.encode_name}\b`?", documented), field.encode_name


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('type = "slak"', 'ops.type: "slak" is not a type of channel; known are alertmanager,'),
        ('type = "slack"', 'ops: the key "url" is missing'),
        ('type = "slack"\nurl = 3', "ops.url: is not a reference to a secret"),
        (
            'type = "slack"\nurl = "https://hooks.slack.com/hunter2"',
            "ops.url: is a secret in plain text, which must not be in this file",
        ),
        ('type = "slack"\nurl = { env = "NOT_SET" }', "ops.url: the environment variable NOT_SET"),
        ('type = "slack"\nurl = { file = "/no/where" }', "ops.url: /no/where cannot be read: No"),
        ('type = "slack"\nurl = { env = "URL", file = "x" }', 'ops.url: needs one of "env"'),
        ('type = "slack"\nurl = { enw = "URL" }', 'ops.url: "enw" is not known; did you mean'),
        ('type = "slack"\nurl = { env = "NO_URL" }', 'ops.url: is not a URL such as "https://'),
        ('type = "log"\nformat = "text"', 'ops: the key "format" is not known here'),
        ('type = "log"\nallow_private = true', "ops.allow_private: has no meaning for the type"),
        ('type = "webhook"\nurl = "ftp://host"', "ops.url: is not a URL such as"),
        ('type = "webhook"\nurl = "http://h"\nformat = "xml"', 'ops.format: "xml" is none of'),
        (
            'type = "webhook"\nurl = "http://h"\nsecret = { env = "NOT_BASE64" }',
            'ops: "secret" has the prefix "whsec_" but is not base64 after it',
        ),
        ('type = "alertmanager"\nurl = "http://h"\nfiring_for = "long"', 'ops: "firing_for"'),
        ('type = "apprise"\nurl = { env = "URL" }', "ops: apprise connects by itself"),
        (
            'type = "apprise"\nurl = { env = "NO_URL" }\nallow_private = true',
            'ops: "url" is not a URL that apprise knows',
        ),
    ],
)
def test_error_names_the_place_in_the_file_and_no_secret(toml: str, message: str) -> None:
    environment = {
        "URL": "json://hunter2",
        "NO_URL": "hunter2://hunter2",
        "NOT_BASE64": "whsec_hunter2!",
    }
    error = error_of(f"[notifications.channels.ops]\n{toml}\n", environment)
    assert error.startswith("driftline.toml: notifications.channels.ops")
    assert message in error
    assert "hunter2" not in error


def test_channel_apprise_without_its_library_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    toml = '[notifications.channels.a]\ntype = "apprise"\nallow_private = true\nurl = { env = "U" }'
    assert 'pip install "driftline[notify]"' in error_of(toml, {"U": "json://localhost"})


def test_secret_of_a_file_has_no_line_feed_and_an_empty_one_is_an_error(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("hunter2\r\n")
    read: Any = channel("pagerduty", routing_key={"file": str(secret)})
    assert read.routing_key.reveal() == "hunter2"
    secret.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        channel("pagerduty", routing_key={"file": str(secret)})


@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__])
def test_secret_is_shown_by_no_way_of_showing_a_value(show) -> None:
    assert "hunter2" not in show(SecretText("hunter2"))
    assert "hunter2" not in show(SecretAddress("https://host/hunter2?a=hunter2"))


def test_channels_keep_the_order_of_the_file() -> None:
    toml = "".join(f'[notifications.channels.{name}]\ntype = "log"\n' for name in ("b", "a", "c"))
    assert list(built(toml)) == ["b", "a", "c"]
