"""`driftline alerts test-channel`: send a test through channels of notifications."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.inputs import config_option, read_config
from driftline.agents.cli.output import WrongInput, example, json_option
from driftline.agents.cli.tables import print_table
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.notification_settings import ChannelSettings
    from driftline.schemas.notifications import Notification
    from driftline.schemas.settings import Config


@click.command(
    "test-channel",
    epilog=example(
        "driftline alerts test-channel ops --config driftline.toml",
        "driftline alerts test-channel --all --config driftline.toml --json",
    ),
)
@click.argument("name", metavar="NAME", required=False)
@click.option("--all", "everything", is_flag=True, help="Every channel of the configuration.")
@config_option
@json_option
def test_channel(name: str | None, everything: bool, config: Path | None, as_json: bool) -> int:
    """Send a test through the channel NAME, and say what became of it.

    Channels stand in the configuration under [notifications.channels.NAME]. PagerDuty opens an
    incident and resolves it at once. Exit code 1: a channel did not take it.
    """
    from driftline.agents.notify.channel import NotSent
    from driftline.agents.notify.channel_builder import build_channel
    from driftline.schemas.config import ConfigError

    settings = read_config(config)
    chosen = _chosen(settings, name, everything=everything)
    try:
        channels = [build_channel(each, path=settings.path) for each in chosen]
    except ConfigError as error:
        raise WrongInput(str(error)) from error
    errors: list[str | None] = []
    for each, channel in zip(chosen, channels, strict=True):
        try:
            channel.send(_test_of(each))
            errors.append(None)
        except NotSent as error:
            errors.append(str(error))
    _print(chosen, errors, as_json=as_json)
    return 1 if any(errors) else 0


def _chosen(settings: Config, name: str | None, *, everything: bool) -> list[ChannelSettings]:
    channels = list(settings.notifications.channels)
    if everything == (name is not None):
        raise WrongInput("name one channel, or all of them with --all")
    if not channels:
        raise WrongInput(
            f"{settings.path or 'the configuration'}: has no channels; write one under "
            "[notifications.channels.NAME]"
        )
    chosen = [each for each in channels if name in (None, each.name)]
    if not chosen:
        known = ", ".join(each.name for each in channels)
        raise WrongInput(f"{settings.path}: has no channel {name}; known are {known}")
    return chosen


def _test_of(channel: ChannelSettings) -> Notification:
    from driftline.schemas.notifications import Notification
    from driftline.schemas.times import EpochMs

    now_ms = EpochMs(time.time_ns() // 1_000_000)
    return Notification(
        notification_id=f"test-{uuid.uuid4().hex}",
        channel=channel.name,
        kind="test",
        status="planned",
        severity="info",
        title=f"Test of the channel {channel.name}",
        text="Sent by hand with `driftline alerts test-channel`. Nothing has happened.",
        planned_at_ms=now_ms,
        at_ms=now_ms,
    )


def _print(chosen: list[ChannelSettings], errors: list[str | None], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"channel": each.name, "type": each.type, "sent": error is None, "error": error}
                for each, error in zip(chosen, errors, strict=True)
            ]
        )
        return
    print_table(
        ["Channel", "Type", "Result", "What"],
        [
            (each.name, each.type, "sent" if error is None else "not sent", error or "-")
            for each, error in zip(chosen, errors, strict=True)
        ],
        empty="",
    )
