"""Checks of the channels for notifications: whether their settings and secrets can be read."""

from __future__ import annotations

from collections.abc import Iterator

from driftline.agents.notify.channel_builder import build_channel
from driftline.schemas.check_result import CheckResult
from driftline.schemas.config import ConfigError
from driftline.schemas.settings import Config


def check_channels(config: Config) -> Iterator[CheckResult]:
    """A result for each channel; nothing is sent."""
    for channel in config.notifications.channels:
        try:
            build_channel(channel, path=config.path)
        except ConfigError as error:
            yield CheckResult(
                check="channels",
                level="problem",
                message=str(error),
                remedy="correct it; no worker starts before, because nobody would be told",
            )
        else:
            yield CheckResult(
                check="channels",
                level="ok",
                message=f"channel {channel.name} ({channel.type}): its settings and secrets can be "
                "read",
            )
