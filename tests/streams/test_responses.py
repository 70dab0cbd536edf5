"""Responses to alerts: configuration, when one is taken, and what a person takes back."""

from __future__ import annotations

from typing import Any

import pytest

from driftline.schemas.results import to_plain
from driftline.schemas.settings import ModelConfig
from driftline.streams.registry.response import build_responses, require_rules
from tests.streams.response_run import ResponseRun, alert_of, at, command_of, deployed

RECOVERY: dict[str, Any] = {
    "rule": "performance_drop",
    "action": "attempt_recovery",
    "dry_run": False,
    "cool_down": "6h",
    "most_a_day": 2,
}
VERSION: dict[str, Any] = {
    "rule": "performance_drop",
    "action": "rollback_version",
    "dry_run": False,
    "cool_down": "0s",
    "most_a_day": 100,
    "hold_off": "7d",
}
CONFIGURATION = VERSION | {"action": "rollback_configuration"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r'\[0\]: the key "rule" is missing'),
        ({"rule": "drift"}, r'\[0\]: the key "action" is missing'),
        ({"rule": "", "action": "log"}, r"\[0\]\.rule: must not be empty"),
        ({"rule": "drift", "action": "explode"}, r'\[0\]\.action: "explode" is none of the words'),
        ({"rule": "drift", "action": "log", "dryrun": True}, r'\[0\]: the key "dryrun" is not'),
        ({"rule": "drift", "action": "log", "dry_run": 1}, r"\[0\]\.dry_run: has to be true or"),
        ({"rule": "drift", "action": "log", "severity": "bad"}, r'\[0\]\.severity: "bad" is none'),
        ({"rule": "drift", "action": "log", "cool_down": "soon"}, r"\[0\]\.cool_down: "),
        ({"rule": "drift", "action": "log", "hold_off": "-1d"}, r"\[0\]\.hold_off: "),
        ({"rule": "drift", "action": "log", "most_a_day": 0}, r"\[0\]\.most_a_day: has to be"),
        ({"rule": "drift", "action": "log", "segment": "age=1"}, r'\[0\]\.segment: "age=1" is nei'),
        ({"rule": "drift", "action": "log", "segment": "young"}, r'\[0\]\.segment: "young" is nei'),
        ({"rule": "drift", "action": "log", "params": {"a": [1]}}, r"\[0\]\.params\[\.\.\.\]: has"),
        (
            {"rule": "drift", "action": "rollback_version", "params": {"a": 1}},
            r'\[0\]\.params: "rollback_version" takes none',
        ),
    ],
)
def test_wrong_response_is_rejected_with_its_path(table: dict[str, Any], message: str) -> None:
    config = ModelConfig(responses=(table,), segments=("plan",))
    with pytest.raises(ValueError, match=rf"^models\.churn\.responses{message}"):
        build_responses(config, "models.churn.responses")


def test_two_responses_of_one_name_are_rejected() -> None:
    table = {"rule": "drift", "action": "log"}
    with pytest.raises(ValueError, match=r'^defaults\.responses\[1\]\.name: "drift/log" is anoth'):
        build_responses(ModelConfig(responses=(table, table)))
    assert len(build_responses(ModelConfig(responses=(table, table | {"name": "other"})))) == 2


def test_a_response_has_to_answer_a_rule_of_the_model() -> None:
    config = ModelConfig(responses=({"rule": "drift*", "action": "log"},))
    require_rules(build_responses(config), config, ["no_data", "drift_of_age"])
    with pytest.raises(ValueError, match=r'^defaults\.responses\[0\]\.rule: "drift\*" is no rule'):
        require_rules(build_responses(config), config, ["no_data"])
    # A command may create it later.
    require_rules(build_responses(config), config, ["no_data"], ["drift_high"])


def test_nothing_is_configured_by_default_and_a_response_is_a_dry_run_of_critical_alerts() -> None:
    assert build_responses(ModelConfig()) == ()
    (response,) = build_responses(ModelConfig(responses=({"rule": "drift", "action": "log"},)))
    assert (response.dry_run, response.severity, response.segment) == (True, "critical", "all")
    assert (response.cool_down, response.most_a_day, response.hold_off) == ("1d", 1, "7d")


def test_an_alert_that_fires_leads_to_one_action_that_names_it() -> None:
    run = ResponseRun(RECOVERY | {"params": {"pool": "eu"}})
    (action,) = run.feed(alert_of(1), alert_of(2, "joined", episode=1))
    assert action.action_id
    assert to_plain(action) | {"action_id": ""} == {
        "action_id": "",
        "action": "attempt_recovery",
        "response": "performance_drop/attempt_recovery",
        "model_name": "churn",
        "model_version": "1.1",
        "segment": "all",
        "rule": "performance_drop",
        "alert_id": "1.1-all-performance_drop-1",
        "severity": "critical",
        "outcome": "taken",
        "dry_run": False,
        "at": "2026-11-01T01:00:00Z",
        "reason": "critical alert performance_drop: recall fell",
        "params": {"pool": "eu"},
    }
    assert run.events == []


@pytest.mark.parametrize(
    ("response", "alert", "answered"),
    [
        ({}, {}, True),
        ({}, {"rule": "drift"}, False),
        ({"rule": "*"}, {"rule": "drift"}, True),
        ({"rule": "perf*"}, {}, True),
        ({"severity": "error"}, {"severity": "critical"}, True),
        ({"severity": "error"}, {"severity": "error"}, True),
        ({"severity": "error"}, {"severity": "warning"}, False),
        ({}, {"segment": "plan=pro"}, False),
        ({"segment": "plan=*"}, {"segment": "plan=pro"}, True),
        ({"segment": "plan=*"}, {}, False),
        ({"segment": "*"}, {"segment": "plan=pro"}, True),
    ],
)
def test_a_response_answers_the_rule_the_severity_and_the_segment_that_it_names(
    response: dict[str, Any], alert: dict[str, Any], answered: bool
) -> None:
    run = ResponseRun(RECOVERY | response)
    assert run.outcomes(alert_of(1, **alert)) == (["taken"] if answered else [])


def test_an_escalation_leads_to_the_response_that_wants_its_severity() -> None:
    warned = RECOVERY | {"action": "log", "severity": "warning"}
    run = ResponseRun(warned, RECOVERY)
    assert [each.action for each in run.feed(alert_of(1, severity="warning"))] == ["log"]
    escalated = alert_of(2, "escalated", episode=1, severity="critical")
    assert [each.action for each in run.feed(escalated)] == ["attempt_recovery"]
    assert run.feed(alert_of(3, "joined", episode=1)) == []


@pytest.mark.parametrize("change", ["acknowledged", "unacknowledged", "silenced", "resolved"])
def test_no_other_change_leads_to_an_action(change: Any) -> None:
    run = ResponseRun(RECOVERY)
    assert run.feed(alert_of(2, change, episode=1)) == []


def test_cool_down_and_the_maximum_of_a_day_are_told_once_in_an_episode() -> None:
    # taken at 1 and 8 (6 h after it ended the cool-down); at 20 the day is used up; the next day
    # begins at 24
    run = ResponseRun(RECOVERY)
    assert run.outcomes(alert_of(1), alert_of(2, "resolved", episode=1)) == ["taken"]
    assert run.outcomes(alert_of(6.9)) == ["cool_down"]
    assert run.outcomes(alert_of(6.95, "joined", episode=6.9)) == []
    assert run.outcomes(alert_of(7, "joined", episode=6.9)) == ["taken"]
    assert run.outcomes(alert_of(20)) == ["most_a_day"]
    assert run.outcomes(alert_of(24, "joined", episode=20)) == ["taken"]
    reasons = [action.reason for action in run.actions]
    assert reasons[1] == (
        "taken at 2026-11-01T01:00:00Z because of 1.1-all-performance_drop-1; not again within 6h"
    )
    assert reasons[3] == (
        "taken as often as a day allows (2), last at 2026-11-01T07:00:00Z because of "
        "1.1-all-performance_drop-6.9"
    )


def test_an_alert_of_the_past_is_within_the_cool_down() -> None:
    run = ResponseRun(RECOVERY | {"cool_down": "0s", "most_a_day": 1})
    assert run.outcomes(alert_of(25)) == ["taken"]
    assert run.outcomes(alert_of(25, version="1.2")) == ["most_a_day"]
    assert run.outcomes(alert_of(23, version="1.0")) == ["cool_down"]


def test_a_dry_run_is_recorded_as_such_and_counted_apart() -> None:
    dry = RECOVERY | {"dry_run": True}
    run = ResponseRun(dry)
    assert run.outcomes(alert_of(1), alert_of(2)) == ["dry_run", "cool_down"]
    assert all(action.dry_run for action in run.actions)
    real = ResponseRun(RECOVERY)
    real.state = run.state
    assert real.outcomes(alert_of(3, "escalated", episode=1)) == ["taken"]


def test_a_silenced_alert_leads_to_nothing_until_its_silence_ends() -> None:
    run = ResponseRun(RECOVERY)
    assert run.outcomes(alert_of(1, silenced=True)) == ["silenced"]
    assert run.outcomes(alert_of(2, "escalated", episode=1, silenced=True)) == []
    assert run.outcomes(alert_of(3, "unsilenced", episode=1)) == ["taken"]
    assert run.actions[0].reason == "the alert is silenced by night"


def test_an_episode_is_forgotten_when_it_ends() -> None:
    run = ResponseRun(RECOVERY)
    run.feed(alert_of(1))
    during = len(run.state.values)
    run.feed(alert_of(2, "resolved", episode=1))
    assert len(run.state.values) == during - 1


def test_rollback_of_the_version_puts_the_one_before_it_in_production() -> None:
    run = ResponseRun(VERSION)
    deployed(run, "1.0", "1.1")
    (action,) = run.feed(alert_of(1))
    event = run.events[-1]
    assert (event.event, event.requested_by, event.cause) == (
        "rollback",
        "driftline",
        "1.1-all-performance_drop-1",
    )
    assert event.after == {
        "1.0": {"deployed_at": "2026-11-01T01:00:00Z", "promoted_by": "driftline"}
        | {"stage": "production"},
        "1.1": {"stage": "staging"},
    }
    assert (action.outcome, action.params) == (
        "taken",
        {"revision": event.revision, "after": event.after},
    )
    assert run.in_production() == "1.0"
    assert [record.topic for record in run.records[-4:]] == [
        "registry-events",
        "registry",
        "registry",
        "actions",
    ]


def test_rollbacks_go_back_along_the_versions_and_never_return() -> None:
    run = ResponseRun(VERSION)
    deployed(run, "1.0", "1.1", "1.2")
    assert run.outcomes(alert_of(1, version="1.2"), alert_of(2)) == ["taken", "taken"]
    assert run.in_production() == "1.0"
    (last,) = run.feed(alert_of(3, version="1.0"))
    assert (last.outcome, last.reason) == (
        "not_possible",
        "rollback: no version was in production before churn 1.0",
    )


def test_a_version_that_was_rolled_back_is_nothing_to_go_back_to() -> None:
    #  ada promotes 1.0, 1.1, 1.0 and 1.1: each has replaced the other one
    run = ResponseRun(VERSION)
    deployed(run, "1.0", "1.1")
    run.feed(command_of(0.1, "promote", "1.0"), command_of(0.2, "promote", "1.1"))
    assert run.outcomes(alert_of(1)) == ["taken"]
    (back,) = run.feed(alert_of(2, version="1.0"))
    assert (back.outcome, back.reason) == (
        "not_possible",
        "1.1, which was in production before, was itself rolled back at 2026-11-01T01:00:00Z "
        "because of 1.1-all-performance_drop-1",
    )
    assert run.in_production() == "1.0"


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        ([], "rollback: churn 1.1 is not registered; registered versions: none"),
        (
            [command_of(-2, "register", "1.1")],
            "rollback: churn 1.1 is in development, not in production",
        ),
        (
            [
                *(command_of(-9 + n, "register", f"1.{n}") for n in range(2)),
                *(command_of(-6 + n, "promote", f"1.{n}") for n in range(2)),
                command_of(-3, "archive", "1.0"),
            ],
            "rollback: 1.0, which was in production before churn 1.1, is archived",
        ),
    ],
)
def test_a_version_without_another_one_before_it_stays(commands: list[Any], reason: str) -> None:
    run = ResponseRun(VERSION)
    run.feed(*commands)
    events = len(run.events)
    (action,) = run.feed(alert_of(1))
    assert (action.outcome, action.reason) == ("not_possible", reason)
    assert len(run.events) == events


def test_rollback_of_the_configuration_undoes_the_last_threshold_and_no_promotion() -> None:
    run = ResponseRun(CONFIGURATION)
    deployed(run, "1.0", "1.1")
    run.feed(
        command_of(-3, "set_threshold", threshold=0.6),
        command_of(-2, "promote", "1.0"),
        command_of(-1, "promote", "1.1"),
    )
    (action,) = run.feed(alert_of(1))
    assert action.params["after"] == {"1.1": {"threshold": 0.5}}
    assert (run.entries["1.1"].threshold, run.in_production()) == (0.5, "1.1")
    assert (run.events[-1].event, run.events[-1].before) == (
        "rollback",
        {"1.1": {"threshold": 0.6}},
    )
    (again,) = run.feed(alert_of(2))
    assert (again.outcome, again.reason) == (
        "not_possible",
        "rollback: the last change of threshold or configuration of churn 1.1 was itself a "
        f"rollback (revision {run.events[-1].revision}); name the revision to go back to "
        "(to_revision)",
    )


def test_rollback_of_the_configuration_restores_the_configuration_of_an_update() -> None:
    run = ResponseRun(CONFIGURATION)
    run.feed(
        command_of(-4, "register", configuration={"trees": 100}),
        command_of(-3, "update", configuration={"trees": 900}, owner="ada"),
    )
    (action,) = run.feed(alert_of(1))
    assert action.params["after"] == {"1.1": {"configuration": {"trees": 100}}}
    assert run.entries["1.1"].owner == "ada"


def test_a_configuration_that_was_never_changed_stays() -> None:
    run = ResponseRun(CONFIGURATION)
    deployed(run, "1.0", "1.1")
    (action,) = run.feed(alert_of(1))
    assert (action.outcome, action.reason) == (
        "not_possible",
        "rollback: neither threshold nor configuration of churn 1.1 was changed since its "
        "registration",
    )


def test_a_dry_run_says_what_would_change_and_changes_nothing() -> None:
    run = ResponseRun(VERSION | {"dry_run": True})
    deployed(run, "1.0", "1.1")
    events = len(run.events)
    (action,) = run.feed(alert_of(1))
    assert action.outcome == "dry_run"
    assert action.params["after"]["1.1"] == {"stage": "staging"}
    assert len(run.events) == events
    assert run.in_production() == "1.1"


@pytest.mark.parametrize(
    "back",
    [
        [command_of(10, "promote", "1.1")],
        [command_of(10, "rollback", "1.1")],
        [command_of(10, "rollback", "1.0")],
        [command_of(10, "rollback", None, to_revision=4)],
        [command_of(9, "promote", "1.2"), command_of(10, "promote", "1.1")],
    ],
)
def test_a_version_that_a_person_put_back_is_not_rolled_back_for_a_while(back: list[Any]) -> None:
    #  alert at 1; ada takes it back at 10; held off for 7 days, until 178
    run = ResponseRun(VERSION)
    deployed(run, "1.0", "1.1")
    run.feed(alert_of(1), command_of(5, "register", "1.2"), alert_of(9, "resolved", episode=1))
    run.feed(*back)
    assert run.in_production() == "1.1"
    (held,) = run.feed(alert_of(177.9))
    assert (held.outcome, held.reason) == (
        "held_off",
        "ada took this change back at 2026-11-01T10:00:00Z (revision 5, because of "
        "1.1-all-performance_drop-1); it is held off until 2026-11-08T10:00:00Z",
    )
    assert run.outcomes(alert_of(178, "joined", episode=177.9)) == ["taken"]
    assert run.in_production() == ("1.2" if len(back) == 2 else "1.0")


@pytest.mark.parametrize(
    "other",
    [
        [command_of(10, "promote", "1.2")],
        [command_of(10, "archive", "1.1")],
        [command_of(10, "set_threshold", "1.1", threshold=0.7)],
        [command_of(10, "update", "1.1", owner="ben")],
    ],
)
def test_other_changes_by_a_person_take_nothing_back(other: list[Any]) -> None:
    run = ResponseRun(VERSION)
    deployed(run, "1.0", "1.1")
    run.feed(alert_of(1), command_of(5, "register", "1.2"), *other)
    change = run.outcomes(alert_of(11))
    assert change == ["not_possible"]


@pytest.mark.parametrize(
    ("back", "expected"),
    [
        ([command_of(10, "set_threshold", threshold=0.6)], "held_off"),
        ([command_of(10, "set_threshold", threshold=0.55)], "held_off"),
        ([command_of(10, "rollback")], "held_off"),
        ([command_of(10, "set_threshold", by="driftline", threshold=0.55)], "taken"),
        (
            [
                command_of(9, "set_threshold", by="driftline", threshold=0.55),
                command_of(10, "set_threshold", threshold=0.7),
            ],
            "taken",
        ),
        ([command_of(10, "update", configuration={"trees": 9})], "taken"),
        ([command_of(10, "promote")], "not_possible"),
    ],
)
def test_a_threshold_that_a_person_replaced_is_held_off(back: list[Any], expected: str) -> None:
    run = ResponseRun(CONFIGURATION)
    run.feed(
        command_of(-4, "register", threshold=0.5), command_of(-3, "set_threshold", threshold=0.6)
    )
    assert run.outcomes(alert_of(1)) == ["taken"]
    run.feed(*back)
    assert run.outcomes(alert_of(11)) == [expected]


def test_a_dry_run_of_a_person_takes_nothing_back() -> None:
    run = ResponseRun(CONFIGURATION)
    run.feed(
        command_of(-4, "register", threshold=0.5), command_of(-3, "set_threshold", threshold=0.6)
    )
    run.feed(alert_of(1))
    asked = command_of(10, "set_threshold", threshold=0.6)
    asked.value.dry_run = True
    run.feed(asked)
    assert run.outcomes(alert_of(11)) == ["not_possible"]


def test_a_person_who_sends_an_old_command_takes_back_from_the_change_on() -> None:
    #  the clock of ada is 30 days slow: held off for 7 days from the change at 1 on, until 169
    run = ResponseRun(VERSION)
    deployed(run, "1.0", "1.1")
    run.feed(alert_of(1), command_of(-719, "promote", "1.1"))
    assert run.outcomes(alert_of(168.9), alert_of(169)) == ["held_off", "taken"]


def test_a_new_version_may_be_rolled_back_while_another_one_is_held_off() -> None:
    run = ResponseRun(VERSION)
    deployed(run, "1.0", "1.1")
    run.feed(alert_of(1), command_of(10, "promote", "1.1"))
    run.feed(command_of(11, "register", "1.2"), command_of(12, "promote", "1.2"))
    assert run.outcomes(alert_of(13, version="1.2")) == ["taken"]
    assert run.in_production() == "1.1"


def test_at_is_the_time_of_the_alert() -> None:
    run = ResponseRun(VERSION)
    deployed(run, "1.0", "1.1")
    (action,) = run.feed(alert_of(1))
    assert (action.at_ms, run.events[-1].at) == (at(1), "2026-11-01T01:00:00Z")
