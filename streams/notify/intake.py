"""Takes records of alerts, of actions and of the registry into the planner's memory."""

from __future__ import annotations

from driftline.schemas.actions import Action
from driftline.schemas.notification_settings import NotificationSettings
from driftline.schemas.results import Alert, RegistryEvent
from driftline.schemas.times import HOUR_MS
from driftline.streams.notify.news import (
    is_active,
    is_for,
    is_for_model,
    is_open,
    rank,
)
from driftline.streams.notify.stored import (
    ChannelState,
    Day,
    Early,
    Entry,
    Group,
    Memory,
    Raised,
    View,
)
from driftline.streams.registry.command_params import SYSTEM

MOST_KEPT = 100
"""Most alerts or events that are kept for one digest or notice; of the others the number is."""
EARLY_KEPT_MS = HOUR_MS
"""How long an escalation waits for the first record of its alert."""
RECORDS = frozenset({"record_labels", "record_reference", "record_baseline"})
"""Commands that record what was learned about a version."""


class Intake:
    """Adds what happened to a planner's memory."""

    def __init__(self, settings: NotificationSettings, memory: Memory) -> None:
        self._settings, self._memory = settings, memory
        self._group_of = {
            alert_id: group.key for group in memory.groups.values() for alert_id in group.entries
        }

    def take_alert(self, alert: Alert, now_ms: int) -> None:
        """Take the newest record of an alert."""
        memory = self._memory
        key = self._group_of.get(alert.alert_id)
        group = memory.groups.get(key) if key is not None else None
        entry = group.entries.get(alert.alert_id) if group is not None else None
        if not is_open(alert):
            self._count_resolved(alert)
        if group is not None and entry is not None:
            self._update(group, entry, alert, now_ms)
        elif is_open(alert):
            group = self._group(alert.group_id, now_ms)
            group.entries[alert.alert_id] = self._new_entry(alert, now_ms)
            self._group_of[alert.alert_id] = group.key
            self._take_early(group, alert.alert_id, now_ms)
        else:
            return
        group.changed_ms = now_ms
        memory.change(Group, group.key)

    def take_action(self, action: Action, now_ms: int) -> None:
        """Take what an alert has led to: an escalation that is taken concerns the next level of the
        alert, each id once.
        """
        if action.action != "escalate" or action.outcome != "taken":
            return
        key = self._group_of.get(action.alert_id)
        group = self._memory.groups.get(key) if key is not None else None
        if group is not None and action.alert_id in group.entries:
            self._escalate(group, action.alert_id, action.action_id, action.response, now_ms)
            return
        # The topics are read side by side, so it may have come before its alert.
        early = self._memory.early.setdefault(action.alert_id, Early(since_ms=now_ms))
        early.responses[action.action_id] = action.response
        self._memory.change(Early, action.alert_id)

    def forget_early(self, now_ms: int) -> None:
        """Forget escalations whose alert has not come."""
        for alert_id, early in list(self._memory.early.items()):
            if now_ms - early.since_ms >= EARLY_KEPT_MS:
                del self._memory.early[alert_id]
                self._memory.change(Early, alert_id)

    def take_event(self, event: RegistryEvent, now_ms: int) -> None:
        """Take a change of the registry. Rejected commands and dry runs are none, and what
        Driftline records about a version by itself is nothing to tell people.
        """
        if event.event == "rejected" or event.dry_run or self._memory.started_ms is None:
            return
        if event.event in RECORDS and event.requested_by == SYSTEM:
            return
        for channel in self._settings.channels:
            if not (channel.notices and is_for_model(channel, event.model_name)):
                continue
            state = self._memory.channel(channel.name)
            if not state.n_events:
                state.events_ms = now_ms + self._settings.group_wait_ms
            state.n_events += 1
            if len(state.events) < MOST_KEPT:
                state.events.append(event)
        if event.event == "set_threshold" and event.requested_by == SYSTEM:
            day = self._memory.day
            day.n_tuned += 1
            if len(day.tuned) < MOST_KEPT:
                day.tuned.append(event)
            self._memory.change(Day)

    def restart_delays(self, now_ms: int) -> None:
        """Take all open alerts as if they had fired now."""
        for group in self._memory.groups.values():
            for alert_id, entry in group.entries.items():
                group.entries[alert_id] = self._new_entry(entry.record, now_ms)
                for action_id, raised in entry.raised.items():
                    self._escalate(group, alert_id, action_id, raised.response, now_ms)
            group.changed_ms = now_ms
            self._memory.change(Group, group.key)

    def forget(self, alert_id: str) -> None:
        """An alert is in no group any more."""
        self._group_of.pop(alert_id, None)

    def _group(self, key: str, now_ms: int) -> Group:
        return self._memory.groups.setdefault(
            key, Group(key=key, opened_ms=now_ms, changed_ms=now_ms)
        )

    def _new_entry(self, alert: Alert, now_ms: int) -> Entry:
        delay_ms = self._settings.delay_ms[alert.severity]
        entry = Entry(
            record=alert,
            ready_ms=now_ms + delay_ms,
            due_ms=now_ms + max(delay_ms, self._settings.group_wait_ms),
            since_ms=now_ms,
        )
        self._follow_escalation(entry, now_ms)
        return entry

    def _update(self, group: Group, entry: Entry, alert: Alert, now_ms: int) -> None:
        before, entry.record = entry.record, alert
        if is_active(alert) and not is_active(before):
            entry.since_ms = now_ms
        if rank(alert.severity) > rank(before.severity) and is_open(alert):
            entry.news += 1
            delay_ms = self._settings.delay_ms[alert.severity]
            entry.ready_ms = min(entry.ready_ms, now_ms + delay_ms)
            entry.due_ms = max(now_ms, entry.ready_ms)
        elif alert.change == "joined":
            entry.news += 1
            if entry.due_ms <= now_ms:
                entry.due_ms = now_ms + self._settings.group_wait_ms
        self._follow_escalation(entry, now_ms)
        if not is_open(alert):
            self._note_over(group, alert, entry, now_ms)

    def _take_early(self, group: Group, alert_id: str, now_ms: int) -> None:
        early = self._memory.early.pop(alert_id, None)
        if early is not None:
            self._memory.change(Early, alert_id)
            for action_id, response in early.responses.items():
                self._escalate(group, alert_id, action_id, response, now_ms)

    def _escalate(
        self, group: Group, alert_id: str, action_id: str, response: str, now_ms: int
    ) -> None:
        """Make an alert due now, for the first level too, and for the lowest one above all that
        know it.
        """
        entry = group.entries[alert_id]
        if action_id in entry.raised or not is_open(entry.record):
            return
        reached = [1, *(each.level for each in entry.raised.values())]
        reached += [
            channel.level
            for channel in self._settings.channels
            if alert_id in group.views.get(channel.name, View()).known
        ]
        above = [
            channel.level
            for channel in self._settings.channels
            if channel.level > max(reached) and is_for(channel, entry.record)
        ]
        entry.raised[action_id] = Raised(min(above, default=0), now_ms, response)
        entry.ready_ms, entry.due_ms = min(entry.ready_ms, now_ms), min(entry.due_ms, now_ms)
        self._memory.change(Group, group.key)

    def _follow_escalation(self, entry: Entry, now_ms: int) -> None:
        alert = entry.record
        if not (
            is_active(alert)
            and alert.acknowledged is None
            and rank(alert.severity) >= rank(self._settings.escalate_from)
        ):
            entry.escalates_ms = None
        elif entry.escalates_ms is None:
            entry.escalates_ms = max(now_ms, entry.due_ms)

    def _note_over(self, group: Group, alert: Alert, entry: Entry, now_ms: int) -> None:
        """Keep an alert that was held back until it was resolved for the next digest."""
        for channel in self._settings.channels:
            view = group.views.get(channel.name)
            if (
                view is not None
                and view.is_held
                and alert.alert_id not in view.known
                and entry.ready_ms <= now_ms
                and is_for(channel, alert)
            ):
                state: ChannelState = self._memory.channel(channel.name)
                state.n_over += 1
                if len(state.over) < MOST_KEPT:
                    state.over.append(alert)

    def _count_resolved(self, alert: Alert) -> None:
        if self._settings.daily_digest_minute is None or self._memory.started_ms is None:
            return
        day = self._memory.day
        day.n_resolved += 1
        if len(day.resolved) < MOST_KEPT:
            day.resolved.append(alert)
        self._memory.change(Day)
