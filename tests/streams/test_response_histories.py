"""Drawn histories of alerts and commands, against slow and obvious code: the same actions and the
same registry however the history is cut and wherever it crashes.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from random import Random
from typing import Any

import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.actions import Action
from driftline.schemas.results import RegistryEntry, encode
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import format_duration, parse_time
from driftline.streams.registry import Registry
from driftline.streams.stage import Batch, Record
from tests.streams.response_reference import SlowResponses
from tests.streams.response_run import HOUR, alert_of, command_of

VERSIONS = ("1.0", "1.1", "1.2")
RULES = ("performance_drop", "drift")
SEVERITIES = ("warning", "error", "critical")
HISTORIES, EACH = 300, 50


def drawn_responses(random: Random) -> list[dict[str, Any]]:
    """Responses with durations in milliseconds."""
    return [
        {
            "name": f"r{number}",
            "rule": random.choice(("performance_drop", "d*", "*")),
            "action": action,
            "severity": random.choice(SEVERITIES),
            "dry_run": random.random() < 0.2,
            "cool_down": random.choice((0, 3, 24)) * HOUR,
            "most_a_day": random.choice((1, 2, 9)),
            "hold_off": random.choice((0, 12, 72)) * HOUR,
        }
        for number, action in enumerate(
            random.choices(
                ("rollback_version", "rollback_configuration", "rollback_version", "log"),
                k=random.randint(1, 4),
            )
        )
    ]


def drawn_history(random: Random) -> list[Record]:
    """Commands and alerts in the order of their processing, on about eight days."""
    records = [
        record
        for number, version in enumerate(VERSIONS)
        for record in (
            command_of(-30 + number, "register", version, threshold=0.5),
            command_of(-29.5 + number, "promote", version),
        )
    ]
    episodes: dict[tuple[str, str], tuple[float, str, bool]] = {}
    hours = 0.0
    for _ in range(random.randint(10, 60)):
        hours += random.choice((0.25, 1, 2, 6, 15))
        version = random.choice(VERSIONS)
        if random.random() < 0.4:
            records.append(drawn_command(random, hours, version))
            continue
        rule = random.choice(RULES)
        when = hours - random.choice((0, 0, 0, 2.125))
        if (version, rule) not in episodes:
            severity, silenced = random.choice(SEVERITIES), random.random() < 0.2
            episodes[version, rule] = (hours, severity, silenced)
            change: Any = "firing"
        else:
            began, severity, silenced = episodes[version, rule]
            change = random.choice(("joined", "resolved", "acknowledged", "escalated", "silence"))
            if change == "silence":
                silenced = not silenced
                change = "silenced" if silenced else "unsilenced"
            elif change == "escalated" and severity != "critical":
                severity = SEVERITIES[SEVERITIES.index(severity) + 1]
            elif change == "escalated":
                change = "joined"
            episodes[version, rule] = (began, severity, silenced)
        began, severity, silenced = episodes[version, rule]
        if change == "resolved":
            del episodes[version, rule]
        records.append(
            alert_of(
                when,
                change,
                episode=began,
                version=version,
                rule=rule,
                severity=severity,  # type: ignore[arg-type]
                silenced=silenced,
            )
        )
    return records


def drawn_command(random: Random, hours: float, version: str) -> Record:
    """A command of ada, or of the tuner; some are rejected."""
    name = random.choice(
        ("promote", "promote", "set_threshold", "set_threshold", "rollback", "archive")
    )
    if name == "set_threshold":
        by = random.choice(("ada", "ada", "driftline"))
        threshold = random.choice((0.5, 0.6, 0.7))
        return command_of(hours, name, version, by=by, threshold=threshold)
    if name == "rollback":
        only = random.choice(({}, {}, {"only": "version"}, {"only": "configuration"}))
        return command_of(hours, name, version, **only)
    if name == "archive" and random.random() < 0.7:
        return command_of(hours, "promote", version)
    return command_of(hours, name, version)


def expected(responses: list[dict[str, Any]], history: list[Record]) -> SlowResponses:
    """What the slow code makes of a history."""
    slow = SlowResponses(responses)
    for record in history:
        value = record.value
        if record.topic == "registry-commands":
            slow.command(
                value.command,
                value.model_version,
                value.params,
                value.requested_by,
                parse_time(value.timestamp),
            )
        else:
            slow.alert(
                change=value.change,
                version=value.model_version,
                rule=value.rule,
                severity=value.severity,
                silenced=value.status == "silenced",
                episode=value.alert_id,
                at_ms=value.at_ms,
            )
    return slow


def config_of(responses: list[dict[str, Any]]) -> Config:
    tables = tuple(
        each | {key: format_duration(each[key]) for key in ("cool_down", "hold_off")}
        for each in responses
    )
    return Config(models={"churn": ModelConfig(responses=tables)})


def run(config: Config, history: list[Record], random: Random | None = None) -> list[Record]:
    """The records that a history leads to; with `random`, in batches and through crashes."""
    emitted: list[Record] = []
    stage, state = Registry(config), MemoryState()
    # A settled batch holds commands or alerts, never both.
    for topic, group in groupby(history, lambda record: record.topic):
        values = [record.value for record in group]
        while values:
            size = 1 if random is None else random.randint(1, len(values))
            while random is not None and random.random() < 0.3:  # crash before the commit
                lost = MemoryState()
                lost.values = dict(state.values)
                stage.process(Batch(records={topic: values[:size]}), lost)
                stage = Registry(config)
            emitted += stage.process(Batch(records={topic: values[:size]}), state)
            del values[:size]
    return emitted


@pytest.mark.parametrize("first", range(0, HISTORIES, EACH))
def test_actions_of_drawn_histories_are_those_of_slow_code(first: int) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(first, first + EACH):
        random = Random(seed)
        responses, history = drawn_responses(random), drawn_history(random)
        slow = expected(responses, history)
        emitted = run(config_of(responses), history)
        actions = [each.value for each in emitted if isinstance(each.value, Action)]
        found = [
            (a.response, a.action, a.model_version, a.alert_id, a.outcome, a.dry_run)
            for a in actions
        ]
        assert found == [told.plain() for told in slow.told], f"seed {seed}"
        entries = {
            each.value.model_version: {
                "stage": each.value.stage,
                "threshold": each.value.threshold,
            }
            for each in emitted
            if isinstance(each.value, RegistryEntry)
        }
        assert entries == {
            version: {name: held[name] for name in ("stage", "threshold")}
            for version, held in slow.versions.items()
        }, f"seed {seed}"
        assert len({action.action_id for action in actions}) == len(actions), f"seed {seed}"
        once = Counter(
            a.alert_id + a.response for a in actions if a.outcome in ("taken", "dry_run")
        )
        assert set(once.values()) <= {1}, f"seed {seed}"
        outcomes.update(action.outcome for action in actions)
    assert min(
        outcomes[each]
        for each in (
            *("taken", "dry_run", "silenced", "held_off", "cool_down", "most_a_day"),
            "not_possible",
        )
    ), outcomes


@pytest.mark.parametrize("first", range(0, HISTORIES, EACH))
def test_batches_and_crashes_do_not_change_a_byte(first: int) -> None:
    for seed in range(first, first + EACH):
        random = Random(seed)
        config, history = config_of(drawn_responses(random)), drawn_history(random)
        whole = run(config, history)
        cut = run(config, history, random)
        assert [(each.topic, encode(each.value)) for each in cut] == [
            (each.topic, encode(each.value)) for each in whole
        ], f"seed {seed}"
