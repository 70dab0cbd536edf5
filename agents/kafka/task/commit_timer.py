"""When a task commits next: neither for every record nor so seldom that results are late."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# What comes together is committed together, also when the first record ends a silence.
_GATHER_S: Final = 0.01
# Positions that moved without any effect are committed now and then, for those who look at the lag.
_POSITIONS_S: Final = 5.0
_NEWEST: Final = 0.2


class CommitTimer:
    """The commits of one task in time.

    Parameters
    ----------
    interval_s
        How long to gather, given how long a transaction takes of late.
    """

    def __init__(self, interval_s: Callable[[float], float]) -> None:
        self._interval_s = interval_s
        self._transaction_s = 0.0
        self._began_s = 0.0
        self._deadline_s = 0.0

    @property
    def interval_s(self) -> float:
        """How long results are gathered now."""
        return self._interval_s(self._transaction_s)

    @property
    def left_s(self) -> float:
        """Time until the next commit is due; 0 or less when it is."""
        return self._deadline_s - time.monotonic()

    @property
    def positions_are_old(self) -> bool:
        """Whether positions alone are worth a commit."""
        return time.monotonic() - self._began_s > _POSITIONS_S

    def begin(self) -> None:
        """A commit begins."""
        self._began_s = time.monotonic()
        self.put_off()

    def put_off(self) -> None:
        """There was nothing to commit."""
        self._deadline_s = time.monotonic() + self.interval_s

    def first(self) -> None:
        """The first record of the next commit came."""
        self._deadline_s = max(self._began_s + self.interval_s, time.monotonic() + _GATHER_S)

    def took(self, seconds: float) -> None:
        """A transaction took so long."""
        self._transaction_s += _NEWEST * (seconds - self._transaction_s)
