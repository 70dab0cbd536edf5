"""What sources of a service's answers have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from driftline.agents.mirror.keys import Keys


class Fetched(NamedTuple):
    """Hashes, all from one moment.

    Attributes
    ----------
    hashes
        Fields of each hash that was asked for; empty where there is none.
    age_s
        Time since they were known to be what the topics hold.
    """

    hashes: list[Mapping[str, str]]
    age_s: float


class NoAnswer(Exception):
    """The source does not answer now; the message says why."""


class Source(Protocol):
    """Where answers come from.

    Attributes
    ----------
    keys
        Names of the hashes.
    """

    keys: Keys

    def fetch(self, wanted: Sequence[str]) -> Fetched:
        """The hashes of these keys.

        Raises
        ------
        NoAnswer
            If they cannot be read now.
        """

    def close(self) -> None:
        """Close it."""
