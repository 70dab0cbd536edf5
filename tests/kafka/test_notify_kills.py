"""A short campaign of kills in the middle of sending, and faults that its check must find."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kafka.brokers import Names
from tests.kafka.notify_kills import CHANNELS, campaign, faults_of, miscounts
from tests.kafka.notify_live import Inbox, firing


@pytest.mark.kafka
@pytest.mark.slow
def test_every_receiver_has_one_firing_and_one_resolved_through_kills(
    names: Names, tmp_path: Path
) -> None:
    report = campaign(names, tmp_path, seed=15, kills=None, seconds=50.0)
    assert report.faults == []
    assert report.alerts > report.kills > 2
    assert (report.messages, report.doubled, report.lost) == (
        report.alerts * 2 * len(CHANNELS),
        0,
        0,
    )


def received(*kinds: str) -> Inbox:
    """What all channels have of the alert `a`, each under a key of its own."""
    own = Inbox()
    for name in CHANNELS:
        for number, kind in enumerate(kinds):
            own.taken[f"/{name}"][f"{number}"] = {"kind": kind, "group_key": "a"}
    return own


def test_lost_doubled_and_changed_notifications_are_found() -> None:
    alerts = [firing("a")]
    assert faults_of(received("firing", "resolved"), alerts) == []
    assert "a on one: ['firing']" in faults_of(received("firing"), alerts)
    assert miscounts(received("firing"), alerts) == (0, len(CHANNELS))
    assert miscounts(received("firing", "firing", "resolved"), alerts) == (len(CHANNELS), 0)
    doubled = faults_of(received("firing", "firing", "resolved"), alerts)
    assert "a on two: ['firing', 'firing', 'resolved']" in doubled
    other = received("firing", "resolved")
    other.taken["/three"]["9"] = {"kind": "resolved", "group_key": "b"}
    assert faults_of(other, alerts) == ["1 of kind resolved on three"]
    other = received("firing", "resolved")
    other.changed.append("0")
    assert faults_of(other, alerts) == ["key 0 came with another body"]
