"""Notifications without result: their ids, attempts and results."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import xxhash

from driftline.schemas.notification_settings import NotificationSettings, Severity
from driftline.schemas.notifications import Notification, NotificationKind, NotificationStatus
from driftline.schemas.results import Alert, RegistryEvent
from driftline.schemas.times import HOUR_MS, MINUTE_MS, SECOND_MS, EpochMs
from driftline.streams.notify.stored import ChannelState, Memory, Planned

FIRST_PAUSE_MS = 5 * SECOND_MS
LONGEST_PAUSE_MS = 10 * MINUTE_MS
LONGEST_ASKED_MS = HOUR_MS
"""A channel that asks for a longer pause is tried again after this."""


class Content(msgspec.Struct, kw_only=True, frozen=True):
    """What a notification says; see `Notification`."""

    kind: NotificationKind
    severity: Severity
    title: str
    text: str
    group_key: str = ""
    alerts: Sequence[Alert] = ()
    events: Sequence[RegistryEvent] = ()


class Outbox:
    """Plans notifications and follows them until their result.

    Attributes
    ----------
    in_flight
        Id of the notification that is being sent, by channel.
    """

    def __init__(self, settings: NotificationSettings, memory: Memory) -> None:
        self._settings, self._memory = settings, memory
        self._records: list[Notification] = []
        self.in_flight: dict[str, str] = {}

    def plan(self, channel: str, content: Content, groups: Sequence[str], now_ms: int) -> str:
        """Plan a notification; gives its id: the same plan on the same state has the same one."""
        memory = self._memory
        memory.n_planned += 1
        parts = (channel, content.group_key, content.kind, str(memory.n_planned), str(now_ms))
        notification = Notification(
            notification_id=xxhash.xxh128_hexdigest("\0".join(parts).encode()),
            channel=channel,
            kind=content.kind,
            status="planned",
            severity=content.severity,
            title=content.title,
            text=content.text,
            planned_at_ms=EpochMs(now_ms),
            at_ms=EpochMs(now_ms),
            group_key=content.group_key,
            alerts=list(content.alerts),
            events=list(content.events),
        )
        self._keep(Planned(notification=notification, groups=list(groups)))
        return notification.notification_id

    def amend(self, notification_id: str, content: Content, now_ms: int) -> None:
        """Replace what a notification says that was never attempted."""
        planned = self._memory.planned[notification_id]
        assert not planned.may_have_been_sent, "a receiver could pass the second content over"
        planned.notification = msgspec.structs.replace(
            planned.notification,
            severity=content.severity,
            title=content.title,
            text=content.text,
            alerts=list(content.alerts),
            at_ms=EpochMs(now_ms),
        )
        self._keep(planned)

    def drop(self, notification_id: str, now_ms: int, why: str | None = None) -> Planned:
        """Give a notification up that is not worth sending any more."""
        planned = self._memory.planned[notification_id]
        self._close(planned, "dropped", now_ms, planned.notification.error or why)
        return planned

    def delivered(self, notification_id: str, now_ms: int) -> Planned:
        """A channel took a notification."""
        planned = self._landed(notification_id)
        planned.notification.attempts += 1
        self._close(planned, "sent", now_ms, None)
        return planned

    def not_delivered(
        self,
        notification_id: str,
        error: str,
        *,
        is_permanent: bool,
        retry_after_ms: int | None,
        now_ms: int,
    ) -> Planned:
        """A channel did not take a notification, or perhaps did not: it is tried again later, or
        given up.
        """
        planned = self._landed(notification_id)
        notification = planned.notification
        attempts = notification.attempts + 1
        age_ms = now_ms - notification.planned_at_ms
        if is_permanent or age_ms >= self._settings.give_up_after_ms:
            notification.attempts = attempts
            self._close(planned, "failed", now_ms, error)
            return planned
        asked_ms = min(retry_after_ms or 0, LONGEST_ASKED_MS)
        next_ms = now_ms + max(pause_ms(notification_id, attempts), asked_ms)
        planned.notification = msgspec.structs.replace(
            notification,
            attempts=attempts,
            error=error,
            at_ms=EpochMs(now_ms),
            next_attempt_ms=EpochMs(next_ms),
        )
        if asked_ms:
            self._memory.channel(notification.channel).not_before_ms = now_ms + asked_ms
        self._keep(planned)
        return planned

    def to_send(self, channel: str, now_ms: int) -> Notification | None:
        """The next notification of a channel, which is in flight from here on."""
        first = self._first(channel)
        if first is None or self._at_ms(first) > now_ms:
            return None
        notification_id = first.notification.notification_id
        self.in_flight[channel] = notification_id
        if not first.may_have_been_sent:
            first.may_have_been_sent = True
            self._memory.change(Planned, notification_id)
        return first.notification

    def next_ms(self, channel: str) -> int | None:
        """When `to_send` has something for a channel; None if never, or not before a result."""
        first = self._first(channel)
        return None if first is None else self._at_ms(first)

    def take_records(self) -> list[Notification]:
        """Records of all changes since the last call."""
        records, self._records = self._records, []
        return records

    def _first(self, channel: str) -> Planned | None:
        if channel in self.in_flight:
            return None
        of_channel = [
            each for each in self._memory.planned.values() if each.notification.channel == channel
        ]
        return min(of_channel, key=_attempt_ms, default=None)

    def _at_ms(self, planned: Planned) -> int:
        state = self._memory.channels.get(planned.notification.channel, ChannelState())
        return max(_attempt_ms(planned), state.not_before_ms)

    def _landed(self, notification_id: str) -> Planned:
        planned = self._memory.planned[notification_id]
        if self.in_flight.get(planned.notification.channel) == notification_id:
            del self.in_flight[planned.notification.channel]
        return planned

    def _keep(self, planned: Planned) -> None:
        notification_id = planned.notification.notification_id
        self._memory.planned[notification_id] = planned
        self._memory.change(Planned, notification_id)
        self._records.append(msgspec.structs.replace(planned.notification))

    def _close(
        self, planned: Planned, status: NotificationStatus, now_ms: int, error: str | None
    ) -> None:
        notification = planned.notification = msgspec.structs.replace(
            planned.notification,
            status=status,
            at_ms=EpochMs(now_ms),
            next_attempt_ms=None,
            error=error,
        )
        del self._memory.planned[notification.notification_id]
        self._memory.change(Planned, notification.notification_id)
        self._records.append(notification)


def pause_ms(notification_id: str, attempts: int) -> int:
    """How long after a failed attempt the next one is: twice as long each time, up to 10 minutes,
    less a part of at most a half that a hash decides, so that not all come back at one time.

    Parameters
    ----------
    attempts
        Number of attempts so far, at least 1.

    Examples
    --------
    >>> [2_500 < pause_ms(str(n), 1) <= 5_000 for n in range(3)]
    [True, True, True]
    >>> 300_000 < pause_ms("a", 50) <= 600_000
    True
    """
    full_ms = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << min(attempts - 1, 20))
    part = xxhash.xxh64_intdigest(f"{notification_id}:{attempts}".encode()) % 1000
    return full_ms - full_ms * part // 2000


def _attempt_ms(planned: Planned) -> int:
    return planned.notification.next_attempt_ms or planned.notification.planned_at_ms
