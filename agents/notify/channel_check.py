"""Checks the tables of channels without their secrets, so that a file is checked as a whole where
nothing is sent.
"""

from __future__ import annotations

from typing import Any

import msgspec

from driftline.agents.notify.channel import ChannelPlugin
from driftline.agents.notify.channel_builder import channel_kind, read_table
from driftline.schemas.notification_settings import NotificationSettings

_ANY_TEXT = "https://host/"
"""Stands for each secret: one that is a URL is checked as one."""


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
        keys = _keys_of(channel_kind(channel, path))
        read_table(channel.of_type, keys, channel, path, lambda secret: _ANY_TEXT)


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
