"""The planner against slow and plain code, over drawn histories with crashes at any moment."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.notification_settings import read_notifications
from driftline.schemas.notifications import Notification
from driftline.schemas.results import Alert
from driftline.streams.notify.planner import Planner
from driftline.streams.notify.stored import Memory
from tests.streams.notify_calls import START_MS, action, alert, changed, event
from tests.streams.notify_reference import Message, Receiver, Reference, Rules, is_open

TICK = 10
RECEIVERS = [
    Receiver("ops", 1, "warning", None),
    Receiver("one", 1, "error", "rule_0"),
    Receiver("boss", 2, "warning", None),
    Receiver("top", 3, "error", None),
]
SEVERITIES = ("warning", "error", "critical")

DELAYS = st.sampled_from([{"warning": 30}, {"warning": 60, "error": 20}])
LIMITS = st.sampled_from([(2, 60), (4, 60), (5, 120), (1, 40), (1000, 60)])
ANSWERS = [(), ("sent",), ("away",), ("away", "sent"), ("sent", "permanent", "away")]


class Histories(RuleBasedStateMachine):
    """Planner and reference side by side; both plan after each act and each 10 seconds."""

    @initialize(
        delay=DELAYS,
        limit=LIMITS,
        quiet=st.sampled_from([None, (300, 600)]),
        repeat=st.sampled_from([None, 60]),
        escalate_from=st.sampled_from(["error", "critical"]),
        wait=st.sampled_from([0, 10]),
    )
    def begin(
        self,
        delay: dict[str, int],
        limit: tuple[int, int],
        quiet: tuple[int, int] | None,
        repeat: int | None,
        escalate_from: str,
        wait: int,
    ) -> None:
        messages, span = limit
        rules = Rules(
            delay={"info": 0, "warning": 300, "error": 0, "critical": 0} | delay,
            wait=wait,
            escalate_after=50,
            escalate_from=escalate_from,
            repeat=repeat,
            messages=messages,
            span=span,
            quiet=quiet,
            quiet_below="critical",
            give_up_after=400,
        )
        written: dict[str, Any] = {
            "delay": {name: f"{seconds}s" for name, seconds in delay.items()},
            "rate_limit": f"{messages}/{span}s",
            "group_wait": f"{wait}s",
            "escalate_after": "50s",
            "escalate_from": escalate_from,
            "give_up_after": "400s",
            "repeat": "off" if repeat is None else f"{repeat}s",
            "channels": {
                each.name: {"type": "log", "level": each.level, "min_severity": each.least}
                | ({"rules": [each.rule]} if each.rule else {})
                for each in RECEIVERS
            },
        }
        if quiet is not None:
            written["quiet_hours"] = {"from": "10:05", "to": "10:10"}
        self.settings = read_notifications(written)
        self.now = 0
        self.state = MemoryState()
        self.committed: dict[bytes, bytes] = {}
        self.planner = Planner(self.settings, self.state)
        self.planner.start(START_MS)
        self.reference = Reference(rules, RECEIVERS)
        self.alerts: list[Alert] = []
        self.flying: list[tuple[Notification, Message]] = []
        self.ids: dict[str, tuple[str, str]] = {}
        self.messages: dict[str, Message] = {}
        self.plan(lambda planner: None)

    @property
    def now_ms(self) -> int:
        return START_MS + self.now * 1000

    # Acts.

    @precondition(lambda self: len(self.alerts) < 12)
    @rule(
        fired=st.lists(
            st.tuples(
                st.sampled_from(["", "g", "h"]),
                st.sampled_from(SEVERITIES),
                st.integers(0, 1),
                st.booleans(),
            ),
            min_size=1,
            max_size=4,
        ),
        crashes=st.booleans(),
    )
    def fire(self, fired: list[tuple[str, str, int, bool]], crashes: bool) -> None:
        for group, severity, kind, is_silenced in fired:
            name = f"a{len(self.alerts)}"
            record = alert(name, severity, group_id=group or name, rule=f"rule_{kind}")
            if is_silenced:
                record = changed(record, "firing", status="silenced", silenced_by=["s"])
            self.alerts.append(record)
            self.take(record, crashes)

    @precondition(lambda self: any(map(is_open, self.alerts)))
    @rule(number=st.integers(0, 11), choice=st.integers(0, 5), crashes=st.booleans())
    def change(self, number: int, choice: int, crashes: bool) -> None:
        still_open = [each for each in self.alerts if is_open(each)]
        before = still_open[number % len(still_open)]
        changes = [
            "escalated" if before.severity != "critical" else "joined",
            "unacknowledged" if before.acknowledged else "acknowledged",
            "unsilenced" if before.silenced_by else "silenced",
            "joined",
            "resolved",
            "resolved",
        ]
        after = changed(before, changes[choice])
        if after.change == "escalated":
            after.severity = SEVERITIES[SEVERITIES.index(before.severity) + 1]
        self.alerts[self.alerts.index(before)] = after
        self.take(after, crashes)

    @precondition(lambda self: any(map(is_open, self.alerts)))
    @rule(number=st.integers(0, 11), choice=st.integers(0, 5))
    def change_and_wait(self, number: int, choice: int) -> None:
        self.change(number, choice, False)
        self.wait(1, ("sent",))

    @rule(number=st.integers(0, 3), key=st.integers(0, 1))
    def escalate(self, number: int, key: int) -> None:
        """A response escalates one of the newest alerts, or the next one before it is known."""
        named = alert(f"a{max(0, len(self.alerts) - number)}")
        taken = action(named, f"response {key}")
        self.plan(
            lambda planner: planner.take_actions([taken], self.now_ms),
            lambda: self.reference.take_action(taken.action_id, named.alert_id, self.now),
        )

    @precondition(lambda self: len(self.reference.events) < 3)
    @rule()
    def register(self) -> None:
        self.plan(
            lambda planner: planner.take_events([event()], self.now_ms),
            lambda: self.reference.take_event(self.now),
        )

    @rule(ticks=st.integers(1, 12), answers=st.sampled_from(ANSWERS))
    def wait(self, ticks: int, answers: tuple[str, ...]) -> None:
        """Time passes; each attempt has the next of the answers, over and over."""
        following = cycle(answers)
        for _ in range(ticks):
            self.now += TICK
            next_ms = self.planner.next_ms()
            records = self.plan(lambda planner: None)
            if records:
                assert next_ms is not None, "next_ms is None before something is due"
                assert next_ms <= self.now_ms, "next_ms is later than what is due"
            if answers:
                self.send_all(lambda: next(following))

    @rule()
    def begin_to_send(self) -> None:
        chosen = self.planner.to_send(self.now_ms)
        self.commit()
        expected = [self.reference.next_of(each.name) for each in RECEIVERS]
        due = [each for each in expected if each is not None and each.next_at <= self.now]
        assert [each.channel for each in chosen] == [each.channel for each in due]
        for notification in chosen:
            # Several may be due since the same time; which of them comes first is free.
            message = self.messages[notification.notification_id]
            (same,) = [each for each in due if each.channel == notification.channel]
            assert message.status == "planned"
            assert message.next_at == same.next_at
            message.attempted = message.flying = True
            self.flying.append((notification, message))

    @precondition(lambda self: self.flying)
    @rule(answer=st.sampled_from(["sent", "sent", "away", "away", "permanent"]))
    def answer(self, answer: str) -> None:
        notification, message = self.flying.pop(0)
        name = notification.notification_id
        if answer == "sent":
            ends = self.reference.delivered(message)
            self.planner.delivered(name, self.now_ms)
            self.raised(message.channel, ends, "resolved")
        else:
            fires = self.reference.not_delivered(message, self.now, permanent=answer == "permanent")
            record = self.planner.not_delivered(
                name,
                "away",
                is_permanent=answer == "permanent",
                retry_after_ms=None,
                now_ms=self.now_ms,
            )
            if message.status == "planned":
                assert record.next_attempt_ms is not None
                message.next_at = (record.next_attempt_ms - START_MS) / 1000
                longest = min(600, 5 * 2 ** (message.attempts - 1))
                assert longest / 2 <= message.next_at - self.now <= longest
            self.raised(message.channel, fires, "firing")
        self.plan(lambda planner: None)

    @rule()
    def crash(self) -> None:
        """After a commit: what was in flight is sent again under its id."""
        self.rebuild()

    # Both sides.

    def take(self, record: Alert, crashes: bool) -> None:
        def act(planner: Planner) -> None:
            planner.take_alerts([record], self.now_ms)

        if crashes:
            # Before the commit: the same is planned again, under the same ids.
            self.rebuild()
            act(self.planner)
            lost = self.planner.due(self.now_ms)
            self.state = MemoryState()
            self.state.values = dict(self.committed)
            self.planner = Planner(self.settings, self.state)
        records = self.plan(act, lambda: self.reference.take(record, self.now))
        if crashes:
            assert records == lost

    def plan(
        self,
        act: Callable[[Planner], None],
        same: Callable[[], None] = lambda: None,
    ) -> list[Notification]:
        act(self.planner)
        records = self.planner.due(self.now_ms)
        same()
        before = len(self.reference.messages)
        self.reference.plan(self.now)
        found = [
            (each.channel, each.kind, each.status, sorted(a.alert_id for a in each.alerts))
            for each in records
        ]
        expected, self.reference.changes = self.reference.changes, []
        assert sorted(found) == sorted(expected), (found, expected)
        self.meet(records, self.reference.messages[before:])
        self.commit()
        return records

    def meet(self, records: list[Notification], planned: list[Message]) -> None:
        """Match new notifications of both sides, and check their ids."""
        for record in records:
            place = (record.channel, record.group_key)
            assert self.ids.setdefault(record.notification_id, place) == place
            if record.notification_id in self.messages:
                continue
            names = sorted(each.alert_id for each in record.alerts)
            same = next(
                each
                for each in planned
                if (each.channel, each.kind, sorted(each.ids))
                == (record.channel, record.kind, names)
            )
            planned.remove(same)
            self.messages[record.notification_id] = same
        assert not planned

    def raised(self, channel: str, is_raised: bool, status: str) -> None:
        raised = self.planner.raised()
        assert [each.status for each in raised] == [status] * is_raised
        for each in raised:
            self.reference.take(each, self.now)
            (self.reference.failed.append if status == "firing" else self.reference.failed.remove)(
                channel
            )

    def commit(self) -> None:
        self.committed = dict(self.state.values)

    def rebuild(self) -> None:
        for _, message in self.flying:
            message.flying = False
        self.flying = []
        self.state = MemoryState()
        self.state.values = dict(self.committed)
        self.planner = Planner(self.settings, self.state)

    def send_all(self, outcome: Callable[[], str]) -> None:
        for _ in range(200):
            self.begin_to_send()
            if not self.flying:
                return
            while self.flying:
                self.answer(outcome())
        raise AssertionError("sending does not end")

    def teardown(self) -> None:
        """At last all channels answer and all alerts are resolved: nothing is left."""
        if not hasattr(self, "planner"):
            return
        self.rebuild()
        self.wait(100, ("sent",))
        for each in list(self.alerts):
            if is_open(each):
                self.take(changed(each, "resolved"), False)
        self.register()  # so that each channel takes something, and none counts as failed
        self.wait(150, ("sent",))
        memory = Memory(self.state)
        assert (memory.groups, memory.planned) == ({}, {})
        assert all(
            START_MS + self.now * 1000 - e.since_ms < 3_600_000 for e in memory.early.values()
        )
        assert self.planner.next_ms() is None
        self.check_order()

    def check_order(self) -> None:
        """Without digests, what a channel took of a group is firing, updates, resolved, and anew;
        a resolved alone may follow a firing whose answer was lost.
        """
        for receiver in RECEIVERS:
            for group in {group for each in self.reference.messages for group in each.known}:
                mine = [
                    each
                    for each in self.reference.messages
                    if each.channel == receiver.name and group in each.known
                ]
                if any(each.kind == "digest" for each in mine):
                    continue
                # After an end that was refused, the group is told anew as well.
                kinds = [
                    each.kind
                    for each in mine
                    if each.status == "sent" or (each.kind, each.status) == ("resolved", "failed")
                ]
                for before, after in zip(["resolved", *kinds], kinds, strict=False):
                    assert not (before != "resolved" and after in ("firing", "escalation")), kinds
                firings = [each for each in mine if each.kind in ("firing", "escalation")]
                ends = [each for each in mine if each.kind == "resolved"]
                assert len(ends) <= len(firings)


def test_planner_does_what_slow_code_does_over_any_history() -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
