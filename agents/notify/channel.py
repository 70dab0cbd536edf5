"""Contract between the sender and a channel.

One file in `channels/` is one kind of channel: a frozen struct whose fields are its settings in
`[notifications.channels.NAME]` and whose tag is the `type` there.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from driftline.schemas.errors import DriftlineError
from driftline.schemas.notifications import Notification


class NotSent(DriftlineError):
    """A channel did not take a notification.

    Attributes
    ----------
    is_permanent
        Whether trying the same again is no use, such as after HTTP status 400.
    retry_after_s
        How long the channel asks to wait, if it does.
    """

    def __init__(
        self, message: str, *, is_permanent: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent
        self.retry_after_s = retry_after_s


class Channel(Protocol):
    """Where notifications go. `send` is called from one thread at a time."""

    def send(self, notification: Notification, /) -> None:
        """Deliver a notification. Blocks, for at most about 30 s.

        Raises
        ------
        NotSent
            If it was not taken, or it is not known whether it was. The message names neither
            secrets nor the path of a URL, which is a secret for many services.
        """


class ChannelPlugin(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """Base of the channels in `channels/`, which the catalogue finds by their tag.

    Fields of the types in `setting_types.py` are read when the channel is built: references to
    secrets become their text. `__post_init__` raises ValueError where settings do not fit together.
    """

    def send(self, notification: Notification, /) -> None:
        """As `Channel.send`."""
        raise NotImplementedError


class NetworkChannel(ChannelPlugin, frozen=True, kw_only=True, tag_field="type"):
    """Base of the channels that connect to a host.

    Parameters
    ----------
    allow_private
        Whether the host may have an address that is not public: private, loopback, link-local,
        multicast or reserved.
    ca_file
        Certificates of the authorities to trust (PEM), for a receiver with a certificate of your
        own; by default those of the machine.
    """

    allow_private: bool = False
    ca_file: str | None = None
