"""Plans notifications: what is sent to which channel, and when.

Time is handed in: wall clock live, event time in a replay. All of a planner's memory is in its
`State`, so that a planner on the same state goes on where another one ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from driftline.schemas.actions import Action
from driftline.schemas.notification_settings import NotificationSettings
from driftline.schemas.notifications import Notification
from driftline.schemas.results import Alert, RegistryEvent
from driftline.streams.notify.calendar import next_at_ms
from driftline.streams.notify.channel_failure import after_failure, after_success, ended_alert
from driftline.streams.notify.channel_round import ChannelRound
from driftline.streams.notify.intake import Intake
from driftline.streams.notify.news import NOTIFIER, is_open
from driftline.streams.notify.outbox import Outbox
from driftline.streams.notify.stored import (
    STATE_FORMAT,
    ChannelState,
    Day,
    Group,
    Memory,
    Planned,
    View,
)
from driftline.streams.stage import State

__all__ = ["NOTIFIER", "STATE_FORMAT", "Pending", "Planner"]


class Pending(msgspec.Struct, frozen=True):
    """Notifications of a channel without result: how many, and when the oldest was planned."""

    count: int
    oldest_ms: int


class Planner:
    """Decides what is sent.

    A driver works in rounds: it calls `take_alerts`, `take_actions`, `take_events`, `delivered` and
    `not_delivered` for what came in, then `due`, commits the changes of the state with what `due`
    and `raised` have returned, and only then sends what `to_send` returns. After a failed commit it
    makes a new planner on the committed state.

    Parameters
    ----------
    settings
        The settings in force; they may differ from those with which the state was written.
    state
        Empty, or as an earlier planner left it. No one else may change it while the planner lives.

    Raises
    ------
    ValueError
        If the state was written in another format.
    """

    def __init__(self, settings: NotificationSettings, state: State) -> None:
        self._settings = settings
        self._memory = Memory(state)
        self._outbox = Outbox(settings, self._memory)
        self._intake = Intake(settings, self._memory)
        self._raised: list[Alert] = []
        self._now_ms = 0

    @property
    def is_started(self) -> bool:
        """Whether `start` was called, by this planner or an earlier one on the same state."""
        return self._memory.started_ms is not None

    def start(self, now_ms: int) -> None:
        """Begin to send; nothing is planned before. Does nothing if it was called before.

        What is taken before it is history: of alerts, only those that are still open are told, and
        events of the registry are not. A live driver calls it once it has read what was on the
        topics when it began.
        """
        if self.is_started:
            return
        self._memory.started_ms = self._memory.day.last_ms = now_ms
        self._memory.change(Day)
        self._intake.restart_delays(now_ms)
        self._tidy()

    def take_alerts(self, alerts: Sequence[Alert], now_ms: int) -> None:
        """Take records of `alerts`, in their order. Records about channels, which `raised` has
        returned, are passed over.
        """
        for alert in alerts:
            if alert.model_name != NOTIFIER:
                self._intake.take_alert(alert, now_ms)
        self._tidy()

    def take_actions(self, actions: Sequence[Action], now_ms: int) -> None:
        """Take records of `actions`, in their order: an alert that is escalated is told at once to
        the next level. One that comes before its alert waits for it.
        """
        for action in actions:
            self._intake.take_action(action, now_ms)
        self._tidy()

    def take_events(self, events: Sequence[RegistryEvent], now_ms: int) -> None:
        """Take records of `registry-events`, in their order."""
        for event in events:
            self._intake.take_event(event, now_ms)
        self._memory.save()

    def due(self, now_ms: int) -> list[Notification]:
        """Plan what is due, and return the records that `notifications` has not got yet: every
        change of a notification's status or content since the last call, in order.
        """
        self._now_ms = now_ms
        self._forget_channels(now_ms)
        self._intake.forget_early(now_ms)
        if self.is_started:
            self._plan_daily_digest(now_ms)
            for each in self._rounds():
                each.plan()
        self._tidy()
        return self._outbox.take_records()

    def raised(self) -> list[Alert]:
        """Alerts about channels that fired or resolved since the last call, to be written on
        `alerts`.
        """
        raised, self._raised = self._raised, []
        return raised

    def to_send(self, now_ms: int) -> list[Notification]:
        """What is to be sent now, at most one for each channel. A notification is in flight from
        here until its result is told by `delivered` or `not_delivered`; as long, nothing else is
        returned for its channel.

        To be called when the last results of `due` are committed. It notes in the state that an
        attempt may have begun; committed before the attempt, this keeps a planner that comes after
        a crash from taking back what a channel may have got.
        """
        chosen = [self._outbox.to_send(each.name, now_ms) for each in self._settings.channels]
        self._memory.save()
        return [each for each in chosen if each is not None]

    def delivered(self, notification_id: str, now_ms: int) -> Notification:
        """The channel took a notification. Returns its record, which `due` returns too.

        Raises
        ------
        KeyError
            If no notification of that id is open.
        """
        planned = self._outbox.delivered(notification_id, now_ms)
        for group, view in self._views(planned):
            view.pending = ""
            if view.is_closing:
                _reset(view)
            else:
                view.told = "yes"
            self._memory.change(Group, group.key)
        ended = after_success(self._memory, planned.notification.channel, now_ms)
        if ended is not None:
            self._raise(ended, now_ms)
        self._tidy()
        return planned.notification

    def not_delivered(
        self,
        notification_id: str,
        error: str,
        *,
        is_permanent: bool,
        retry_after_ms: int | None,
        now_ms: int,
    ) -> Notification:
        """The channel did not take a notification, or it is not known whether it did. Returns its
        record, which `due` returns too: "planned" with the time of the next attempt, or "failed".

        Parameters
        ----------
        error
            Why, without secrets.
        is_permanent
            Whether trying the same again is no use.
        retry_after_ms
            How long the channel asks to wait, if it does.

        Raises
        ------
        KeyError
            If no notification of that id is open.
        """
        planned = self._outbox.not_delivered(
            notification_id,
            error,
            is_permanent=is_permanent,
            retry_after_ms=retry_after_ms,
            now_ms=now_ms,
        )
        notification = planned.notification
        if notification.status == "failed":
            # An earlier attempt may have been taken, though its answer was lost.
            may_be_known = not is_permanent or notification.attempts > 1
            for group, view in self._views(planned):
                view.pending = ""
                if view.is_closing:
                    _reset(view)
                elif view.told == "no" and may_be_known:
                    view.told = "maybe"
                self._memory.change(Group, group.key)
        alert = after_failure(
            self._memory, notification.channel, error, is_permanent=is_permanent, now_ms=now_ms
        )
        if alert is not None:
            self._raise(alert, now_ms)
        self._tidy()
        return notification

    def next_ms(self) -> int | None:
        """Earliest time at which `due` or `to_send` has something to do if nothing comes in before;
        None if never. Not in the past once both were called.
        """
        if not self.is_started:
            return None
        times_ms = [self._outbox.next_ms(each.name) for each in self._settings.channels]
        times_ms += [each.next_ms() for each in self._rounds()]
        if self._settings.channels:
            times_ms.append(self._daily_ms())
        return min((at_ms for at_ms in times_ms if at_ms is not None), default=None)

    def pending(self) -> dict[str, Pending]:
        """Notifications that are planned and without result, by channel; none of a channel without
        any.
        """
        pending: dict[str, Pending] = {}
        for planned in self._memory.planned.values():
            channel, at_ms = planned.notification.channel, planned.notification.planned_at_ms
            before = pending.get(channel, Pending(0, at_ms))
            pending[channel] = Pending(before.count + 1, min(before.oldest_ms, at_ms))
        return pending

    def _rounds(self) -> Iterator[ChannelRound]:
        for channel in self._settings.channels:
            yield ChannelRound(self._settings, channel, self._memory, self._outbox, self._now_ms)

    def _daily_ms(self) -> int | None:
        minute = self._settings.daily_digest_minute
        if minute is None:
            return None
        return next_at_ms(minute, self._settings.time_zone, self._memory.day.last_ms)

    def _plan_daily_digest(self, now_ms: int) -> None:
        daily_ms = self._daily_ms()
        if daily_ms is None or now_ms < daily_ms:
            return
        for channel, each in zip(self._settings.channels, self._rounds(), strict=True):
            if channel.notices:
                each.plan_daily_digest()
        self._memory.day = Day(last_ms=now_ms)
        self._memory.change(Day)

    def _raise(self, alert: Alert, now_ms: int) -> None:
        self._raised.append(alert)
        self._intake.take_alert(alert, now_ms)

    def _forget_channels(self, now_ms: int) -> None:
        """Drop what belongs to channels that the settings do not name any more."""
        memory, names = self._memory, [channel.name for channel in self._settings.channels]
        for notification_id, planned in list(memory.planned.items()):
            if planned.notification.channel not in names:
                self._outbox.drop(notification_id, now_ms, "the channel is not configured any more")
        for group in memory.groups.values():
            for name in [name for name in group.views if name not in names]:
                del group.views[name]
                memory.change(Group, group.key)
        for name in [name for name in memory.channels if name not in names]:
            alert = memory.channels.pop(name).alert
            memory.change(ChannelState, name)
            if alert is not None:
                summary = f"The channel {name} is not configured any more."
                self._raise(ended_alert(alert, summary, now_ms), now_ms)

    def _views(self, planned: Planned) -> Iterator[tuple[Group, View]]:
        """The groups that a notification tells of, and what its channel knows of each."""
        for key in planned.groups:
            group = self._memory.groups.get(key)
            view = group.views.get(planned.notification.channel) if group is not None else None
            if group is None or view is None:
                continue
            if view.pending == planned.notification.notification_id:
                yield group, view

    def _tidy(self) -> None:
        """Forget what nobody needs any more, and write what was changed."""
        for group in list(self._memory.groups.values()):
            if self._memory.is_changed(Group, group.key):
                self._tidy_group(group)
        self._memory.save()

    def _tidy_group(self, group: Group) -> None:
        entries = group.entries
        if not any(is_open(entry.record) for entry in entries.values()):
            for name, view in list(group.views.items()):
                if view.told == "no" and not view.pending:
                    del group.views[name]
        for view in group.views.values():
            if view.told == "no" and not view.pending:
                # What was refused and is over is nothing to tell with what comes after it.
                view.known = {
                    alert_id: news
                    for alert_id, news in view.known.items()
                    if alert_id in entries and is_open(entries[alert_id].record)
                }
        for alert_id, entry in list(entries.items()):
            is_needed = any(
                alert_id in view.known and (view.pending or view.told != "no")
                for view in group.views.values()
            )
            if not is_open(entry.record) and not is_needed:
                del entries[alert_id]
                self._intake.forget(alert_id)
        if not entries:
            del self._memory.groups[group.key]


def _reset(view: View) -> None:
    """The channel knows nothing of the group any more."""
    view.told, view.known, view.is_closing = "no", {}, False
