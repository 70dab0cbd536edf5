"""Sends notifications on threads of its own: one at a time to each channel, so that a slow one does
not hold up the others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final

from msgspec import Struct

from driftline.agents.notify.channel import Channel, NotSent
from driftline.schemas.notifications import Notification

log = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 8
"""Sends at once, over all channels."""


class Sent(Struct, frozen=True):
    """An attempt that has ended.

    Attributes
    ----------
    error
        Why the channel did not take it; None if it did.
    """

    notification: Notification
    error: NotSent | None


class Sender:
    """Sends under way.

    Parameters
    ----------
    channels
        The configured channels by name.
    """

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = channels
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, "notify")
        self._under_way: dict[str, tuple[Notification, Future[NotSent | None]]] = {}
        self._held: dict[str, None] = {}
        self._failing: dict[str, None] = {}

    def begin(self) -> None:
        """Begin anew: whoever calls `start` from now on knows nothing of the sends under way."""
        self._held = dict.fromkeys(self._under_way)

    @property
    def is_held(self) -> bool:
        """Whether nothing may be started, because sends from before `begin` are under way."""
        return bool(self._held)

    @property
    def has_ended(self) -> bool:
        """Whether `take_ended` has something."""
        return any(future.done() for _, future in self._under_way.values())

    def start(self, notification: Notification) -> None:
        """Send a notification. None may be under way to its channel."""
        future = self._threads.submit(self._send, notification)
        self._under_way[notification.channel] = notification, future

    def take_ended(self) -> list[Sent]:
        """The attempts that have ended since the last call, and a log line for each channel that
        began to fail or to work again.
        """
        ended = [
            Sent(notification, future.result())
            for notification, future in self._under_way.values()
            if future.done()
        ]
        for sent in ended:
            del self._under_way[sent.notification.channel]
            self._held.pop(sent.notification.channel, None)
            self._log(sent)
        return ended

    def wait(self, seconds: float) -> None:
        """Wait for all sends under way, at most some seconds."""
        wait([future for _, future in self._under_way.values()], seconds)

    def _send(self, notification: Notification) -> NotSent | None:
        try:
            channel = self._channels.get(notification.channel)
            if channel is None:
                return NotSent("the channel is not configured any more", is_permanent=True)
            channel.send(notification)
        except NotSent as error:
            return error
        except Exception as error:
            # Its text may hold a secret.
            return NotSent(f"the channel failed with {type(error).__name__}")
        return None

    def _log(self, sent: Sent) -> None:
        channel, error = sent.notification.channel, sent.error
        if error is None and channel in self._failing:
            del self._failing[channel]
            log.info("notifier: channel %s takes notifications again", channel)
        elif error is not None and channel not in self._failing:
            self._failing[channel] = None
            log.warning(
                "notifier: channel %s does not take notifications: %s%s",
                channel,
                error,
                "" if error.is_permanent else "; it is tried again",
            )
