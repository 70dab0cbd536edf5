"""When notifications are due, worked out anew from everything that ever happened.

Slow and plain: no state but lists of what came in, what was sent and what is held back. It shares
no code with `driftline.streams.notify`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from driftline.schemas.results import Alert

RANKS = {"info": 0, "warning": 1, "error": 2, "critical": 3}
NOTIFIER = "driftline-notifier"


@dataclass
class Rules:
    """What the tests vary, in seconds from the start."""

    delay: dict[str, int]
    wait: int
    escalate_after: int
    escalate_from: str
    repeat: int | None
    messages: int
    span: int
    quiet: tuple[int, int] | None
    quiet_below: str
    give_up_after: int


@dataclass
class Receiver:
    """A channel."""

    name: str
    level: int
    least: str
    rule: str | None


@dataclass
class Message:
    """A notification, from its planning to its result."""

    channel: str
    kind: str
    planned: float
    at: float
    known: dict[str, dict[str, int]]
    closing: list[str]
    ids: list[str]
    next_at: float
    status: str = "planned"
    attempted: bool = False
    flying: bool = False
    attempts: int = 0
    permanent: bool = False


@dataclass
class Reference:
    """All that happened."""

    rules: Rules
    receivers: list[Receiver]
    records: list[tuple[float, Alert]] = field(default_factory=list)
    asked: dict[str, tuple[float, str]] = field(default_factory=dict)
    raises: dict[str, tuple[int, float, str, int]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    held: list[tuple[str, str]] = field(default_factory=list)
    over: list[tuple[str, str]] = field(default_factory=list)
    events: list[tuple[str, float]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    spent: list[tuple[str, float]] = field(default_factory=list)
    failures: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    changes: list[tuple[Any, ...]] = field(default_factory=list)

    # What is known of an alert.

    def newest(self, name: str) -> Alert:
        return [alert for _, alert in self.records if alert.alert_id == name][-1]

    def names(self, group: str) -> list[str]:
        found: list[str] = []
        for _, alert in self.records:
            if alert.group_id == group and alert.alert_id not in found:
                found.append(alert.alert_id)
        return found

    def story(self, name: str) -> dict[str, Any]:
        """News, when the newest are due, since when it is active, since when it escalates."""
        news, ready, due, since, base = 0, 0.0, 0.0, 0.0, None
        before: Alert | None = None
        for number, (at, alert) in enumerate(self.records):
            for after, asked_at, of, _ in self.raises.values():
                if (after, of) == (number, name):
                    ready, due = min(ready, asked_at), min(due, asked_at)
            if alert.alert_id != name:
                continue
            delay = self.rules.delay[alert.severity]
            if before is None:
                news, ready, due = 1, at + delay, at + max(delay, self.rules.wait)
            elif is_open(alert) and RANKS[alert.severity] > RANKS[before.severity]:
                news, ready = news + 1, min(ready, at + delay)
                due = max(at, ready)
            elif alert.change == "joined":
                news, due = news + 1, due if due > at else at + self.rules.wait
            if before is None or (is_active(alert) and not is_active(before)):
                since = at
            escalates = RANKS[alert.severity] >= RANKS[self.rules.escalate_from]
            if not (is_active(alert) and alert.acknowledged is None and escalates):
                base = None
            elif base is None:
                base = max(at, due)
            before = alert
        for after, asked_at, of, _ in self.raises.values():
            if (after, of) == (len(self.records), name):
                ready, due = min(ready, asked_at), min(due, asked_at)
        return {"news": news, "ready": ready, "due": due, "since": since, "base": base}

    # What a channel knows of a group.

    def view(self, channel: str, group: str) -> tuple[str, dict[str, int], Message | None]:
        """Whether it was told, the news that it knows, and the message without result."""
        told, known = "no", dict[str, int]()
        for message in self.messages:
            if message.channel != channel or group not in message.known:
                continue
            known = message.known[group]
            if message.status == "planned":
                return told, known, message
            if group in message.closing:
                told, known = "no", {}
            elif message.status == "sent":
                told = "yes"
            elif message.status == "failed":
                if told == "no" and (not message.permanent or message.attempts > 1):
                    told = "maybe"
            elif told == "no":
                told, known = ("maybe", known) if message.attempted else ("no", {})
        if told == "no":
            # What was refused and is resolved is forgotten.
            known = {name: news for name, news in known.items() if is_open(self.newest(name))}
        return told, known, None

    def concerns(self, receiver: Receiver, alert: Alert) -> bool:
        if RANKS[alert.severity] < RANKS[receiver.least]:
            return False
        if alert.model_name == NOTIFIER:
            return bool(alert.details["channel"] != receiver.name)
        return receiver.rule in (None, alert.rule)

    def about(self, receiver: Receiver, group: str, known: dict[str, int]) -> list[str]:
        return [
            name
            for name in self.names(group)
            if name in known or self.concerns(receiver, self.newest(name))
        ]

    def is_over(self, receiver: Receiver, group: str, known: dict[str, int]) -> bool:
        for name in self.about(receiver, group, known):
            alert = self.newest(name)
            if is_open(alert) and (name in known or is_active(alert)):
                return False
        return True

    def due_news(self, receiver: Receiver, group: str, now: float) -> list[tuple[float, str, str]]:
        """What may be told now: since when, as what, of which severity."""
        told, known, _ = self.view(receiver.name, group)
        if told != "no" and self.is_over(receiver, group, known):
            last = max(at for at, alert in self.records if alert.group_id == group)
            rank = max(RANKS[self.newest(name).severity] for name in known)
            return [(last, "resolved", list(RANKS)[rank])]
        found: list[tuple[float, str, str]] = []
        for name in self.about(receiver, group, known):
            alert, story = self.newest(name), self.story(name)
            if not is_active(alert):
                continue
            at = max(story["due"], story["since"])
            if story["news"] > known.get(name, 0):
                if told != "no":
                    found.append((at, "update", alert.severity))
                elif receiver.level == 1:
                    found.append((at, "firing", alert.severity))
                else:
                    starts = self.escalations(receiver, name)
                    found += [(min(starts), "escalation", alert.severity)] if starts else []
            elif told != "no" and self.rules.repeat and alert.acknowledged is None:
                last = self.last_told(receiver.name, group)
                again = max(last + self.rules.repeat, story["since"])
                found.append((again, "repeat", alert.severity))
        return [each for each in found if each[0] <= now]

    def escalations(self, receiver: Receiver, name: str) -> list[float]:
        """When a level above the first may be told of an alert: by time, and by responses."""
        alert, story = self.newest(name), self.story(name)
        starts: list[float] = []
        if story["base"] is not None:
            starts.append(story["base"] + (receiver.level - 1) * self.rules.escalate_after)
        if is_active(alert) and alert.acknowledged is None:
            for _, at, of, level in self.raises.values():
                if of == name and level >= receiver.level:
                    starts.append(max(at, story["since"]))
        return starts

    def last_told(self, channel: str, group: str) -> float:
        mine = [each for each in self.messages if each.channel == channel]
        return [each.at for each in mine if group in each.known][-1]

    # Quiet hours and the rate limit.

    def is_quiet(self, severity: str, at: float) -> bool:
        if self.rules.quiet is None or RANKS[severity] >= RANKS[self.rules.quiet_below]:
            return False
        return self.rules.quiet[0] <= at % 86_400 < self.rules.quiet[1]

    def has_room(self, channel: str, now: float) -> bool:
        """Half of the messages at one time; the others come one by one."""
        most = max(1, self.rules.messages // 2)
        gap = -(-self.rules.span * 1000 // (self.rules.messages - most + 1)) / 1000
        left, at = float(most), 0.0
        for sent in [each for name, each in self.spent if name == channel]:
            left = min(most, left + (sent - at) / gap) - 1
            at = sent
        return min(most, left + (now - at) / gap) >= 1 - 1e-9

    # What happens.

    def take(self, alert: Alert, now: float) -> None:
        group = alert.group_id
        if group not in self.groups:
            self.groups.append(group)
        if not is_open(alert):
            story = self.story(alert.alert_id)
            for receiver in self.receivers:
                _, known, _ = self.view(receiver.name, group)
                if (
                    (receiver.name, group) in self.held
                    and alert.alert_id not in known
                    and story["ready"] <= now
                    and self.concerns(receiver, alert)
                ):
                    self.over.append((receiver.name, alert.alert_id))
        is_new = not any(each.alert_id == alert.alert_id for _, each in self.records)
        self.records.append((now, alert))
        for key, (at, name) in self.asked.items():
            if is_new and name == alert.alert_id and now - at < 3600:
                self.escalate(key, now)
        self.tidy()

    def take_action(self, key: str, name: str, now: float) -> None:
        if key not in self.asked:
            self.asked[key] = now, name
            if any(alert.alert_id == name for _, alert in self.records):
                self.escalate(key, now)

    def escalate(self, key: str, now: float) -> None:
        """To the lowest level above those that know the alert or were named for it."""
        name = self.asked[key][1]
        alert = self.newest(name)
        if not is_open(alert):
            return
        reached = max([1, *(level for _, _, of, level in self.raises.values() if of == name)])
        for receiver in self.receivers:
            if name in self.view(receiver.name, alert.group_id)[1]:
                reached = max(reached, receiver.level)
        above = [
            receiver.level
            for receiver in self.receivers
            if receiver.level > reached and self.concerns(receiver, alert)
        ]
        self.raises[key] = len(self.records), now, name, min([*above, 99]) % 99

    def take_event(self, now: float) -> None:
        for receiver in self.receivers:
            self.events.append((receiver.name, now))

    def plan(self, now: float) -> None:
        for receiver in self.receivers:
            for group in list(self.groups):
                self.refresh(receiver, group, now)
            self.plan_for(receiver, now)
        self.tidy()

    def refresh(self, receiver: Receiver, group: str, now: float) -> None:
        told, known, message = self.view(receiver.name, group)
        if message is None or message.flying or message.kind in ("digest", "resolved"):
            return
        names = self.about(receiver, group, known)
        if message.kind == "escalation":
            wanted = any(self.escalations(receiver, name) for name in names)
        else:
            wanted = message.attempted or any(is_active(self.newest(name)) for name in names)
        if self.is_over(receiver, group, known) or (told == "no" and not wanted):
            message.status = "dropped"
            self.note(message)
        elif not message.attempted and any(
            kind != "repeat" for _, kind, _ in self.due_news(receiver, group, now)
        ):
            self.fill(message, receiver, [(group, "update")], now)
            self.note(message)

    def plan_for(self, receiver: Receiver, now: float) -> None:
        free: list[tuple[int, str, str]] = []
        for group in self.groups:
            if self.view(receiver.name, group)[2] is not None:
                continue
            news = self.due_news(receiver, group, now)
            place = (receiver.name, group)
            if not news and place in self.held:
                self.held.remove(place)
            if any(self.is_quiet(severity, at) for at, _, severity in news):
                self.hold(place)
            allowed = [each for each in news if not self.is_quiet(each[2], now)]
            if allowed:
                rank = max(RANKS[severity] for _, _, severity in allowed)
                free.append((rank, group, allowed[0][1].replace("repeat", "update")))
            elif news:
                self.hold(place)
        free.sort(key=lambda each: -each[0])
        held = [each for each in free if (receiver.name, each[1]) in self.held]
        fresh = [each for each in free if each not in held]
        over = [name for channel, name in self.over if channel == receiver.name]
        worst = max((RANKS[self.newest(name).severity] for name in over), default=0)
        if len(held) > 1 or (over and not self.is_quiet(list(RANKS)[worst], now)):
            if self.has_room(receiver.name, now):
                self.send(receiver, "digest", [each[1:] for each in held], now, over)
                self.over = [each for each in self.over if each[0] != receiver.name]
        else:
            fresh = held + fresh
        for _, group, kind in fresh:
            if self.has_room(receiver.name, now):
                self.send(receiver, kind, [(group, kind)], now, [])
            else:
                self.hold((receiver.name, group))
        events = [at for channel, at in self.events if channel == receiver.name]
        if (
            events
            and events[0] + self.rules.wait <= now
            and not self.is_quiet("info", now)
            and self.has_room(receiver.name, now)
        ):
            self.send(receiver, "notice", [], now, [])
            self.events = [each for each in self.events if each[0] != receiver.name]

    def hold(self, place: tuple[str, str]) -> None:
        if place not in self.held:
            self.held.append(place)

    def send(
        self,
        receiver: Receiver,
        kind: str,
        groups: list[tuple[str, str]],
        now: float,
        over: list[str],
    ) -> None:
        message = Message(receiver.name, kind, now, now, {}, [], [], next_at=now)
        self.fill(message, receiver, groups, now)
        message.ids += over
        self.messages.append(message)
        self.spent.append((receiver.name, now))
        told = [(receiver.name, group) for group, _ in groups]
        self.held = [each for each in self.held if each not in told]
        self.note(message)

    def fill(
        self, message: Message, receiver: Receiver, groups: list[tuple[str, str]], now: float
    ) -> None:
        """What a message tells of its groups as they are now."""
        message.ids = []
        message.at = now
        for group, kind in groups:
            _, known, _ = self.view(receiver.name, group)
            told: dict[str, int] = {}
            for name in self.about(receiver, group, known):
                alert, story = self.newest(name), self.story(name)
                if name in known or (is_active(alert) and story["ready"] <= now):
                    message.ids.append(name)
                    if kind == "resolved" or is_open(alert):
                        told[name] = story["news"]
            message.known[group] = told
            if kind == "resolved":
                message.closing.append(group)

    def next_of(self, channel: str) -> Message | None:
        mine = [each for each in self.messages if each.channel == channel]
        waiting = [each for each in mine if each.status == "planned"]
        if any(each.flying for each in waiting):
            return None
        return min(waiting, key=lambda each: each.next_at, default=None)

    def delivered(self, message: Message) -> bool:
        """Whether the alert about the channel ends."""
        message.status, message.flying = "sent", False
        message.attempts += 1
        self.note(message)
        self.failures.pop(message.channel, None)
        self.tidy()
        return message.channel in self.failed

    def not_delivered(self, message: Message, now: float, *, permanent: bool) -> bool:
        """Whether the failure raises an alert about the channel."""
        message.flying, message.permanent = False, permanent
        message.attempts += 1
        if permanent or now - message.planned >= self.rules.give_up_after:
            message.status = "failed"
        self.note(message)
        self.tidy()
        since = self.failures.setdefault(message.channel, now)
        return message.channel not in self.failed and (permanent or now - since >= 600)

    def note(self, message: Message) -> None:
        self.changes.append((message.channel, message.kind, message.status, sorted(message.ids)))

    def tidy(self) -> None:
        """Groups of which nothing is open and no channel is to be told anything are over."""
        for group in list(self.groups):
            if any(is_open(self.newest(name)) for name in self.names(group)):
                continue
            views = [self.view(receiver.name, group) for receiver in self.receivers]
            if all(told == "no" and message is None for told, _, message in views):
                self.groups.remove(group)
                self.held = [each for each in self.held if each[1] != group]


def is_open(alert: Alert) -> bool:
    return alert.status != "resolved"


def is_active(alert: Alert) -> bool:
    return is_open(alert) and not alert.silenced_by
