"""Levels of alert rules by command: what stage 4 makes of it, and from which window on stage 3
judges by it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.results import (
    Alert,
    ModelLabels,
    ModelRules,
    RegistryCommand,
    RegistryEvent,
    RuleLevel,
    encode,
)
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import DAY_MS
from driftline.streams.decide import Decide
from driftline.streams.decide.level_change import LevelChange
from driftline.streams.decide.rule_levels import changed_level, rules_in_force
from driftline.streams.registry import Registry, replay
from driftline.streams.stage import Batch
from tests.streams.figures import START_MS, metric

LOW = {
    "type": "threshold",
    "name": "accuracy",
    "metric": "accuracy",
    "below": 0.85,
    "window": "1d",
    "maturity": "1d",
}
SHORT_AND_LONG = (
    LOW,
    LOW | {"name": "accuracy_long", "for": 3, "severity": "critical"},
)


def model(*rules: dict[str, Any], **more: Any) -> ModelConfig:
    return ModelConfig(rules=rules, **more)


class RegistryRun:
    """Stage 4 on a state of its own, with one registered version of the model n1-detector."""

    def __init__(self, *rules: dict[str, Any]) -> None:
        self.config = Config(defaults=model(*(rules or (LOW,))))
        self.stage, self.state = Registry(self.config), MemoryState()
        self.events: list[RegistryEvent] = []
        self.rules: list[ModelRules] = []
        self.labels: list[ModelLabels] = []
        self.send("register", model_version="1.0.0")

    def send(self, command: str, **fields: Any) -> RegistryEvent:
        header = {
            name: fields.pop(name)
            for name in ("model_name", "model_version", "dry_run", "reason")
            if name in fields
        }
        number = len(self.events)
        value = RegistryCommand(
            **{
                "command_id": f"c{number}",
                "command": command,
                "model_name": "n1-detector",
                "timestamp": f"2026-11-{number + 1:02d}T00:00:00Z",
                "requested_by": "ada",
                "params": fields,
            }
            | header
        )
        emitted = self.stage.process(Batch(records={"registry-commands": [value]}), self.state)
        for record in emitted:
            {
                "registry-events": self.events,
                "model-rules": self.rules,
                "model-labels": self.labels,
            }.get(record.topic, []).append(record.value)
        return self.events[-1]

    def level(self, **params: Any) -> RegistryEvent:
        return self.send("set_rule_level", **params)

    def rejection(self, **params: Any) -> str:
        before = len(self.rules)
        event = self.level(**params)
        assert event.event == "rejected", event
        assert (event.before, event.after, len(self.rules)) == (None, None, before)
        return (event.error or "").removeprefix("set_rule_level: ")


def test_a_level_by_command_is_an_event_and_in_force() -> None:
    run = RegistryRun()
    event = run.level(rule="accuracy", below=0.88, reason="a customer asked")
    level = {
        "values": {"below": 0.88},
        "instead_of": {"below": 0.85},
        "revision": 2,
        "set_by": "ada",
        "set_at": "2026-11-02T00:00:00Z",
        "reason": "a customer asked",
    }
    assert (event.event, event.revision, event.requested_by, event.reason) == (
        "set_rule_level",
        2,
        "ada",
        "a customer asked",
    )
    # The model has no fields before, so there is nothing that the event changed from.
    assert event.before == {}
    assert event.after == {"": {"rules.accuracy": level}}
    assert run.rules == [
        ModelRules(
            model_name="n1-detector",
            revision=2,
            rules={"accuracy": msgspec.convert(level, RuleLevel)},
        )
    ]
    assert run.labels == []
    assert replay(run.events)["n1-detector"].rules() == run.rules[-1]


def test_a_second_command_keeps_what_it_leaves_out() -> None:
    run = RegistryRun()
    run.level(rule="accuracy", below=0.88, clear=0.9)
    event = run.level(rule="accuracy", severity="error")
    assert event.before is not None
    assert event.before[""]["rules.accuracy"]["values"] == {"below": 0.88, "clear": 0.9}
    values = {"below": 0.88, "clear": 0.9, "severity": "error"}
    assert run.rules[-1].rules["accuracy"].values == values
    assert run.rules[-1].rules["accuracy"].instead_of == {
        "below": 0.85,
        "clear": None,
        "severity": "warning",
    }


def test_a_metric_names_its_threshold_rule_which_is_created_if_there_is_none() -> None:
    run = RegistryRun()
    run.level(rule="f1", below=0.7, window="1d")
    run.level(rule="f1", below=0.75)
    run.level(rule="f1", above=0.99, severity="info")
    assert {name: each.values for name, each in run.rules[-1].rules.items()} == {
        "f1_low": {"type": "threshold", "metric": "f1", "below": 0.75, "window": "1d"},
        "f1_high": {"type": "threshold", "metric": "f1", "above": 0.99, "severity": "info"},
    }
    rules, _ = rules_in_force(run.config.defaults, run.rules[-1].rules)
    assert [rule.name for rule in rules[-2:]] == ["f1_low", "f1_high"]


def test_a_rule_with_a_level_for_each_severity_takes_the_one_that_is_named() -> None:
    run = RegistryRun()
    run.level(rule="latency", above=500.0)
    run.level(rule="latency", above=2000.0, severity="critical")
    assert run.rules[-1].rules["latency"].values == {"warning_ms": 500.0, "critical_ms": 2000.0}
    run.level(rule="coverage", above=0.4, severity="error")
    assert run.rules[-1].rules["coverage"].values == {"error": 0.4}
    run.level(rule="no_data", severity="critical", **{"for": 2})
    assert run.rules[-1].rules["no_data"].values == {"severity": "critical", "for": 2}
    run.level(rule="performance_drop", above=0.08)
    assert run.rules[-1].rules["performance_drop"].values == {"warning": 0.08}


def test_a_level_on_the_other_side_takes_the_old_one_away() -> None:
    values = {"above": None, "clear": None, "below": 0.8}
    high = LOW | {"above": 0.99, "clear": 0.98}
    del high["below"]
    config = model(high)
    assert changed_level(config, {}, LevelChange(rule="accuracy", below=0.8)) == (
        "accuracy",
        values,
    )
    level = RuleLevel(values=values, revision=1, set_by="ada", set_at="")
    rules, without_effect = rules_in_force(config, {"accuracy": level})
    assert without_effect == {}
    assert [(rule.below, rule.above, rule.clear) for rule in rules if rule.name == "accuracy"] == [
        (0.8, None, None)
    ]


@pytest.mark.parametrize(
    ("params", "error"),
    [
        (
            {"rule": "acuracy", "below": 0.8},
            'params.rule: "acuracy" is neither a rule (accuracy, accuracy_long, coverage, ',
        ),
        (
            {"rule": "accuracy", "below": 88},
            'params.below: 88.0 lies outside [0, 1]; "accuracy" is a share, not a percentage',
        ),
        (
            {"rule": "accuracy", "below": 0.8, "above": 0.9},
            "params.below: a threshold needs exactly one of below and above",
        ),
        (
            {"rule": "accuracy", "below": 0.8, "clear": 0.7},
            "params.clear: 0.7 lies where the alert fires; it has to lie on the other side of 0.8",
        ),
        (
            {"rule": "accuracy", "below": 0.8, "window": "5m"},
            'params.window: "5m" is not kept for this model; its windows: 1h, 1d, 7d/1d',
        ),
        ({"rule": "accuracy", "for": "often"}, "params.for: "),
        ({"rule": "accuracy", "below": "low"}, "Expected `float | null`, got `str`"),
        ({"rule": "accuracy", "blow": 0.8}, "Object contains unknown field `blow`"),
        ({"rule": "accuracy"}, "there is nothing to set; name below, above, clear"),
        ({"rule": "f1", "severity": "error"}, "params.below: no rule is about f1 yet"),
        (
            {"rule": "accuracy", "reset": True},
            'params.rule: no command has set a level of "accuracy"; commands have set: none',
        ),
        ({"rule": "accuracy", "below": 0.8, "reset": True}, "params.reset: takes everything back"),
        (
            {"rule": "error_rate", "below": 0.01},
            "params.below: a rule of type error_rate has no level below which it fires",
        ),
        (
            {"rule": "error_rate", "above": 0.2},
            "params.warning: warning 0.2 and critical 0.15 have to ascend",
        ),
        (
            {"rule": "error_rate", "above": 0.2, "severity": "error"},
            "params.severity: a rule of type error_rate has the levels warning, critical",
        ),
        (
            {"rule": "latency", "severity": "critical"},
            "params.severity: says which level is set; name the level too (above)",
        ),
        ({"rule": "no_data", "above": 3}, "params.above: a rule of type no_data has no level"),
        ({"rule": "drift", "window": "1d"}, 'params: the key "window" is not known here'),
    ],
)
def test_an_impossible_level_is_rejected_with_the_words_of_the_configuration(
    params: dict[str, Any], error: str
) -> None:
    assert RegistryRun(*SHORT_AND_LONG).rejection(**params).startswith(error)


def test_a_metric_of_several_rules_an_unknown_model_and_a_version_are_rejected() -> None:
    run = RegistryRun(LOW | {"name": "a"}, LOW | {"name": "b"})
    assert run.rejection(rule="accuracy", below=0.8) == (
        "params.rule: 2 rules are about accuracy: a, b; name one of them"
    )
    assert run.rejection(rule="a", below=0.8, model_name="n1-detectr") == (
        "no version of n1-detectr is registered; is the name right?"
    )
    assert run.rejection(rule="a", below=0.8, model_version="1.0.0") == (
        "rules belong to the model, not to a version; leave model_version out"
    )
    run.level(rule="a", below=0.8)
    event = run.level(rule="a", below=0.8)
    assert event.error == "set_rule_level: this is how it already is; nothing to change"


def test_a_dry_run_says_what_would_change_and_changes_nothing() -> None:
    run = RegistryRun()
    event = run.level(rule="accuracy", below=0.88, dry_run=True)
    assert event.after is not None
    assert event.after[""]["rules.accuracy"]["values"] == {"below": 0.88}
    assert run.rules == []
    assert run.level(rule="accuracy", below=0.88).revision == 2
    assert "lies outside" in run.rejection(rule="accuracy", below=88, dry_run=True)


def test_reset_and_rollback_put_earlier_levels_in_force() -> None:
    run = RegistryRun()
    run.level(rule="accuracy", below=0.88)  # revision 2
    run.level(rule="accuracy", below=0.9)  # revision 3
    run.level(rule="f1", below=0.7)  # revision 4
    event = run.level(rule="accuracy", reset=True)  # revision 5
    assert event.after == {"": {"rules.accuracy": None}}
    assert list(run.rules[-1].rules) == ["f1_low"]
    run.level(rule="f1", reset=True)
    assert run.rules[-1].rules == {}
    run.send("rollback", to_revision=2)
    (level,) = run.rules[-1].rules.values()
    assert (level.values, level.revision) == ({"below": 0.88}, 2)
    run.send("rollback", to_revision=1)
    assert run.rules[-1].rules == {}
    assert replay(run.events)["n1-detector"].rules() == run.rules[-1]


def test_labels_and_levels_leave_each_other_alone() -> None:
    run = RegistryRun()
    run.send("set_labels", labels=["no", "yes"], positive_label="yes")
    run.level(rule="accuracy", below=0.88)
    run.send("set_labels", labels=["no", "yes", "maybe"])
    assert [each.revision for each in run.labels] == [2, 4]
    assert [each.revision for each in run.rules] == [3]
    run.send("rollback", to_revision=1)
    assert (run.labels[-1].labels, run.rules[-1].rules) == (None, {})


def test_a_level_that_no_longer_fits_the_configuration_has_no_effect() -> None:
    levels = {
        "accuracy": RuleLevel(values={"window": "5m"}, revision=2, set_by="ada", set_at=""),
        "gone": RuleLevel(values={"below": 0.8}, revision=3, set_by="ada", set_at=""),
        "drift": RuleLevel(
            values={"type": "threshold", "metric": "f1", "below": 0.8},
            revision=4,
            set_by="ada",
            set_at="",
        ),
    }
    config = model(LOW)
    rules, without_effect = rules_in_force(config, levels)
    assert rules == rules_in_force(config, {})[0]
    assert set(without_effect) == {"accuracy", "gone", "drift"}
    assert without_effect["gone"] == "the configuration has no rule gone"
    assert without_effect["drift"].endswith("a rule drift of another type, drift")
    assert "5m" in without_effect["accuracy"]


class DecideRun:
    """Stage 3 on a state of its own; the stage is built anew before each batch if `restarts`."""

    def __init__(self, *rules: dict[str, Any], restarts: bool = False) -> None:
        self.config = Config(defaults=model(*rules, default_rules=False))
        self.stage, self.state, self.restarts = Decide(self.config), MemoryState(), restarts

    def feed(self, **records: list[Any]) -> list[Any]:
        if self.restarts:
            self.stage = Decide(self.config)
        topics = {name.replace("_", "-"): values for name, values in records.items()}
        return [
            record.value
            for record in self.stage.process(Batch(records=topics), self.state)
            if isinstance(record.value, Alert)
        ]

    def days(self, *values: float, first: int) -> list[tuple[int, str, str, float | None]]:
        """Accuracy of days in a row; (day, status, severity, threshold) of each alert."""
        told = []
        for day, value in enumerate(values, first):
            figures = metric(START_MS + day * DAY_MS, {"accuracy": value})
            told += [
                (day, alert.status, alert.severity, alert.threshold)
                for alert in self.feed(metrics=[figures])
            ]
        return told

    def set(self, revision: int, **rules: dict[str, Any]) -> None:
        levels = {
            name: RuleLevel(values=values, revision=revision, set_by="ada", set_at="")
            for name, values in rules.items()
        }
        assert not self.feed(
            model_rules=[ModelRules(model_name="churn", revision=revision, rules=levels)]
        )


@pytest.mark.parametrize("restarts", [False, True])
def test_the_next_window_is_judged_by_the_new_level(restarts: bool) -> None:
    #   day        1     2     3  |  4     5  |  6     7     8
    #   accuracy  .87   .86   .87 | .87   .89 | .86   .86   .84
    #   level          .85        |    .88    |     .85
    #   alert                       fires .   resolved      fires
    run = DecideRun(LOW, restarts=restarts)
    assert run.days(0.87, 0.86, 0.87, first=1) == []
    run.set(2, accuracy={"below": 0.88})
    assert run.days(0.87, 0.89, first=4) == [
        (4, "firing", "warning", 0.88),
        (5, "resolved", "warning", 0.88),
    ]
    assert run.days(0.87, first=6) == [(6, "firing", "warning", 0.88)]
    run.set(3)
    assert run.days(0.86, 0.84, first=7) == [
        (7, "resolved", "warning", 0.85),
        (8, "firing", "warning", 0.85),
    ]


def test_an_open_alert_takes_the_new_severity_and_the_new_value_at_which_it_resolves() -> None:
    run = DecideRun(LOW)
    assert run.days(0.8, first=1) == [(1, "firing", "warning", 0.85)]
    run.set(2, accuracy={"severity": "critical"})
    alerts = run.feed(metrics=[metric(START_MS + 2 * DAY_MS, {"accuracy": 0.8})])
    assert [(alert.change, alert.severity) for alert in alerts] == [("escalated", "critical")]
    run.set(3, accuracy={"severity": "critical", "clear": 0.9})
    assert run.days(0.88, 0.9, first=3) == [(4, "resolved", "critical", 0.85)]


def test_windows_judged_before_count_for_a_breach_that_has_to_last() -> None:
    run = DecideRun(LOW | {"for": 3})
    assert run.days(0.84, 0.84, first=1) == []
    run.set(2, accuracy={"below": 0.83, "for": 3})
    # Day 3 is within 0.83 and ends the run of two; days 4 to 6 are the new one.
    assert run.days(0.84, 0.82, 0.82, 0.82, first=3) == [(6, "firing", "warning", 0.83)]
    again = DecideRun(LOW | {"for": 3})
    assert again.days(0.84, 0.84, first=1) == []
    again.set(2, accuracy={"for": 2})
    assert again.days(0.84, first=3) == [(3, "firing", "warning", 0.85)]


def test_a_created_rule_fires_and_its_reset_ends_its_alert() -> None:
    run = DecideRun(LOW)
    created = {"type": "threshold", "metric": "f1", "below": 0.8, "window": "1d", "maturity": "1d"}
    run.set(2, f1_low=created)
    day = [
        metric(START_MS + number * DAY_MS, {"accuracy": 0.9, "f1": 0.7}) for number in range(1, 4)
    ]
    (fired,) = run.feed(metrics=[day[0]])
    assert (fired.rule, fired.change, fired.threshold) == ("f1_low", "firing", 0.8)
    assert run.feed(metrics=[day[1]]) == []
    run.set(3)
    (ended,) = run.feed(metrics=[day[2]])
    assert (ended.rule, ended.change) == ("f1_low", "resolved")
    assert "The rule is no longer in force" in ended.summary


def test_levels_of_another_model_change_nothing() -> None:
    run = DecideRun(LOW)
    level = RuleLevel(values={"below": 0.95}, revision=2, set_by="ada", set_at="")
    run.feed(model_rules=[ModelRules(model_name="other", revision=2, rules={"accuracy": level})])
    assert run.days(0.9, first=1) == []


def test_levels_survive_the_topic_as_json() -> None:
    values = {"type": "threshold", "metric": "f1", "below": 0.8, "clear": None}
    rules = ModelRules(
        model_name="n1-detector",
        revision=2,
        rules={"f1_low": RuleLevel(values=values, revision=2, set_by="ada", set_at="")},
    )
    assert msgspec.json.decode(encode(rules), type=ModelRules) == rules
