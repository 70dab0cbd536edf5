"""When notifications are planned: each rule by a case of its own."""

from __future__ import annotations

from typing import Any

import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.streams.notify.planner import STATE_FORMAT, Planner
from driftline.streams.notify.stored import Memory
from tests.streams.notify_calls import START_MS, Desk, action, alert, changed, event, settings

TWO_LEVELS = {"ops": {"type": "log"}, "boss": {"type": "log", "level": 2}}
TWO = {"ops": {"type": "log"}, "chat": {"type": "log"}}


def test_critical_alert_is_told_after_group_wait_once_and_resolved_at_once() -> None:
    desk, bad = Desk(settings()), alert("a")
    desk.take(bad)
    desk.wait(9)
    assert desk.told() == []
    desk.wait(3600)
    desk.take(changed(bad, "resolved"))
    desk.wait(3600)
    assert desk.told() == [(10, "firing", ["a"]), (3609, "resolved", ["a"])]
    assert desk.planner.next_ms() is None
    assert [each.status for each in desk.records] == ["planned", "sent"] * 2


def test_warning_is_told_after_five_minutes_if_it_still_fires() -> None:
    desk = Desk(settings())
    short, long = alert("short", "warning"), alert("long", "warning")
    desk.take(short, long)
    desk.wait(299)
    desk.take(changed(short, "resolved"))
    desk.wait(10_000)
    assert desk.told() == [(300, "firing", ["long"])]


def test_info_is_for_channels_that_ask_for_it() -> None:
    channels = {"log": {"type": "log"}, "ops": {"type": "slack"}}
    desk = Desk(settings(channels))
    desk.take(alert("a", "info"))
    desk.wait(60)
    assert desk.told("log") == [(10, "firing", ["a"])]
    assert desk.told("ops") == []


def test_alerts_of_one_group_are_one_message_the_most_severe_first() -> None:
    desk = Desk(settings(delay={"warning": "0s"}))
    cause = alert("cause", "warning", group_id="g")
    effect = alert("effect", "critical", group_id="g")
    desk.take(cause)
    desk.wait(5)
    desk.take(effect)
    desk.wait(60)
    desk.take(changed(effect, "resolved"))
    desk.wait(60)
    desk.take(changed(cause, "resolved"))
    ((first, firing), (last, resolved)) = desk.sent
    assert (first, firing.kind, firing.group_key) == (10, "firing", "g")
    assert [each.alert_id for each in firing.alerts] == ["effect", "cause"]
    assert firing.severity == "critical"
    assert firing.title == "Critical: rule_effect of churn 1.4.2 and 1 more"
    assert (last, resolved.kind, resolved.group_key) == (125, "resolved", "g")
    assert sorted(each.alert_id for each in resolved.alerts) == ["cause", "effect"]


def test_alert_that_joins_a_told_group_is_an_update_after_group_wait() -> None:
    desk = Desk(settings())
    first, second = alert("a", group_id="g"), alert("b", "error", group_id="g")
    desk.take(first)
    desk.wait(100)
    desk.take(second)
    desk.wait(100)
    assert desk.told() == [(10, "firing", ["a"]), (110, "update", ["a", "b"])]


def test_rise_of_severity_is_told_at_once_also_before_the_delay_has_passed() -> None:
    desk, early, late = Desk(settings()), alert("early", "warning"), alert("late", "warning")
    desk.take(early, late)
    desk.wait(60)
    desk.take(changed(early, "escalated", severity="error"))
    desk.wait(540)
    desk.take(changed(late, "escalated", severity="critical"))
    assert desk.told() == [
        (60, "firing", ["early"]),
        (300, "firing", ["late"]),
        (600, "update", ["late"]),
    ]
    assert desk.sent[-1][1].severity == "critical"


def test_part_that_joins_is_an_update_after_group_wait() -> None:
    desk, bad = Desk(settings()), alert("a")
    desk.take(bad)
    desk.wait(60)
    desk.take(changed(bad, "joined"))
    desk.wait(9)
    assert len(desk.sent) == 1
    desk.wait(1)
    assert desk.told()[1:] == [(70, "update", ["a"])]


@pytest.mark.parametrize(("until", "told"), [(300, 1), (299, 0)])
def test_second_level_is_told_unless_acknowledged_in_five_minutes(until: int, told: int) -> None:
    desk, bad = Desk(settings(TWO_LEVELS)), alert("a")
    desk.take(bad)
    desk.wait(10 + until)
    desk.take(changed(bad, "acknowledged"))
    desk.wait(10_000)
    assert desk.told("ops") == [(10, "firing", ["a"])]
    assert desk.told("boss") == [(310, "escalation", ["a"])] * told


def test_escalation_begins_anew_when_an_acknowledgement_is_taken_back() -> None:
    desk, bad = Desk(settings(TWO_LEVELS)), alert("a")
    desk.take(bad)
    desk.wait(100)
    desk.take(changed(bad, "acknowledged"))
    desk.wait(1000)
    desk.take(changed(bad, "unacknowledged"))
    desk.wait(1000)
    assert desk.told("boss") == [(1400, "escalation", ["a"])]


def test_only_critical_alerts_reach_the_second_level_and_a_rise_counts_from_itself() -> None:
    desk = Desk(settings(TWO_LEVELS))
    error, rising = alert("error", "error"), alert("rising", "error")
    desk.take(error, rising)
    desk.wait(1000)
    desk.take(changed(rising, "escalated", severity="critical"))
    desk.wait(1000)
    assert desk.told("boss") == [(1300, "escalation", ["rising"])]


def test_third_level_is_told_as_long_after_the_second_and_both_hear_of_the_end() -> None:
    channels = TWO_LEVELS | {"top": {"type": "log", "level": 3}}
    desk, bad = Desk(settings(channels, escalate_after="1m")), alert("a")
    desk.take(bad)
    desk.wait(500)
    desk.take(changed(bad, "resolved"))
    assert desk.told("boss") == [(70, "escalation", ["a"]), (500, "resolved", ["a"])]
    assert desk.told("top") == [(130, "escalation", ["a"]), (500, "resolved", ["a"])]


def test_escalation_that_waits_for_its_channel_is_dropped_when_acknowledged() -> None:
    desk = Desk(settings(TWO_LEVELS), takes=lambda each: "away" if each.channel == "boss" else None)
    bad = alert("a")
    desk.take(bad)
    desk.wait(330)
    desk.take(changed(bad, "acknowledged"))
    tries = len(desk.tried)
    desk.wait(3600)
    assert desk.outcomes()["boss escalation"] == "dropped"
    assert len([each for _, each in desk.tried[tries:] if each.kind == "escalation"]) == 0


def test_response_escalates_a_warning_to_both_levels_at_once_and_each_id_once() -> None:
    channels = TWO_LEVELS | {"top": {"type": "log", "level": 3, "min_severity": "warning"}}
    channels["boss"] = channels["boss"] | {"min_severity": "warning"}
    desk, bad = Desk(settings(channels)), alert("a", "warning")
    desk.take(bad)
    desk.wait(7)
    desk.take_actions(action(bad))
    desk.wait(5)
    desk.take_actions(action(bad))
    desk.wait(3600)
    assert desk.told("ops") == [(7, "firing", ["a"])]
    assert desk.told("boss") == [(7, "escalation", ["a"])]
    assert desk.told("top") == []
    assert "Escalated by itself, as the response call says." in desk.sent[1][1].text
    desk.take_actions(action(bad, "again"))
    assert desk.told("top") == [(3612, "escalation", ["a"])]
    desk.take(changed(bad, "resolved"))
    assert [each[1] for each in desk.told()[-3:]] == ["resolved"] * 3


def test_escalation_goes_on_from_the_level_that_was_told_by_time() -> None:
    channels = TWO_LEVELS | {"top": {"type": "log", "level": 3}}
    desk, bad = Desk(settings(channels)), alert("a")
    desk.take(bad)
    desk.wait(400)
    desk.take_actions(action(bad))
    assert desk.told("boss") == [(310, "escalation", ["a"])]
    assert desk.told("top") == [(400, "escalation", ["a"])]
    assert "Escalated by itself" not in desk.sent[1][1].text
    desk.take_actions(action(bad, "nobody is left"))
    desk.wait(3600)
    assert len(desk.sent) == 3


@pytest.mark.parametrize(("seconds", "told"), [(3599, [(3599, "escalation", ["a"])]), (3600, [])])
def test_escalation_that_is_read_before_its_alert_waits_an_hour_for_it(
    seconds: int, told: list[tuple[int, str, list[str]]]
) -> None:
    desk, bad = Desk(settings(TWO_LEVELS)), alert("a", "error")
    desk.take_actions(action(bad))
    desk.wait(seconds)
    desk.crash()
    desk.take(bad)
    desk.wait(60)
    assert desk.told("boss") == told
    assert Memory(desk.state).early == {}


def test_escalation_of_an_acknowledged_or_silenced_alert_is_told_when_that_ends() -> None:
    desk = Desk(settings(TWO_LEVELS))
    taken = changed(alert("taken", "error"), "acknowledged")
    quiet = changed(alert("quiet", "error"), "silenced")
    desk.take(taken, quiet)
    desk.take_actions(action(taken), action(quiet))
    desk.wait(100)
    assert desk.told("boss") == []
    desk.take(changed(taken, "unacknowledged"))
    desk.wait(100)
    desk.take(changed(quiet, "unsilenced"))
    assert desk.told("boss") == [(100, "escalation", ["taken"]), (200, "escalation", ["quiet"])]


def test_dry_runs_other_actions_and_escalations_of_resolved_alerts_tell_nothing() -> None:
    desk, bad, over = Desk(settings(TWO_LEVELS)), alert("a", "error"), alert("over", "error")
    desk.take(bad, over)
    desk.wait(60)
    desk.take(changed(over, "resolved"))
    desk.take_actions(
        action(bad, "try", outcome="dry_run", dry_run=True),
        action(bad, "late", outcome="cool_down"),
        action(bad, "other", action="clear_cache"),
        action(over),
    )
    desk.wait(7200)
    assert desk.told("boss") == []


def test_escalation_from_before_the_first_start_is_told_if_its_alert_is_open() -> None:
    desk, bad, over = Desk(settings(TWO_LEVELS), start=False), alert("a", "error"), alert("over")
    desk.take(bad, over)
    desk.take_actions(action(bad), action(over))
    desk.take(changed(over, "resolved"))
    desk.wait(60)
    desk.planner.start(desk.now_ms)
    desk.settle()
    desk.wait(60)
    assert desk.told() == [(60, "firing", ["a"]), (60, "escalation", ["a"])]


def test_alert_that_was_refused_and_is_over_is_not_told_with_the_next_one_of_its_group() -> None:
    desk = Desk(settings(TWO_LEVELS), takes=lambda each: "no" if each.channel == "ops" else None)
    desk.is_permanent = True
    first, second = alert("a", group_id="g"), alert("b", group_id="g")
    desk.take(first)
    desk.wait(310)
    desk.take(second)
    desk.wait(1)
    desk.take(changed(first, "resolved"))
    desk.takes = lambda each: None
    desk.wait(60)
    assert desk.told("ops")[-1] == (320, "firing", ["b"])
    assert desk.told("boss") == [(310, "escalation", ["a"]), (320, "update", ["b", "a"])]


def test_repeat_until_acknowledged() -> None:
    desk, bad = Desk(settings(repeat="1h")), alert("a")
    desk.take(bad)
    desk.wait(2 * 3600 + 10)
    desk.take(changed(bad, "acknowledged"))
    desk.wait(5 * 3600)
    assert desk.told() == [(10, "firing", ["a"]), (3610, "update", ["a"]), (7210, "update", ["a"])]
    assert desk.sent[1][1].title == "Critical, still firing: rule_a of churn 1.4.2"


def test_silenced_alert_is_told_when_the_silence_ends_while_it_fires() -> None:
    desk = Desk(settings())
    kept, gone = alert("kept"), alert("gone")
    desk.take(changed(kept, "silenced"), changed(gone, "silenced"))
    desk.wait(1000)
    desk.take(changed(gone, "resolved", silenced_by=["night"]))
    desk.wait(1000)
    assert desk.told() == []
    desk.take(changed(kept, "unsilenced"))
    assert desk.told() == [(2000, "firing", ["kept"])]


def test_silence_after_the_firing_was_told_stops_news_but_not_the_end() -> None:
    desk, bad = Desk(settings(TWO_LEVELS, repeat="1m")), alert("a")
    desk.take(bad)
    desk.wait(30)
    silenced = changed(bad, "silenced")
    desk.take(silenced)
    desk.wait(1000)
    desk.take(changed(silenced, "resolved"))
    assert desk.told() == [(10, "firing", ["a"]), (1030, "resolved", ["a"])]


def test_resolved_goes_only_to_channels_that_got_the_firing() -> None:
    channels = TWO | {"errors": {"type": "log", "min_severity": "error", "models": ["other"]}}
    desk, bad = Desk(settings(channels)), alert("a")
    desk.take(bad)
    desk.wait(60)
    desk.take(changed(bad, "resolved"))
    assert {each.channel for _, each in desk.sent} == {"ops", "chat"}


def test_channel_gets_the_end_of_what_it_knows_though_the_severity_has_fallen() -> None:
    channels = {"ops": {"type": "log", "min_severity": "error"}}
    desk, bad = Desk(settings(channels)), alert("a", "error")
    desk.take(bad)
    desk.wait(60)
    low = changed(bad, "joined", severity="warning")
    desk.take(low)
    desk.wait(60)
    desk.take(changed(low, "resolved"))
    assert [kind for _, kind, _ in desk.told()][-1] == "resolved"


def test_group_fires_anew_after_its_end_was_told() -> None:
    desk = Desk(settings())
    first, second = alert("a", group_id="g"), alert("b", group_id="g")
    desk.take(first)
    desk.wait(60)
    desk.take(changed(first, "resolved"))
    desk.wait(60)
    desk.take(second)
    desk.wait(60)
    assert [(kind, ids) for _, kind, ids in desk.told()] == [
        ("firing", ["a"]),
        ("resolved", ["a"]),
        ("firing", ["b"]),
    ]
    assert desk.sent[0][1].notification_id != desk.sent[2][1].notification_id


def test_firing_that_was_never_attempted_is_dropped_with_its_end() -> None:
    desk, bad = Desk(settings()), alert("a")
    desk.planner.take_alerts([bad], START_MS)
    desk.now_ms += 10_000
    desk.plan()
    desk.take(changed(bad, "resolved"))
    desk.wait(3600)
    assert desk.tried == []
    assert desk.outcomes() == {"ops firing": "dropped"}


def test_firing_that_may_have_been_sent_is_followed_by_its_end() -> None:
    desk = Desk(settings(), takes=lambda each: "away" if each.kind == "firing" else None)
    bad = alert("a")
    desk.take(bad)
    desk.wait(12)
    desk.take(changed(bad, "resolved"))
    assert desk.told() == [(12, "resolved", ["a"])]
    assert desk.outcomes() == {"ops firing": "dropped", "ops resolved": "sent"}


def test_end_waits_for_the_result_of_a_firing_that_is_being_sent() -> None:
    desk, bad = Desk(settings()), alert("a")
    desk.planner.take_alerts([bad], START_MS)
    desk.now_ms += 10_000
    desk.plan()
    (flying,) = desk.planner.to_send(desk.now_ms)
    desk.take(changed(bad, "resolved"))
    assert desk.told() == []
    desk.attempt(flying)
    desk.settle()
    assert [kind for _, kind, _ in desk.told()] == ["firing", "resolved"]


def test_changes_before_the_first_attempt_go_into_the_message_that_waits() -> None:
    desk, bad = Desk(settings()), alert("a", "error")
    desk.planner.take_alerts([bad], START_MS)
    desk.now_ms += 10_000
    desk.plan()
    desk.take(changed(bad, "escalated", severity="critical"))
    desk.wait(3600)
    assert desk.told() == [(10, "firing", ["a"])]
    assert desk.sent[0][1].severity == "critical"
    assert len({each.notification_id for each in desk.records}) == 1


def test_changes_after_an_attempt_become_one_update() -> None:
    away = True
    desk = Desk(settings(), takes=lambda each: "away" if away else None)
    bad = alert("a", "warning")
    desk.take(bad)
    desk.wait(400)
    error = changed(bad, "escalated", severity="error")
    desk.take(error)
    desk.wait(100)
    desk.take(changed(error, "escalated", severity="critical"))
    away = False
    desk.wait(3600)
    assert [(each.kind, each.severity) for _, each in desk.sent] == [
        ("firing", "warning"),
        ("update", "critical"),
    ]


def test_attempts_are_further_and_further_apart_and_the_id_stays() -> None:
    desk = Desk(settings(), takes=lambda each: "away")
    desk.take(alert("a"))
    desk.wait(3600)
    at_s = [seconds for seconds, _ in desk.tried]
    gaps = [after - before for before, after in zip(at_s, at_s[1:], strict=False)]
    # 5, 10, 20, ... s, of which a hash takes up to a half; 1 s for the cut of milliseconds.
    for i, gap in enumerate(gaps):
        full = min(600, 5 * 2**i)
        assert full / 2 - 1 <= gap <= full + 1
    assert max(gaps) <= 600
    assert len({each.notification_id for _, each in desk.tried if each.channel == "ops"}) == 1


def test_notification_is_given_up_after_a_day() -> None:
    desk = Desk(settings(), takes=lambda each: "away")
    desk.take(alert("a"))
    desk.wait(2 * 86_400)
    (failed,) = (each for each in desk.records if each.status == "failed")
    assert failed.error == "away"
    assert 86_400 <= desk.tried[-1][0] - 10 <= 86_400 + 600


def test_permanent_failure_ends_a_notification_at_once_and_no_end_follows() -> None:
    desk = Desk(settings(), takes=lambda each: "status 400")
    desk.is_permanent, bad = True, alert("a")
    desk.take(bad)
    desk.wait(3600)
    assert len(desk.tried) == 1
    desk.take(changed(bad, "resolved"))
    desk.wait(3600)
    assert len(desk.tried) == 1
    assert desk.outcomes() == {"ops firing": "failed"}


def test_channel_that_asks_for_a_pause_gets_nothing_until_then() -> None:
    calls: list[str] = []

    def takes(each: Any) -> str | None:
        calls.append(each.group_key)
        return "slow down" if len(calls) == 1 else None

    desk = Desk(settings(), takes=takes)
    desk.retry_after_ms = 120_000
    desk.take(alert("a"))
    desk.wait(10)
    desk.take(alert("b"))
    desk.wait(3600)
    assert [seconds for seconds, _ in desk.sent] == [130, 130]


def test_channel_that_fails_for_ten_minutes_is_an_alert_for_the_other_channels() -> None:
    away = True
    desk = Desk(
        settings(TWO), takes=lambda each: "away" if away and each.channel == "ops" else None
    )
    desk.take(alert("a"))
    desk.wait(1800)
    (fired,) = desk.raised
    assert (fired.rule, fired.segment, fired.status) == ("channel_failed", "channel=ops", "firing")
    assert fired.severity == "error"
    since_s = (fired.at_ms - START_MS) // 1000 - 10
    assert 600 <= since_s <= 1200
    away = False
    desk.wait(1800)
    assert [each.status for each in desk.raised] == ["firing", "resolved"]
    about = [
        (each.channel, each.kind)
        for _, each in desk.sent
        if "channel ops takes no notifications" in each.title
    ]
    assert about == [("chat", "firing"), ("chat", "resolved")]


def test_alert_about_a_channel_that_comes_back_from_the_topic_is_passed_over() -> None:
    desk = Desk(settings(TWO), takes=lambda each: "401" if each.channel == "ops" else None)
    desk.is_permanent = True
    desk.take(alert("a"))
    desk.wait(60)
    sent = len(desk.sent)
    desk.take(*desk.raised)
    desk.wait(60)
    assert len(desk.raised) == 1
    assert len(desk.sent) == sent


def test_what_exceeds_the_rate_limit_goes_into_one_digest() -> None:
    # 4 in 60 s: a burst of 2, then one each 20 s.
    desk = Desk(settings(rate_limit="4/1m"))
    desk.take(*(alert(name, "error") for name in "abcd"), alert("e"))
    desk.wait(300)
    assert desk.told() == [
        (10, "firing", ["e"]),
        (10, "firing", ["a"]),
        (30, "digest", ["b", "c", "d"]),
    ]
    assert desk.sent[-1][1].title == "Held back: 3 open alerts, 0 resolved"


def test_no_span_has_more_messages_than_the_rate_limit() -> None:
    desk = Desk(settings(rate_limit="5/1m"))
    for i in range(100):
        desk.take(alert(f"a{i}"))
        desk.wait(3)
    at_s = [seconds for seconds, _ in desk.sent]
    assert all(sum(t <= other < t + 60 for other in at_s) <= 5 for t in at_s)
    told = {each.alert_id for _, sent in desk.sent for each in sent.alerts}
    desk.wait(60)
    assert len(told) >= 90


def test_one_message_above_the_rate_limit_is_sent_as_itself() -> None:
    desk = Desk(settings(rate_limit="1/1m"))
    desk.take(alert("a"), alert("b"))
    desk.wait(300)
    assert desk.told() == [(10, "firing", ["a"]), (70, "firing", ["b"])]


def test_digest_counts_what_fired_and_was_resolved_while_it_was_held_back() -> None:
    desk = Desk(settings(rate_limit="1/1m"))
    alerts = [alert(name) for name in "abcd"]
    desk.take(*alerts)
    desk.wait(20)
    desk.take(changed(alerts[1], "resolved"))
    desk.wait(60)
    digest = desk.sent[-1][1]
    assert (digest.kind, digest.title) == ("digest", "Held back: 2 open alerts, 1 resolved")
    assert sorted(each.alert_id for each in digest.alerts) == ["b", "c", "d"]
    desk.take(changed(alerts[2], "resolved"))
    desk.wait(120)
    assert desk.told()[-1][1:] == ("resolved", ["c"])


def test_quiet_hours_hold_back_what_is_not_urgent_for_one_digest() -> None:
    night = {"from": "22:00", "to": "07:00", "below": "critical"}
    desk = Desk(settings(quiet_hours=night), at_ms=START_MS + 13 * 3_600_000)  # 23:00
    low, gone, urgent = alert("low", "error"), alert("gone", "error"), alert("urgent")
    desk.take(low, gone, alert("other", "warning"), urgent)
    desk.wait(3600)
    desk.take(changed(gone, "resolved"), changed(urgent, "resolved"))
    desk.wait(9 * 3600)
    assert desk.told() == [
        (10, "firing", ["urgent"]),
        (3600, "resolved", ["urgent"]),
        (8 * 3600, "digest", ["low", "other", "gone"]),
    ]


def test_rise_above_the_quiet_hours_is_told_at_once() -> None:
    night = {"from": "22:00", "to": "07:00"}
    desk = Desk(settings(quiet_hours=night), at_ms=START_MS + 13 * 3_600_000)
    bad = alert("a", "error")
    desk.take(bad)
    desk.wait(3600)
    desk.take(changed(bad, "escalated", severity="critical"))
    assert desk.told() == [(3600, "firing", ["a"])]


def test_quiet_hours_follow_the_clock_of_the_time_zone() -> None:
    night = {"from": "22:00", "to": "07:00"}
    # 05:30 UTC is 06:30 in Berlin in November.
    at_ms = START_MS - 4 * 3_600_000 - 30 * 60_000
    desk = Desk(settings(quiet_hours=night, time_zone="Europe/Berlin"), at_ms=at_ms)
    desk.take(alert("a", "error"))
    desk.wait(7200)
    assert desk.told() == [(1800, "firing", ["a"])]


def test_daily_digest_lists_open_alerts_and_what_happened_since_the_last() -> None:
    desk = Desk(settings(daily_digest="08:00", delay={"warning": "0s"}))
    kept, gone = alert("kept", "warning"), alert("gone")
    desk.take(kept, gone)
    desk.take_events(event("set_threshold", requested_by="driftline", cause="r-1", reason="better"))
    desk.wait(3600)
    desk.take(changed(gone, "resolved"))
    desk.wait(2 * 86_400)
    daily = [(seconds, each) for seconds, each in desk.sent if each.kind == "daily_digest"]
    assert [seconds for seconds, _ in daily] == [22 * 3600, 46 * 3600]
    first, second = daily[0][1], daily[1][1]
    assert first.title == "Daily digest: 1 open alert, 1 resolved, 1 change applied"
    assert [each.alert_id for each in first.alerts] == ["kept", "gone"]
    assert [each.cause for each in first.events] == ["r-1"]
    assert second.title == "Daily digest: 1 open alert, 0 resolved, 0 changes applied"


def test_changes_of_the_registry_are_one_notice_dry_runs_and_rejected_ones_are_none() -> None:
    channels = {"ops": {"type": "log"}, "pager": {"type": "pagerduty"}}
    desk = Desk(settings(channels))
    desk.take_events(event(), event("rejected"), event(dry_run=True))
    for fact in ("record_labels", "record_reference", "record_baseline"):
        desk.take_events(event(fact, requested_by="driftline"))
    desk.wait(5)
    desk.take_events(event("set_threshold", requested_by="driftline", cause="r-1", reason="better"))
    desk.wait(60)
    ((seconds, notice),) = desk.sent
    assert (seconds, notice.channel, notice.kind, notice.severity) == (10, "ops", "notice", "info")
    assert [each.event for each in notice.events] == ["promote", "set_threshold"]
    assert "because of r-1: better" in notice.text


def test_names_with_line_breaks_stay_on_their_line() -> None:
    desk = Desk(settings({"ops": {"type": "log"}}))
    forged = "churn\nResolved: all is well"
    desk.take(alert("a", model_name=forged, summary="a is bad.\nAll is well."))
    desk.take_events(event(model_name=forged, requested_by="ann\nbob", reason="no\nreason"))
    desk.wait(60)
    firing, notice = (each for _, each in desk.sent)
    assert firing.text.splitlines()[:2] == [
        "Critical: rule_a of churn Resolved: all is well 1.4.2",
        "a is bad. All is well.",
    ]
    assert notice.text.splitlines() == [
        "churn Resolved: all is well 1.4.2 was promoted",
        "(by ann bob at 2026-11-30 10:00 UTC: no reason; revision 3)",
        "",
        "Next: driftline models show churn Resolved: all is well",
    ]


def test_first_start_over_an_old_topic_tells_what_is_still_open_once() -> None:
    desk = Desk(settings(), start=False)
    old = [alert("gone"), alert("kept")]
    desk.take(*old, changed(old[0], "resolved"))
    desk.take_events(event())
    desk.wait(600)
    assert desk.records == []
    desk.planner.start(desk.now_ms)
    desk.wait(600)
    assert desk.told() == [(610, "firing", ["kept"])]
    desk.crash()
    assert desk.planner.is_started
    desk.planner.start(desk.now_ms)
    desk.wait(600)
    assert len(desk.sent) == 1


def test_compacted_topic_begins_with_any_record() -> None:
    desk, bad = Desk(settings()), alert("a")
    desk.take(changed(bad, "joined"), changed(alert("b"), "resolved"))
    desk.wait(60)
    assert desk.told() == [(10, "firing", ["a"])]


def test_new_channel_is_told_what_is_open() -> None:
    desk = Desk(settings())
    desk.take(alert("a"))
    desk.wait(60)
    desk.crash(settings(TWO))
    desk.settle()
    assert desk.told("chat") == [(60, "firing", ["a"])]
    assert len(desk.told("ops")) == 1


def test_what_waits_for_a_removed_channel_is_dropped() -> None:
    desk = Desk(settings(TWO), takes=lambda each: "401" if each.channel == "ops" else None)
    desk.is_permanent = True
    desk.take(alert("a"))
    desk.wait(10)
    desk.is_permanent = False
    desk.take(alert("b"))
    desk.wait(10)
    desk.crash(settings({"chat": {"type": "log"}}))
    desk.wait(3600)
    last = {each.notification_id: each for each in desk.records}
    assert [each.status for each in last.values() if each.channel == "ops"] == ["failed", "dropped"]
    assert [each.status for each in desk.raised] == ["firing", "resolved"]


def test_pending_counts_what_has_no_result() -> None:
    desk = Desk(settings(), takes=lambda each: "away")
    desk.take(alert("a"))
    desk.wait(15)
    desk.take(alert("b"))
    desk.wait(15)
    pending = desk.planner.pending()["ops"]
    assert (pending.count, pending.oldest_ms) == (2, START_MS + 10_000)


def test_state_is_empty_again_when_all_is_over() -> None:
    desk, bad = Desk(settings()), alert("a")
    desk.take(bad)
    desk.wait(60)
    desk.take(changed(bad, "resolved"))
    desk.wait(60)
    memory = Memory(desk.state)
    assert (memory.groups, memory.planned) == ({}, {})


def test_state_of_another_format_is_refused() -> None:
    state = MemoryState()
    planner = Planner(settings(), state)
    planner.start(START_MS)
    for key, value in state.values.items():
        assert value[1] == STATE_FORMAT
        state.values[key] = value[:1] + bytes([STATE_FORMAT + 1]) + value[2:]
    with pytest.raises(ValueError, match=f"format {STATE_FORMAT + 1}, needed {STATE_FORMAT}"):
        Planner(settings(), state)


def test_text_says_what_happened_since_when_and_what_to_look_at_next() -> None:
    desk = Desk(settings())
    desk.take(
        alert(
            "a",
            segment="plan=pro",
            metric="f1",
            value=0.712,
            baseline=0.8,
            threshold=0.75,
            n=1234,
            window="1d",
            runbook_url="https://wiki.example/f1",
        )
    )
    desk.wait(10)
    notification = desk.sent[0][1]
    assert notification.title == "Critical: rule_a of churn 1.4.2 (plan=pro)"
    assert notification.text == (
        "Critical: rule_a of churn 1.4.2 (plan=pro)\n"
        "a is bad.\n"
        "Since 2026-11-30 10:00 UTC; F1 0.712, baseline 0.8, threshold 0.75, n = 1,234, "
        "window 1d.\n"
        "Next: driftline alerts show a\n"
        "Runbook: https://wiki.example/f1"
    )
