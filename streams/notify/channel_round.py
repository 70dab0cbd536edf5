"""Plans what is due on one channel at one time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from driftline.schemas.notification_settings import (
    ChannelSettings,
    NotificationSettings,
    Severity,
)
from driftline.schemas.results import Alert
from driftline.streams.notify import rate, texts
from driftline.streams.notify.calendar import is_quiet, quiet_end_ms
from driftline.streams.notify.news import (
    Message,
    entries_for,
    escalation_ms,
    highest,
    is_active,
    is_for,
    is_for_model,
    is_open,
    is_over,
    news_of,
    raised_to,
    rank,
    told_alerts,
)
from driftline.streams.notify.outbox import Content, Outbox
from driftline.streams.notify.stored import ChannelState, Entry, Group, Memory, View


class _Due(NamedTuple):
    """News of a group that may be sent now."""

    group: Group
    view: View
    kind: Message
    is_repeat: bool


class ChannelRound:
    """One channel at one time."""

    def __init__(
        self,
        settings: NotificationSettings,
        channel: ChannelSettings,
        memory: Memory,
        outbox: Outbox,
        now_ms: int,
    ) -> None:
        self._settings, self._channel, self._memory = settings, channel, memory
        self._outbox, self._now_ms = outbox, now_ms

    def plan(self) -> None:
        """Drop and amend what waits, then plan what is due and allowed."""
        for group in self._memory.groups.values():
            view = group.views.get(self._channel.name)
            if view is not None and view.pending:
                self._refresh(group, view)
        due = self._due()
        held = [each for each in due if each.view.is_held]
        fresh = [each for each in due if not each.view.is_held]
        state = self._state()
        is_digest = len(held) > 1
        if state.n_over and not self._is_quiet(highest(state.over)):
            is_digest = True
        if not is_digest:
            fresh = held + fresh
        elif self._has_room():
            self._plan_digest(held)
        for each in fresh:
            if self._has_room():
                self._plan_message(each)
            else:
                self._hold(each.group, each.view)
        if (
            state.n_events
            and state.events_ms <= self._now_ms
            and not self._is_quiet("info")
            and self._has_room()
        ):
            self._plan_notice()

    def plan_daily_digest(self) -> None:
        """Plan the daily digest, whatever the quiet hours and the rate limit are."""
        day = self._memory.day
        alerts = _by_severity(
            entry.record
            for group in self._memory.groups.values()
            for entry in group.entries.values()
            if is_open(entry.record) and is_for(self._channel, entry.record)
        )
        resolved = [alert for alert in day.resolved if is_for(self._channel, alert)]
        n_resolved = len(resolved) + day.n_resolved - len(day.resolved)
        tuned = [event for event in day.tuned if is_for_model(self._channel, event.model_name)]
        n_tuned = len(tuned) + day.n_tuned - len(day.tuned)
        content = Content(
            kind="daily_digest",
            severity="info",
            title=texts.daily_title(alerts, n_resolved, n_tuned),
            text=texts.daily_text(alerts, resolved, n_resolved, tuned, n_tuned, day.last_ms),
            alerts=[*alerts, *resolved],
            events=tuned,
        )
        self._outbox.plan(self._channel.name, content, (), self._now_ms)

    def next_ms(self) -> int | None:
        """When `plan` has something to do next, after it was called at the same time."""
        state, times_ms = self._state(), []
        for group in self._memory.groups.values():
            view = group.views.get(self._channel.name, View())
            if view.pending and not self._may_be_amended(view):
                continue
            for news in news_of(self._settings, self._channel, group, view):
                if not view.pending:
                    times_ms.append(self._allowed_ms(news.at_ms, news.severity))
                elif not news.is_repeat:
                    times_ms.append(news.at_ms)
        if state.n_over:
            times_ms.append(self._allowed_ms(self._now_ms, highest(state.over)))
        if state.n_events:
            times_ms.append(self._allowed_ms(state.events_ms, "info"))
        return min(times_ms, default=None)

    def _allowed_ms(self, at_ms: int, severity: Severity) -> int:
        """When something due at a time is looked at next: at that time, or once it is over, when
        quiet hours and rate limit allow it.
        """
        if at_ms > self._now_ms:
            return at_ms
        hours = self._settings.quiet_hours
        if hours is not None and self._is_quiet(severity):
            at_ms = quiet_end_ms(hours, self._settings.time_zone, self._now_ms)
        return max(at_ms, rate.room_ms(self._settings.rate_limit, self._state().full_ms))

    def _refresh(self, group: Group, view: View) -> None:
        """Drop or amend the notification without result if news have overtaken it."""
        planned = self._memory.planned[view.pending]
        is_in_flight = self._outbox.in_flight.get(self._channel.name) == view.pending
        if is_in_flight or view.is_closing or planned.notification.kind == "digest":
            return
        entries = [entry for _, entry in entries_for(self._channel, group, view)]
        if planned.notification.kind == "escalation":
            is_wanted = any(
                escalation_ms(self._settings, self._channel, entry) is not None for entry in entries
            )
        else:
            is_wanted = planned.may_have_been_sent or any(
                is_active(entry.record) for entry in entries
            )
        if is_over(self._channel, group, view) or (view.told == "no" and not is_wanted):
            self._outbox.drop(view.pending, self._now_ms)
            view.pending = ""
            if view.told == "no" and planned.may_have_been_sent:
                view.told = "maybe"
            if view.told == "no":
                view.known = {}
            self._memory.change(Group, group.key)
        elif self._may_be_amended(view) and any(
            news.at_ms <= self._now_ms and not news.is_repeat
            for news in news_of(self._settings, self._channel, group, view)
        ):
            kind: Message = "firing" if view.told == "no" else "update"
            if planned.notification.kind == "escalation":
                kind = "escalation"
            content = self._content(_Due(group, view, kind, is_repeat=False))
            self._outbox.amend(view.pending, content, self._now_ms)
            self._mark(group, view, view.pending, is_closing=False)

    def _may_be_amended(self, view: View) -> bool:
        """Whether the notification without result tells of one group, which goes on, and was never
        attempted.
        """
        planned = self._memory.planned[view.pending]
        return not (
            planned.may_have_been_sent or view.is_closing or planned.notification.kind == "digest"
        )

    def _due(self) -> list[_Due]:
        """What may be sent now if the rate limit allows it, the most severe first; the rest of what
        is due is marked as held.
        """
        due: list[tuple[int, _Due]] = []
        for group in self._memory.groups.values():
            view = group.views.get(self._channel.name, View())
            if view.pending:
                continue
            news = [
                each
                for each in news_of(self._settings, self._channel, group, view)
                if each.at_ms <= self._now_ms
            ]
            if any(self._is_quiet(each.severity, each.at_ms) for each in news):
                self._hold(group, view)
            elif not news and view.is_held:
                view.is_held = False
                self._memory.change(Group, group.key)
            allowed = [each for each in news if not self._is_quiet(each.severity)]
            if allowed:
                is_repeat = all(each.is_repeat for each in news)
                severity = max(rank(each.severity) for each in allowed)
                due.append((severity, _Due(group, view, allowed[0].kind, is_repeat)))
            elif news:
                self._hold(group, view)
        return [each for _, each in sorted(due, key=lambda pair: -pair[0])]

    def _plan_message(self, due: _Due) -> None:
        content = self._content(due)
        planned = self._plan(content, [due.group.key])
        self._mark(due.group, due.view, planned, is_closing=due.kind == "resolved")

    def _content(self, due: _Due) -> Content:
        told = self._told(due.group, due.view).values()
        alerts = _by_severity(entry.record for entry in told)
        responses = (
            {raised.response for entry in told for raised in raised_to(self._channel, entry)}
            if due.kind == "escalation"
            else ()
        )
        return Content(
            kind=due.kind,
            severity=_severity(alerts),
            title=texts.title_of(due.kind, alerts, is_repeat=due.is_repeat),
            text=texts.text_of(alerts, sorted(responses)),
            group_key=due.group.key,
            alerts=alerts,
        )

    def _plan_digest(self, held: Sequence[_Due]) -> None:
        state = self._state()
        alerts = _by_severity(
            entry.record for due in held for entry in self._told(due.group, due.view).values()
        )
        content = Content(
            kind="digest",
            severity=_severity([*alerts, *state.over]),
            title=texts.digest_title(alerts, state.n_over),
            text=texts.digest_text(alerts, state.over, state.n_over),
            alerts=[*alerts, *state.over],
        )
        planned = self._plan(content, [due.group.key for due in held])
        for due in held:
            self._mark(due.group, due.view, planned, is_closing=due.kind == "resolved")
        if state.n_over:
            state = self._memory.channel(self._channel.name)
            state.over, state.n_over = [], 0

    def _plan_notice(self) -> None:
        state = self._memory.channel(self._channel.name)
        content = Content(
            kind="notice",
            severity="info",
            title=texts.notice_title(state.events, state.n_events),
            text=texts.notice_text(state.events, state.n_events),
            events=state.events,
        )
        self._plan(content, ())
        state.events, state.n_events = [], 0

    def _plan(self, content: Content, groups: Sequence[str]) -> str:
        state = self._memory.channel(self._channel.name)
        state.full_ms = rate.spend(self._settings.rate_limit, state.full_ms, self._now_ms)
        return self._outbox.plan(self._channel.name, content, groups, self._now_ms)

    def _mark(self, group: Group, view: View, notification_id: str, *, is_closing: bool) -> None:
        """Note what a channel knows once it has a notification."""
        view.known = {
            alert_id: entry.news
            for alert_id, entry in self._told(group, view).items()
            if is_closing or is_open(entry.record)
        }
        view.pending, view.is_closing, view.is_held = notification_id, is_closing, False
        view.last_ms = self._now_ms
        group.views[self._channel.name] = view
        self._memory.change(Group, group.key)

    def _hold(self, group: Group, view: View) -> None:
        if not view.is_held:
            view.is_held = True
            group.views[self._channel.name] = view
            self._memory.change(Group, group.key)

    def _told(self, group: Group, view: View) -> dict[str, Entry]:
        return told_alerts(self._channel, group, view, self._now_ms)

    def _state(self) -> ChannelState:
        return self._memory.channels.get(self._channel.name, ChannelState())

    def _has_room(self) -> bool:
        return rate.room(self._settings.rate_limit, self._state().full_ms, self._now_ms) > 0

    def _is_quiet(self, severity: Severity, at_ms: int | None = None) -> bool:
        hours = self._settings.quiet_hours
        return (
            hours is not None
            and rank(severity) < rank(hours.below)
            and is_quiet(hours, self._settings.time_zone, self._now_ms if at_ms is None else at_ms)
        )


def _by_severity(alerts: Iterable[Alert]) -> list[Alert]:
    """Open alerts first, each part with the highest severity first, then the oldest."""
    return sorted(
        alerts,
        key=lambda alert: (
            not is_open(alert),
            -rank(alert.severity),
            alert.starts_at_ms,
            alert.alert_id,
        ),
    )


def _severity(alerts: Sequence[Alert]) -> Severity:
    """The highest one of open alerts; of all, if none is open."""
    return highest([alert for alert in alerts if is_open(alert)] or list(alerts))
