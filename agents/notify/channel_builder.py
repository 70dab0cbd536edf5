"""Channels from their settings, each of the type that its table names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from driftline.agents.notify.channel import ChannelPlugin
from driftline.agents.notify.setting_types import setting_reader
from driftline.agents.secret import secret_text
from driftline.schemas.config import ConfigError
from driftline.schemas.notification_settings import ChannelSettings, NotificationSettings
from driftline.schemas.secrets import Secret
from driftline.streams.catalogue import plugins
from driftline.streams.toml_tables import convert_table

_S = TypeVar("_S", bound=msgspec.Struct)


@lru_cache(maxsize=1)
def channel_plugins() -> dict[str, type[ChannelPlugin]]:
    """All types of channels by name.

    Examples
    --------
    >>> sorted(channel_plugins())
    ['alertmanager', 'apprise', 'console', 'email', 'log', 'pagerduty', 'slack', 'webhook']
    """
    return plugins(ChannelPlugin, ("driftline.agents.notify.channels",))


def build_channels(
    settings: NotificationSettings,
    environment: Mapping[str, str] | None = None,
    path: str | None = None,
) -> dict[str, ChannelPlugin]:
    """All channels by name, in the order of the file.

    Parameters
    ----------
    environment
        Where the variables are that settings refer to; by default that of the process.
    path
        The file, for messages.

    Raises
    ------
    ConfigError
        As `build_channel`.
    """
    return {
        channel.name: build_channel(channel, environment, path) for channel in settings.channels
    }


def build_channel(
    settings: ChannelSettings, environment: Mapping[str, str] | None = None, path: str | None = None
) -> ChannelPlugin:
    """One channel, with its secrets.

    Raises
    ------
    ConfigError
        If its type is unknown, a key is unknown, missing or wrong, or a secret cannot be read; the
        message names the place in the file and no secret.

    Examples
    --------
    >>> build_channel(ChannelSettings(name="ops", type="log"))
    LogChannel()
    >>> wrong = ChannelSettings(name="ops", type="slak", path="notifications.channels.ops")
    >>> build_channel(wrong)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    driftline.schemas.config.ConfigError: configuration: notifications.channels.ops.type: "slak" ...
    """
    kind = channel_kind(settings, path)
    table = dict(settings.of_type)
    if "allow_private" in kind.__struct_fields__:
        table["allow_private"] = settings.allow_private
    elif settings.allow_private:
        raise ConfigError(
            path, f"{settings.path}.allow_private", f"has no meaning for the type {settings.type}"
        )
    variables = os.environ if environment is None else environment
    return read_table(table, kind, settings, path, lambda secret: secret_text(secret, variables))


def channel_kind(settings: ChannelSettings, path: str | None) -> type[ChannelPlugin]:
    """The type that a channel names.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    kind = channel_plugins().get(settings.type)
    if kind is None:
        known = ", ".join(sorted(channel_plugins()))
        raise ConfigError(
            path,
            f"{settings.path}.type",
            f'"{settings.type}" is not a type of channel; known are {known}',
        )
    return kind


def read_table(
    table: Mapping[str, Any],
    kind: type[_S],
    settings: ChannelSettings,
    path: str | None,
    text_of: Callable[[Secret], str],
) -> _S:
    """The struct of a channel's table; `text_of` as for `setting_reader`.

    Raises
    ------
    ConfigError
        If a key is unknown or missing, or has a wrong value.
    """
    try:
        return convert_table(table, kind, settings.path, dec_hook=setting_reader(text_of))
    except ValueError as error:
        where, _, message = str(error).partition(": ")
        # Without its cause, which may hold the value of a setting.
        raise ConfigError(path, where, message) from None
