"""Prometheus metrics of the notifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, get_args

from prometheus_client import Counter, Gauge

from driftline.schemas.notifications import Notification, NotificationStatus
from driftline.streams.notify.planner import Pending

_CHANNEL: Final = ("channel",)

NOTIFICATIONS = Counter(
    "driftline_notifications",
    "Notifications by status: planned, sent, failed (given up), dropped.",
    ("channel", "status"),
)
FAILED_SENDS = Counter(
    "driftline_notification_failed_sends", "Attempts that a channel did not take.", _CHANNEL
)
PENDING = Gauge(
    "driftline_notifications_pending", "Notifications that are planned and not sent yet.", _CHANNEL
)
OLDEST = Gauge(
    "driftline_notifications_oldest_pending_seconds",
    "Age of the oldest notification that is planned and not sent yet; 0 without one.",
    _CHANNEL,
)


class NotifyMeters:
    """Metrics of the channels of a program.

    Parameters
    ----------
    channels
        Their names.
    clock
        The time in ms since the epoch.
    """

    def __init__(self, channels: Iterable[str], clock: Callable[[], int]) -> None:
        self._clock = clock
        self._channels = list(channels)
        self._pending: Mapping[str, Pending] = {}
        for channel in self._channels:
            FAILED_SENDS.labels(channel)
            for status in get_args(NotificationStatus):
                NOTIFICATIONS.labels(channel, status)
            OLDEST.labels(channel).set_function(partial(self._oldest_s, channel))
        self.clear()

    def written(self, notifications: Iterable[Notification]) -> None:
        """Count records of `notifications` that were committed."""
        for each in notifications:
            is_again = each.status == "planned" and each.attempts > 0
            if is_again or each.status == "failed":
                FAILED_SENDS.labels(each.channel).inc()
            if not is_again:
                NOTIFICATIONS.labels(each.channel, each.status).inc()

    def show(self, pending: Mapping[str, Pending]) -> None:
        """Set what is pending, by channel."""
        self._pending = pending
        for channel in self._channels:
            count = pending[channel].count if channel in pending else 0
            PENDING.labels(channel).set(count)

    def clear(self) -> None:
        """Set that nothing is pending, in a worker that does not notify."""
        self.show({})

    def _oldest_s(self, channel: str) -> float:
        pending = self._pending.get(channel)
        return 0.0 if pending is None else max(0.0, (self._clock() - pending.oldest_ms) / 1000)
