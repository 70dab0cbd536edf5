"""Rules that often fire, what people do about their alerts and the levels that they set, drawn at
random.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from driftline.schemas.times import MINUTE_MS, format_time

SERIES = (
    ("churn", "1.4.1"),
    ("churn", "1.4.2"),
    ("fraud", "2.0.0"),
    ("digits", "0.9.0"),
    ("digits", "1.0.0"),
    ("routing/é", "7"),
)
WRONG_SERIES = (("nobody", "1"), ("churn", "9.9.9"), ("fraud", "9.9.9"), ("digits", "7"))
MODELS = ("churn", "fraud", "digits", "routing/é", "churn-shadow", "nobody")


_OFTEN = {"rule": "*", "severity": "info", "segment": "*", "dry_run": False, "hold_off": "1d"}
RESPONSES: tuple[dict[str, Any], ...] = (
    _OFTEN | {"action": "log", "cool_down": "0s", "most_a_day": 100},
    _OFTEN | {"action": "rollback_version", "cool_down": "2h", "most_a_day": 3},
    _OFTEN | {"action": "rollback_configuration", "cool_down": "1h", "most_a_day": 9},
)
"""Responses to every alert."""


def alert_command(
    random: Random, number: int, at_ms: int, series: Sequence[tuple[str, str]] = SERIES
) -> tuple[str, bytes]:
    """An alert command for the rules of `alert_rules`, with its model; some are invalid, one in
    twenty is unreadable.

    Parameters
    ----------
    series
        Models with a version each, one of which it is about.
    """
    model, version = random.choice(series if random.random() < 0.9 else WRONG_SERIES)
    rule = f"busy-{random.randrange(3)}"
    what = random.choice(
        ("acknowledge", "unacknowledge", "accept", "silence", "silence", "unsilence", "unheard-of")
    )
    params: dict[str, Any] = {"rule": rule, "model_version": version}
    if what == "silence":
        params = {
            "id": f"quiet-{random.randrange(6)}",
            "rule": random.choice(("*", rule, "busy-?")),
            "model_version": random.choice(("*", "*", version)),
        }
        if random.random() < 0.3:
            params["starts_at"] = at_ms + random.randrange(-60, 180) * MINUTE_MS
        if random.random() < 0.5:
            params["ends_at"] = at_ms + random.randrange(-60, 600) * MINUTE_MS
        else:
            params["duration"] = random.choice(("30m", "2h", "1d"))
    elif what == "unsilence":
        params = {"id": f"quiet-{random.randrange(6)}"}
    value = {
        "command_id": f"{random.randrange(number + 1)}" if random.random() < 0.2 else f"{number}",
        "command": what,
        "model_name": model,
        "timestamp": format_time(at_ms),
        "requested_by": random.choice(("ann", "bob")),
        "params": params,
    }
    if random.random() < 0.05:
        del value["command"]
    return model, json.dumps(value).encode()


def level_command(
    random: Random, number: int, at_ms: int, series: Sequence[tuple[str, str]] = SERIES
) -> tuple[str, bytes]:
    """A command that sets or resets a level of the rules of `alert_rules`, or creates a rule, with
    its model; some are invalid.
    """
    model, _ = random.choice(series if random.random() < 0.9 else WRONG_SERIES)
    rule = random.choice(("busy-0", "busy-1", "busy-2", "throughput", "error_rate", "accuracy"))
    params: dict[str, Any] = {"rule": rule}
    what = random.random()
    if what < 0.25:
        params["reset"] = True
    elif what < 0.35:
        params["for"] = random.choice((1, 2, "4h"))
    elif rule == "accuracy":
        params |= {"below": random.choice((0.5, 0.9, 90)), "severity": "error"}
    else:
        params["above"] = random.choice((0.0001, 0.0004, 0.002, 0.1))
    value = {
        "command_id": f"level {number}",
        "command": "set_rule_level",
        "model_name": model,
        "timestamp": format_time(at_ms),
        "requested_by": random.choice(("ann", "bob")),
        "params": params,
    }
    return model, json.dumps(value).encode()


def alert_rules(random: Random) -> tuple[dict[str, Any], ...]:
    """One to three rules that often fire, and one by a detector of river that does."""
    detector = {
        "type": "page_hinkley",
        "name": "outcomes",
        "min_instances": 5,
        "threshold": 0.5,
        "memory": 100,
        "clear_after": "3h",
    }
    return detector, *(
        {
            "type": "threshold",
            "name": f"busy-{number}",
            "metric": "throughput",
            "above": random.choice((0.0002, 0.0005, 0.001)),
            "min_samples": random.choice((1, 3)),
            "cool_down": random.choice(("0s", "3h")),
        }
        for number in range(random.randint(1, 3))
    )
