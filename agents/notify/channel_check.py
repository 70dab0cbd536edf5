"""Checks the tables of channels without their secrets, so that a file is checked as a whole where
nothing is sent.
"""

from __future__ import annotations

from typing import Any

import msgspec

from driftline.agents.notify.channel import ChannelPlugin
from driftline.agents.notify.channel_builder import channel_plugins
from driftline.agents.notify.setting_types import SecretAddress, SecretText, WebAddress
from driftline.schemas.config import ConfigError
from driftline.schemas.config_values import InvalidValue
from driftline.schemas.notification_settings import NotificationSettings
from driftline.schemas.secrets import read_secret
from driftline.streams.toml_tables import convert_table


def check_channels(settings: NotificationSettings, path: str | None = None) -> None:
    """Check type, keys and values of every channel; what secrets are and whether they can be read
    is seen when a channel is built.

    Parameters
    ----------
    path
        The file, for messages.

    Raises
    ------
    ConfigError
        If a type or key is unknown, or a key is missing or has a wrong value; names its place.
    """
    for channel in settings.channels:
        kind = channel_plugins().get(channel.type)
        if kind is None:
            known = ", ".join(sorted(channel_plugins()))
            raise ConfigError(
                path,
                f"{channel.path}.type",
                f'"{channel.type}" is not a type of channel; known are {known}',
            )
        try:
            convert_table(channel.of_type, _keys_of(kind), channel.path, dec_hook=_read_form)
        except ValueError as error:
            where, _, message = str(error).partition(": ")
            raise ConfigError(path, where, message) from None


def _keys_of(kind: type[ChannelPlugin]) -> type[msgspec.Struct]:
    """A struct with the fields of a channel and nothing that acts when it is made."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(kind):
        if field.name == "allow_private":  # a common key
            continue
        name = (field.name, field.type)
        if field.required:
            fields.append(name)
        elif field.default is not msgspec.NODEFAULT:
            fields.append((*name, field.default))
        else:
            fields.append((*name, msgspec.field(default_factory=field.default_factory)))
    renamed = {
        field.name: field.encode_name
        for field in msgspec.structs.fields(kind)
        if field.encode_name != field.name
    }
    return msgspec.defstruct(
        kind.__name__, fields, kw_only=True, forbid_unknown_fields=True, rename=renamed or None
    )


def _read_form(kind: type, value: Any) -> Any:
    if kind not in (SecretText, WebAddress, SecretAddress):
        raise NotImplementedError(f"{kind} is not a type of settings")
    if kind is WebAddress and isinstance(value, str):
        return WebAddress(value)
    try:
        read_secret(value)
    except InvalidValue as error:
        raise ValueError(f'"{error.where.lstrip(".")}" {error.message}') from error
    return SecretText("") if kind is SecretText else kind("https://host/")
