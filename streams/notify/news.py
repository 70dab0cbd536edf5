"""What a channel does not know yet of a group of alerts, and when it is to be told."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from driftline.schemas.notification_settings import (
    SEVERITIES,
    ChannelSettings,
    NotificationSettings,
    Severity,
)
from driftline.schemas.results import Alert
from driftline.streams.notify.stored import Entry, Group, Raised, View

NOTIFIER = "driftline-notifier"
"""Model name of the alerts about channels."""

Message = Literal["firing", "update", "escalation", "resolved"]


class News(NamedTuple):
    """Something to tell about a group.

    Attributes
    ----------
    at_ms
        When it is due.
    severity
        The highest one that it is about.
    is_repeat
        Whether the channel knows it already.
    """

    at_ms: int
    kind: Message
    severity: Severity
    is_repeat: bool = False


def rank(severity: str) -> int:
    """Larger for a higher severity.

    Examples
    --------
    >>> rank("critical") > rank("error")
    True
    """
    return SEVERITIES.index(severity)


def highest(alerts: list[Alert]) -> Severity:
    """The highest severity; "info" of none."""
    return SEVERITIES[max((rank(alert.severity) for alert in alerts), default=0)]


def is_open(alert: Alert) -> bool:
    """Whether the episode goes on."""
    return alert.status != "resolved"


def is_active(alert: Alert) -> bool:
    """Whether it is open and no silence matches it."""
    return is_open(alert) and alert.status != "silenced" and not alert.silenced_by


def is_for(channel: ChannelSettings, alert: Alert) -> bool:
    """Whether a channel is told about an alert. Alerts about channels go to all but the one that
    they are about, whatever models and rules it names.
    """
    if rank(alert.severity) < rank(channel.min_severity):
        return False
    if alert.model_name == NOTIFIER:
        return alert.details.get("channel") != channel.name
    return _matches(channel.models, alert.model_name) and _matches(channel.rules, alert.rule)


def is_for_model(channel: ChannelSettings, model_name: str) -> bool:
    """Whether a channel is told about a model."""
    return _matches(channel.models, model_name)


def entries_for(channel: ChannelSettings, group: Group, view: View) -> list[tuple[str, Entry]]:
    """The alerts of a group that concern a channel, by id: those that it is told about, and those
    that it knows.
    """
    return [
        (alert_id, entry)
        for alert_id, entry in group.entries.items()
        if alert_id in view.known or is_for(channel, entry.record)
    ]


def is_over(channel: ChannelSettings, group: Group, view: View) -> bool:
    """Whether all that a channel knows of a group is resolved and nothing else is to come."""
    return not any(
        is_open(entry.record) if alert_id in view.known else is_active(entry.record)
        for alert_id, entry in entries_for(channel, group, view)
    )


def told_alerts(
    channel: ChannelSettings, group: Group, view: View, now_ms: int
) -> dict[str, Entry]:
    """What a message to a channel tells of a group at a time: what the channel knows, and what is
    active and has lasted for its delay.
    """
    return {
        alert_id: entry
        for alert_id, entry in entries_for(channel, group, view)
        if alert_id in view.known or (is_active(entry.record) and entry.ready_ms <= now_ms)
    }


def news_of(
    settings: NotificationSettings, channel: ChannelSettings, group: Group, view: View
) -> list[News]:
    """What is to be told to a channel about a group, now or later if nothing changes; empty for
    nothing.
    """
    if view.told != "no" and is_over(channel, group, view):
        known = [each.record for name, each in group.entries.items() if name in view.known]
        return [News(group.changed_ms, "resolved", highest(known))]
    found: list[News] = []
    for alert_id, entry in entries_for(channel, group, view):
        alert = entry.record
        if not is_active(alert):
            continue
        if entry.news > view.known.get(alert_id, 0):
            if view.told != "no" or channel.level == 1:
                kind: Message = "firing" if view.told == "no" else "update"
                found.append(News(max(entry.due_ms, entry.since_ms), kind, alert.severity))
            elif (at_ms := escalation_ms(settings, channel, entry)) is not None:
                found.append(News(at_ms, "escalation", alert.severity))
        elif view.told != "no" and settings.repeat_ms and alert.acknowledged is None:
            at_ms = max(view.last_ms + settings.repeat_ms, entry.since_ms)
            found.append(News(at_ms, "update", alert.severity, is_repeat=True))
    return found


def escalation_ms(
    settings: NotificationSettings, channel: ChannelSettings, entry: Entry
) -> int | None:
    """When an alert that nobody acknowledges is told to a level above the first: some time after
    the level below, or at once where a response escalates it; None if it is not.
    """
    times_ms = []
    if entry.escalates_ms is not None:
        times_ms.append(entry.escalates_ms + (channel.level - 1) * settings.escalate_after_ms)
    if is_active(entry.record) and entry.record.acknowledged is None:
        times_ms += [max(each.at_ms, entry.since_ms) for each in raised_to(channel, entry)]
    return min(times_ms, default=None)


def raised_to(channel: ChannelSettings, entry: Entry) -> list[Raised]:
    """The escalations of an alert by responses that are for a channel."""
    return [each for each in entry.raised.values() if each.level >= channel.level]


def _matches(patterns: tuple[str, ...], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
