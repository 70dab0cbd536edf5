"""Where `docs/inputs.md` has the rules that a message is about."""

from __future__ import annotations

from typing import Final, Literal

PAGE: Final = "docs/inputs.md"

Section = Literal[
    "Ids and names",
    "Keys on Kafka",
    "Records of other producers",
    "Values of an event",
    "Many features",
    "Features that change",
    "Windows that data cover in part",
    "Times",
    "Order and loss of a recorded log",
    "Labels",
    "Scores",
    "Tables",
    "Look before the first run",
]
"""Headings of the page that messages name."""


def see(*sections: Section) -> str:
    """The words by which a message names its rules, the same in all messages.

    Examples
    --------
    >>> see("Labels")
    'see "Labels" in docs/inputs.md'
    >>> see("Labels", "Scores")
    'see "Labels" and "Scores" in docs/inputs.md'
    """
    return "see " + " and ".join(f'"{name}"' for name in sections) + f" in {PAGE}"


def with_rules(message: str, section: Section) -> str:
    """A message that names its rules.

    Examples
    --------
    >>> with_rules("set positive_label", "Labels")
    'set positive_label (see "Labels" in docs/inputs.md)'
    """
    return f"{message} ({see(section)})"
