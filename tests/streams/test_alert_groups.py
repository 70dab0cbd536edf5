"""Alerts of one version that probably have one cause share a group."""

from __future__ import annotations

import pytest

from driftline.schemas.results import Alert
from driftline.schemas.times import DAY_MS, HOUR_MS
from driftline.streams.decide.alert_groups import NEAR_MS, group_of
from driftline.streams.decide.alert_lifecycle import AlertState
from tests.streams.test_decide import START_MS, Run, days, drift, drift_days, low_f1, traffic

DRIFT = {"type": "drift", "for": 1}


def open_drift(run: Run, day: int) -> Alert:
    """Open an alert on a feature, whose window of 7 days ends on a day."""
    end = START_MS + day * DAY_MS
    run.feed(drift(end, "feature:income", "severe"))
    (fired,) = run.feed(traffic(end + HOUR_MS, {}), *days(0.9, first=day + 1))
    return fired


def test_a_loss_of_performance_joins_the_group_of_the_drift_before_it() -> None:
    run = Run(rules=(low_f1(), DRIFT), default_rules=False)
    moved = open_drift(run, 8)
    (lost,) = run.feed(*days(0.7, first=10))
    assert moved.group_id == moved.alert_id
    assert (lost.group_id, lost.alert_id != moved.alert_id) == (moved.alert_id, True)
    assert lost.summary.endswith(
        "; it probably has one cause with drift, which fired on 2026-01-09."
    )


def test_a_group_goes_on_after_its_first_alert_was_resolved() -> None:
    run = Run(rules=(low_f1(), low_f1(name="f1_very_low", below=0.5), DRIFT), default_rules=False)
    moved = open_drift(run, 8)
    run.feed(*days(0.7, first=10))
    end = START_MS + 9 * DAY_MS
    run.feed(drift(end, "feature:income", "none"))
    (over,) = run.feed(traffic(end + 3 * DAY_MS, {}), *days(0.7, first=11))
    assert (over.rule, over.status, over.group_id) == ("drift", "resolved", moved.alert_id)
    (worse,) = run.feed(*days(0.4, first=12))
    assert (worse.rule, worse.group_id) == ("f1_very_low", moved.alert_id)


def test_a_loss_long_after_a_drift_that_goes_on_is_a_group_of_its_own() -> None:
    run = Run(rules=(low_f1(), DRIFT), default_rules=False)
    open_drift(run, 8)
    (lost,) = run.feed(*days(*[0.9] * 10, 0.7, first=10))
    assert lost.group_id == lost.alert_id
    assert "one cause" not in lost.summary


def test_a_target_that_joins_an_old_alert_explains_a_loss_that_follows() -> None:
    run = Run(rules=(low_f1(below=0.5), DRIFT | {"for": 2}), default_rules=False)
    one, both = {"a": "severe"}, {"a": "severe", "b": "severe"}
    alerts = drift_days(run, *[one] * 20, both, both)
    (fired,), (joined,) = [alert for alert in alerts if alert]
    assert joined.details["joined"] == ["feature:b"]
    (lost,) = run.feed(*days(0.4, first=31))
    assert lost.group_id == fired.alert_id


def test_alerts_about_the_supply_and_about_behavior_are_never_one_group() -> None:
    run = Run(rules=(DRIFT, {"type": "no_data", "silence": "2h"}), default_rules=False)
    moved = open_drift(run, 8)
    first = 9 * 24
    run.feed(traffic(START_MS + first * HOUR_MS, {}, n_predictions=10))
    silent = [
        traffic(START_MS + (first + hour) * HOUR_MS, {}, n_predictions=0) for hour in range(1, 9)
    ]
    (missing,) = run.feed(*silent)
    assert (missing.rule, missing.group_id) == ("no_data", missing.alert_id)
    assert missing.group_id != moved.group_id


def test_versions_have_groups_of_their_own() -> None:
    run = Run(rules=(low_f1(), DRIFT), default_rules=False)
    moved = open_drift(run, 8)
    (lost,) = run.feed(*days(0.7, first=10, model_version="2.0.0"))
    assert lost.group_id == lost.alert_id != moved.group_id


@pytest.mark.parametrize(
    ("began_ms", "news_ms", "joins"),
    # Announced before the other began, or begun after it was announced, by at most NEAR_MS.
    [
        (0, 10 * DAY_MS - NEAR_MS, True),
        (0, 10 * DAY_MS - NEAR_MS - 1, False),
        (20 * DAY_MS + NEAR_MS, 40 * DAY_MS, True),
        (20 * DAY_MS + NEAR_MS + 1, 40 * DAY_MS, False),
        (12 * DAY_MS, 13 * DAY_MS, True),
        (0, 90 * DAY_MS, True),
    ],
)
def test_times_overlap_by_hand(began_ms: int, news_ms: int, joins: bool) -> None:
    other = AlertState(firing=True, began_ms=10 * DAY_MS, news_ms=20 * DAY_MS)
    state = AlertState(firing=True, began_ms=began_ms, news_ms=news_ms)
    assert (group_of(state, [("drift", other)]) is not None) is joins


def test_the_first_that_fired_of_several_leads() -> None:
    near = [
        ("data_quality", AlertState(began_ms=2, news_ms=3, group_id="first")),
        ("drift", AlertState(began_ms=1, news_ms=4, group_id="second")),
    ]
    found = group_of(AlertState(began_ms=3, news_ms=5), near)
    assert found is not None
    assert found[1].group_id == "first"
