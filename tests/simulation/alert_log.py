"""Recorded logs with traffic that breaches levels again and again, people who act on the alerts and
set levels, and what has to come of it.

Every version has predictions in every hour, so few or so many that chance does not matter for any
level. The answers and the records of alerts are worked out by `SlowAlerts` from the log alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.simulation.histories import BEGIN, HOUR, MINUTE, rfc3339
from tests.streams.alert_reference import SlowAlerts, Told

SERIES = {"churn": ("1.4.1", "1.4.2"), "fraud": ("2.0.0",)}
CALM, BUSY, RUSH = (1, 2), (13, 13), (42, 42)
"""Fewest and most predictions an hour. Of the levels, 13 is above 3 and not far enough above 11 for
its whole interval; 42 is above 20.
"""
LEVELS = (3, 11, 20, 100)
SURELY = 2
"""Times a level that is above it with the whole 95 % interval, of these numbers."""
HOURS = 36
CALM_HOURS = 3
"""Hours at the end in which no rule is breached: they end every episode."""
COOL_DOWNS = {"0s": 0, "3h": 3 * HOUR}


@dataclass
class Command:
    """A line of `alert-commands` or `registry-commands`; `value` None cannot be read."""

    at: int
    topic: str
    line: bytes
    value: dict[str, Any] | None


@dataclass
class AlertLog:
    """A drawn log, and how many predictions each version has in each hour."""

    rules: dict[str, tuple[int, str, int]]  # by name: windows in a row, cool-down, level
    counts: dict[tuple[str, str], list[int]]
    predictions: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    @classmethod
    def drawn(cls, seed: int) -> AlertLog:
        """The log of a seed."""
        random = Random(seed)
        rules = {
            f"busy-{number}": (
                random.choice((1, 1, 2)),
                random.choice(list(COOL_DOWNS)),
                random.choice(LEVELS[:3]),
            )
            for number in range(random.randint(2, 3))
        }
        counts = {
            (model, version): traffic(random)
            for model, versions in SERIES.items()
            for version in versions
        }
        log = cls(rules, counts)
        for (model, version), hours in counts.items():
            for hour, count in enumerate(hours):
                for _ in range(count):
                    at = BEGIN + hour * HOUR + random.randrange(HOUR)
                    log.predictions.append((at, model, {"model_version": version}))
        log.predictions.sort(key=lambda each: each[0])
        for number in range(random.randint(60, 140)):
            log.commands.append(log.draw_command(random, number))
        log.commands.sort(key=lambda each: each.at)
        return log

    def draw_command(self, random: Random, number: int) -> Command:
        # Not within the grace of an end of a window, where rows decide what comes first.
        at = BEGIN + random.randrange(2, HOURS) * HOUR + random.randint(5, 55) * MINUTE
        model = random.choice(list(SERIES))
        version, rule = random.choice(SERIES[model]), random.choice(list(self.rules))
        what = random.choices(
            ("acknowledge", "unacknowledge", "silence", "unsilence", "set_rule_level"),
            (8, 3, 4, 2, 2),
        )[0]
        params: dict[str, Any] = {"rule": rule, "model_version": version}
        if what == "silence":
            params = {
                "id": f"quiet-{random.randrange(8)}",
                "rule": random.choice(("*", rule, "busy-[01]")),
                "model_version": random.choice(("*", "1.*", version)),
                "ends_at": at + random.randint(-60, 600) * MINUTE,
            }
            if random.random() < 0.5:
                params["starts_at"] = at + random.randint(-60, 300) * MINUTE
        elif what == "unsilence":
            params = {"id": f"quiet-{random.randrange(8)}"}
        elif what == "set_rule_level":
            params = {"rule": rule}
            level = random.choice((*LEVELS, None))
            params |= {"reset": True} if level is None else {"above": level / 3600}
        again = [each for each in self.commands if each.value is not None]
        if what == "unacknowledge":  # one that may have been acknowledged not long before
            taken = [
                each.value
                for each in again
                if each.value["command"] == "acknowledge" and at - 4 * HOUR < each.at < at
            ]
            if taken:
                before = random.choice(taken)
                model, params = before["model_name"], before["params"]
        value = {
            "command_id": f"{number}",
            "command": what,
            "model_name": model,
            "timestamp": rfc3339(at),
            "requested_by": f"person {number}",
            "params": params,
        }
        topic = "registry-commands" if what == "set_rule_level" else "alert-commands"
        if random.random() < 0.1 and again:  # sent twice
            first = random.choice(again)
            if first.at < at and first.value is not None:
                value, topic = first.value, first.topic
        elif random.random() < 0.05 and topic == "alert-commands":
            del value["command"]
            return Command(at, topic, json.dumps(value).encode(), None)
        return Command(at, topic, json.dumps(value).encode(), value)

    def write(self, folder: Path) -> None:
        """Write the log and its configuration."""
        folder.mkdir(parents=True)
        rules = "".join(
            f'[[defaults.rules]]\ntype = "threshold"\nname = "{name}"\nmetric = "throughput"\n'
            f'above = {level / 3600!r}\nmin_samples = 1\nfor = {windows}\ncool_down = "{cool}"\n'
            for name, (windows, cool, level) in self.rules.items()
        )
        (folder / "driftline.toml").write_text(
            '[defaults]\nwindows = ["1h"]\nmaturity = ["1h"]\nlabel_horizon = "2h"\n'
            f"last_n = []\nsince_deployment = false\ndefault_rules = false\n{rules}"
        )
        lines: dict[str, list[tuple[int, bytes]]] = {"predictions": [], "ground-truth": []}
        for number, (at, model, more) in enumerate(self.predictions):
            row = {"prediction_id": f"{number}", "timestamp": at, "model_name": model, **more}
            lines["predictions"].append((at, json.dumps(row | {"prediction": "yes"}).encode()))
            if number % 3 == 0:
                known = at + 20 * MINUTE
                truth = {"prediction_id": f"{number}", "timestamp": known, "label": "yes"}
                lines["ground-truth"].append((known, json.dumps(truth).encode()))
        for each in self.commands:
            lines.setdefault(each.topic, []).append((each.at, each.line))
        for topic, timed in lines.items():
            text = b"".join(line + b"\n" for _, line in sorted(timed, key=lambda pair: pair[0]))
            (folder / f"{topic}.jsonl").write_bytes(text)

    def expected(self, model: str, accepted_levels: set[str]) -> tuple[list[Told], list[str]]:
        """Records of the alerts of a model, and its answers as "id event"; times in ms.

        Parameters
        ----------
        accepted_levels
            Ids of the commands for levels that the registry did not reject.
        """
        versions = SERIES[model]
        rules = {
            name: (windows, COOL_DOWNS[cool]) for name, (windows, cool, _) in self.rules.items()
        }
        slow = SlowAlerts(versions, rules, now=BEGIN)
        levels = {name: level for name, (_, _, level) in self.rules.items()}
        answers: list[str] = []
        answered: set[str] = set()
        for hour in range(HOURS + CALM_HOURS):
            for each in self.commands:
                value = each.value
                if (
                    each.at // HOUR != BEGIN // HOUR + hour
                    or value is None
                    or value["model_name"] != model
                    or value["command_id"] in answered
                ):
                    continue
                answered.add(value["command_id"])
                if value["command"] == "set_rule_level":
                    if value["command_id"] in accepted_levels:
                        self.set_level(levels, value["params"])
                    continue
                done = carry_out(slow, each.at, value)
                answers.append(f"{value['command_id']} {value['command'] if done else 'rejected'}")
            slow.reach(BEGIN + (hour + 1) * HOUR)
            for version in versions:
                count = self.counts[model, version][hour]
                for rule, level in levels.items():
                    is_bad = count > SURELY * level
                    slow.judge(version, rule, is_bad=is_bad, is_good=count <= level)
        return slow.told, answers

    def set_level(self, levels: dict[str, int], params: dict[str, Any]) -> None:
        if params.get("reset"):
            levels[params["rule"]] = self.rules[params["rule"]][2]
        else:
            levels[params["rule"]] = round(params["above"] * 3600)

    def level_ids(self) -> set[str]:
        """Ids of the commands that set levels."""
        return {
            each.value["command_id"]
            for each in self.commands
            if each.value is not None and each.value["command"] == "set_rule_level"
        }

    def unreadable(self) -> int:
        """Number of commands that cannot be read."""
        return sum(each.value is None for each in self.commands)


def traffic(random: Random) -> list[int]:
    """Numbers of predictions by hour; spells last some hours."""
    kind, numbers = CALM, []
    for _ in range(HOURS):
        if random.random() < 0.4:
            kind = random.choice((CALM, BUSY, RUSH))
        numbers.append(random.randint(*kind))
    return numbers + [random.randint(*CALM) for _ in range(CALM_HOURS)]


def carry_out(slow: SlowAlerts, at: int, value: dict[str, Any]) -> bool:
    """Do what an alert command says; whether it was accepted."""
    command, params = value["command"], value["params"]
    if command == "silence":
        # Without a start it holds at once; its span is then that from the time of the command.
        begin = params.get("starts_at")
        if params["ends_at"] <= (at if begin is None else begin):
            return False
        return slow.silence(
            params["id"],
            rule=params["rule"],
            version=params["model_version"],
            begin=slow.now if begin is None else begin,
            end=params["ends_at"],
        )
    if command == "unsilence":
        return slow.unsilence(params["id"])
    version, rule = params["model_version"], params["rule"]
    if command == "acknowledge":
        return slow.acknowledge(version, rule, value["requested_by"])
    return slow.unacknowledge(version, rule)
