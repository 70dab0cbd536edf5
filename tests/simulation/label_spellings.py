"""How careless producers write labels: other spellings, JSON types, and labels that are none."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

from tests.oracle.label_rules import SIGNED

STRAYS = ("maybe", "unknown?", "TBD", "2")

Spelling = Callable[[str, Random], tuple[Any, str]]
"""Of a label: the value that is sent, and its text."""


def spelling(random: Random, labels: tuple[str, ...]) -> Spelling:
    """How one side writes the labels: in one way, or sometimes in a second one."""
    other = random.choice(SIGNED) if labels in SIGNED and random.random() < 0.5 else labels
    ways = random.sample(WAYS, 2)
    second = random.choice([0.0, 0.0, 0.0, 0.3])

    def spelled(label: str, random: Random) -> tuple[Any, str]:
        if label in labels:
            label = other[labels.index(label)]
        return ways[random.random() < second](label)

    return spelled


def _json_value(label: str) -> tuple[Any, str]:
    """The label in its own JSON type, if it has one."""
    if label in ("true", "false"):
        return label == "true", label
    if re.fullmatch("-?[1-9][0-9]*|0", label):
        return int(label), label
    return label, label


def _decimals(label: str) -> tuple[Any, str]:
    text = label + ".0" if re.fullmatch("-?[0-9]+", label) else label
    return text, text


WAYS: tuple[Callable[[str], tuple[Any, str]], ...] = (
    lambda label: (label, label),
    lambda label: (label.upper(), label.upper()),
    lambda label: (label.capitalize(), label.capitalize()),
    lambda label: (label + " ", label + " "),
    lambda label: ("  " + label, "  " + label),
    _json_value,
    _decimals,
)
