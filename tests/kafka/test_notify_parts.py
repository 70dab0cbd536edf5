"""Parts of the notifier that need no broker: what its changelog writes, and how it sends."""

from __future__ import annotations

import logging
import threading
from random import Random

import pytest

from driftline.agents.kafka.notify.changelog import ChangelogState
from driftline.agents.kafka.notify.sender import Sender
from driftline.agents.notify.channel import NotSent
from driftline.schemas.notifications import Notification
from driftline.schemas.times import EpochMs


def notification(id_: str, channel: str) -> Notification:
    return Notification(
        notification_id=id_,
        channel=channel,
        kind="firing",
        status="planned",
        severity="error",
        title="t",
        text="",
        planned_at_ms=EpochMs(0),
        at_ms=EpochMs(0),
    )


class Scripted:
    """A channel that raises what stands in `faults`, in turn, and waits for `gate` before."""

    def __init__(self, *faults: Exception | None) -> None:
        self.faults = list(faults)
        self.gate = threading.Event()
        self.gate.set()
        self.sent: list[str] = []

    def send(self, each: Notification) -> None:
        assert self.gate.wait(30)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        self.sent.append(each.notification_id)


def sent(sender: Sender, each: Notification) -> list[tuple[str, str | None, bool]]:
    """Id, error, and whether it is permanent, of what has ended once a notification is sent."""
    sender.start(each)
    sender.wait(30)
    return [
        (
            one.notification.notification_id,
            str(one.error) if one.error else None,
            bool(one.error and one.error.is_permanent),
        )
        for one in sender.take_ended()
    ]


@pytest.mark.parametrize("seed", range(20))
def test_changes_applied_in_order_give_the_state(seed: int) -> None:
    random = Random(seed)
    state, copy = ChangelogState({b"a": b"0", b"b": b"0"}), {b"a": b"0", b"b": b"0"}
    for number in range(200):
        key, kind = bytes([random.choice(b"abcd")]), random.randrange(5)
        if kind == 0:
            state.delete(key)
        elif kind == 1:
            state.delete_range(key, key + b"\xff")
        else:
            state.put(key, b"%d" % random.randrange(3))
        if random.random() < 0.2:
            changes = state.take_changes()
            for changed, value in changes.items():
                if value is None:
                    copy.pop(changed, None)
                else:
                    copy[changed] = value
            assert copy == state.values, number


def test_value_that_is_put_again_is_no_change() -> None:
    state = ChangelogState({b"a": b"1"})
    state.put(b"a", b"1")
    state.delete(b"b")
    assert state.take_changes() == {}
    state.put(b"a", b"2")
    assert state.take_changes() == {b"a": b"2"}
    assert state.take_changes() == {}


def test_faults_of_channels_are_results_and_tell_no_secret() -> None:
    gone = NotSent("HTTP 410", is_permanent=True)
    sender = Sender({"ops": Scripted(gone, ValueError("hunter2"), None)})
    assert sent(sender, notification("1", "ops")) == [("1", "HTTP 410", True)]
    assert sent(sender, notification("2", "ops")) == [
        ("2", "the channel failed with ValueError", False)
    ]
    assert sent(sender, notification("3", "ops")) == [("3", None, False)]
    ((_, error, is_permanent),) = sent(sender, notification("4", "unknown"))
    assert (error, is_permanent) == ("the channel is not configured any more", True)


def test_log_says_once_that_a_channel_fails_and_once_that_it_recovers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "driftline.agents.kafka.notify.sender")
    sender = Sender({"ops": Scripted(NotSent("away"), NotSent("away"), None, None)})
    for number in range(4):
        sent(sender, notification(f"{number}", "ops"))
    assert [record.getMessage() for record in caplog.records] == [
        "notifier: channel ops does not take notifications: away; it is tried again",
        "notifier: channel ops takes notifications again",
    ]


def test_nothing_is_started_while_sends_of_an_earlier_owner_are_under_way() -> None:
    slow = Scripted()
    slow.gate.clear()
    sender = Sender({"ops": slow})
    sender.begin()
    assert not sender.is_held
    sender.start(notification("1", "ops"))
    assert not sender.is_held, "this one is its own"
    sender.begin()
    assert sender.is_held
    slow.gate.set()
    sender.wait(30)
    assert [each.notification.notification_id for each in sender.take_ended()] == ["1"]
    assert not sender.is_held
