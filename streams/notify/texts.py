"""What a notification says: a title of one line and a plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from driftline.schemas.notifications import NotificationKind
from driftline.schemas.results import Alert, RegistryEvent
from driftline.schemas.times import format_time, parse_time
from driftline.streams.decide.wording import figure, listed, metric_name, moment, subject
from driftline.streams.notify.news import NOTIFIER, is_active, is_open
from driftline.streams.registry.history import field_changes

MAX_TITLE = 200
MAX_TOLD = 20
"""Most alerts or events of which a text tells; it says how many more there are."""

_OF_KIND: dict[str, str] = {
    "firing": "",
    "update": ", update",
    "escalation": ", not acknowledged",
}
_EVENTS = {
    "register": "was registered",
    "update": "has new particulars",
    "promote": "was promoted",
    "archive": "was archived",
    "delete": "was deleted",
    "rollback": "was rolled back",
    "set_threshold": "has another threshold",
    "set_labels": "has other labels",
    "set_rule_level": "has another level of an alert rule",
    "record_labels": "has its labels settled",
    "record_reference": "has a reference profile",
    "record_baseline": "has a baseline",
}


def title_of(kind: NotificationKind, alerts: Sequence[Alert], *, is_repeat: bool = False) -> str:
    """Title of a message about a group, whose alerts come with the highest severity first.

    Examples
    --------
    >>> alert = Alert(
    ...     fingerprint="f", alert_id="f-0", group_id="f-0", model_name="churn",
    ...     model_version="1.4.2", segment="plan=pro", rule="f1_low", status="firing",
    ...     change="firing", severity="critical", summary="F1 fell.", starts_at_ms=0, at_ms=0,
    ... )
    >>> title_of("firing", [alert]), title_of("resolved", [alert])
    ('Critical: f1_low of churn 1.4.2 (plan=pro)', 'Resolved: f1_low of churn 1.4.2 (plan=pro)')
    """
    first = next((alert for alert in alerts if is_open(alert)), alerts[0])
    if kind == "resolved":
        begin = "Resolved"
    else:
        begin = first.severity.capitalize()
        begin += ", still firing" if is_repeat else _OF_KIND.get(kind, "")
    more = f" and {len(alerts) - 1} more" if len(alerts) > 1 else ""
    return one_line(f"{begin}: {_name(first)}{more}")


def text_of(alerts: Sequence[Alert], responses: Sequence[str] = ()) -> str:
    """Text about a group: of each alert what happened, since when, and what to look at next.

    Parameters
    ----------
    responses
        Names of the responses that have escalated it.
    """
    told = [f"Escalated by itself, as the response {_unbroken(name)} says." for name in responses]
    told += [_about(alert) for alert in alerts[:MAX_TOLD]]
    if len(alerts) > MAX_TOLD:
        told.append(f"And {len(alerts) - MAX_TOLD} more alerts: driftline alerts list")
    return "\n\n".join(told)


def digest_title(alerts: Sequence[Alert], n_over: int) -> str:
    """Title of a digest of what was held back.

    Parameters
    ----------
    alerts
        Those of all groups that it tells of.
    n_over
        Number of further alerts that fired and were resolved meanwhile.
    """
    n_open = sum(map(is_open, alerts))
    return one_line(
        f"Held back: {_count(n_open, 'open')}, {len(alerts) - n_open + n_over} resolved"
    )


def digest_text(alerts: Sequence[Alert], over: Sequence[Alert], n_over: int) -> str:
    """Text of a digest: a line for each alert, by severity."""
    sections = [
        _section("Open", [alert for alert in alerts if is_open(alert)]),
        _section("Resolved", [alert for alert in alerts if not is_open(alert)]),
        _section("Fired and resolved meanwhile", over, n_over),
        "Next: driftline alerts list",
    ]
    return "\n\n".join(filter(None, sections))


def daily_title(alerts: Sequence[Alert], n_resolved: int, n_tuned: int) -> str:
    """Title of a daily digest."""
    return one_line(
        f"Daily digest: {_count(len(alerts), 'open')}, {n_resolved} resolved, "
        f"{_changes(n_tuned)} applied"
    )


def daily_text(
    alerts: Sequence[Alert],
    resolved: Sequence[Alert],
    n_resolved: int,
    tuned: Sequence[RegistryEvent],
    n_tuned: int,
    since_ms: int,
) -> str:
    """Text of a daily digest: open alerts, and what happened since the last one."""
    changes = [event_line(event) for event in tuned[:MAX_TOLD]]
    if n_tuned > len(changes):
        changes.append(f"and {n_tuned - len(changes)} more")
    sections = [
        _section("Open", alerts) or "No alert is open.",
        _section(f"Resolved since {moment(since_ms)}", resolved, n_resolved),
        "\n".join(["Applied automatically:", *(f"- {line}" for line in changes)])
        if changes
        else "",
    ]
    return "\n\n".join(filter(None, sections))


def notice_title(events: Sequence[RegistryEvent], n_events: int) -> str:
    """Title of a notice about changes of the registry.

    Examples
    --------
    >>> event = RegistryEvent(
    ...     event="promote", model_name="churn", model_version="1.4.2", revision=3, command_id="c",
    ...     at="2026-11-30T10:00:00Z", requested_by="ann",
    ... )
    >>> notice_title([event], 1)
    'Registry: churn 1.4.2 was promoted'
    """
    more = f" and {n_events - 1} more" if n_events > 1 else ""
    return one_line(f"Registry: {_happened(events[0])}{more}")


def notice_text(events: Sequence[RegistryEvent], n_events: int) -> str:
    """Text of a notice: of each change who made it, when, why, and the fields that changed."""
    told = [event_line(event) for event in events[:MAX_TOLD]]
    if n_events > len(told):
        told.append(f"And {n_events - len(told)} more.")
    model = _unbroken(events[0].model_name)
    return "\n\n".join([*told, f"Next: driftline models show {model}"])


def event_line(event: RegistryEvent) -> str:
    """A change of the registry in one or two sentences.

    Examples
    --------
    >>> tuned = RegistryEvent(
    ...     event="set_threshold",
    ...     model_name="churn",
    ...     model_version="1.4.2",
    ...     revision=3,
    ...     command_id="c",
    ...     at="2026-11-30T10:00:00Z",
    ...     requested_by="driftline",
    ...     before={"1.4.2": {"threshold": 0.5}},
    ...     after={"1.4.2": {"threshold": 0.4}},
    ...     cause="r-1",
    ...     reason="costs fall by 12 %",
    ... )
    >>> print(event_line(tuned))
    churn 1.4.2 has another threshold: threshold 0.5 -> 0.4
    (by driftline at 2026-11-30 10:00 UTC, because of r-1: costs fall by 12 %; revision 3)
    """
    changed = ", ".join(_field_changes(event))
    cause = f", because of {event.cause}" if event.cause else ""
    reason = f": {_unbroken(event.reason)}" if event.reason else ""
    happened = f"{_happened(event)}: {changed}" if changed else _happened(event)
    sender = f"{_unbroken(event.requested_by)} at {_minute(parse_time(event.at))}"
    return f"{happened}\n(by {sender}{cause}{reason}; revision {event.revision})"


def one_line(text: str) -> str:
    """A title: no line breaks, at most 200 characters.

    Examples
    --------
    >>> one_line("a\\nb"), len(one_line("a" * 300))
    ('a b', 200)
    """
    line = _unbroken(text)
    return line if len(line) <= MAX_TITLE else f"{line[: MAX_TITLE - 1]}…"


def _unbroken(text: str) -> str:
    return " ".join(text.split())


def _name(alert: Alert) -> str:
    if alert.model_name == NOTIFIER:
        return f"channel {alert.details.get('channel')} takes no notifications"
    who = subject(alert.model_name, alert.model_version, alert.segment)
    return _unbroken(f"{alert.rule} of {who}")


def _about(alert: Alert) -> str:
    state = "Resolved" if not is_open(alert) else alert.severity.capitalize()
    lines = [
        f"{state}: {_name(alert)}",
        _unbroken(alert.summary),
        f"{_since(alert)}{_figures(alert)}.",
    ]
    if is_open(alert) and alert.acknowledged is not None:
        reason = f": {_unbroken(alert.acknowledged.reason)}" if alert.acknowledged.reason else ""
        lines.append(f"Acknowledged by {_unbroken(alert.acknowledged.by)}{reason}.")
    if is_open(alert) and not is_active(alert):
        lines.append(f"Silenced by {listed(alert.silenced_by)}.")
    if alert.model_name != NOTIFIER:
        lines.append(f"Next: driftline alerts show {alert.alert_id}")
    if alert.runbook_url:
        lines.append(f"Runbook: {alert.runbook_url}")
    return "\n".join(lines)


def _since(alert: Alert) -> str:
    if alert.ends_at_ms is None:
        return f"Since {_minute(alert.starts_at_ms)}"
    return f"From {_minute(alert.starts_at_ms)} to {_minute(alert.ends_at_ms)}"


def _figures(alert: Alert) -> str:
    if alert.value is None:
        return ""
    name = metric_name(alert.metric) if alert.metric else "value"
    parts = [f"{name} {figure(alert.value)}"]
    if alert.baseline is not None:
        parts.append(f"baseline {figure(alert.baseline)}")
    if alert.threshold is not None:
        parts.append(f"threshold {figure(alert.threshold)}")
    if alert.n is not None:
        parts.append(f"n = {alert.n:,}")
    if alert.window is not None:
        parts.append(f"window {alert.window}")
    return f"; {', '.join(parts)}"


def _section(name: str, alerts: Sequence[Alert], n: int | None = None) -> str:
    count = len(alerts) if n is None else n
    if not count:
        return ""
    lines = [f"- {alert.severity}: {_name(alert)}, {_span(alert)}" for alert in alerts[:MAX_TOLD]]
    if count > len(lines):
        lines.append(f"- and {count - len(lines)} more")
    return "\n".join([f"{name}: {count}", *lines])


def _span(alert: Alert) -> str:
    text = _since(alert)
    return text[0].lower() + text[1:]


def _minute(ms: int) -> str:
    text = format_time(ms)
    return f"{text[:10]} {text[11:16]} UTC"


def _happened(event: RegistryEvent) -> str:
    who = (
        event.model_name
        if event.model_version is None
        else (f"{event.model_name} {event.model_version}")
    )
    return f"{_unbroken(who)} {_EVENTS.get(event.event, event.event.replace('_', ' '))}"


def _field_changes(event: RegistryEvent) -> list[str]:
    """The fields that changed and are short enough for a sentence."""
    changes: list[str] = []
    for version, name, before, after in field_changes(event):
        if isinstance(after, str | int | float | None) and before != after:
            of_other = "" if version in ("", event.model_version) else f" of {version}"
            changes.append(f"{name}{of_other} {_short(before)} -> {_short(after)}")
    return changes[:MAX_TOLD]


def _short(value: Any) -> str:
    if value is None:
        return "none"
    text = _unbroken(str(value))
    return text if len(text) <= 40 else f"{text[:39]}…"


def _count(n: int, what: str) -> str:
    return f"{n} {what} alert{'' if n == 1 else 's'}"


def _changes(n: int) -> str:
    return f"{n} change{'' if n == 1 else 's'}"
