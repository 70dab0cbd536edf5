"""Timing of the commits of one task: a trade of throughput against the delay of results."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# Records that arrive together are committed together, also after a silence.
_GATHER_S: Final = 0.01
# Positions that moved without any effect are committed too, so that lag tools see them.
_POSITIONS_S: Final = 5.0
# Weight of the newest transaction in the moving average.
_NEWEST_WEIGHT: Final = 0.2


class CommitTimer:
    """Decides when a task commits next.

    Parameters
    ----------
    interval_s
        Seconds to gather results, from the recent duration of a transaction in seconds.
    """

    def __init__(self, interval_s: Callable[[float], float]) -> None:
        self._interval_s = interval_s
        self._transaction_s = 0.0
        self._began_s = 0.0
        self._deadline_s = 0.0

    @property
    def interval_s(self) -> float:
        """Seconds for which results are gathered now."""
        return self._interval_s(self._transaction_s)

    @property
    def remaining_s(self) -> float:
        """Seconds until the next commit is due; 0 or less when it is."""
        return self._deadline_s - time.monotonic()

    @property
    def are_positions_old(self) -> bool:
        """Whether the last commit is so long ago that positions alone are worth one."""
        return time.monotonic() - self._began_s > _POSITIONS_S

    def begin(self) -> None:
        """Note that a commit begins."""
        self._began_s = time.monotonic()
        self.postpone()

    def postpone(self) -> None:
        """Wait for another interval, because there is nothing to commit."""
        self._deadline_s = time.monotonic() + self.interval_s

    def note_first_record(self) -> None:
        """Note that the first record of the next commit arrived."""
        self._deadline_s = max(self._began_s + self.interval_s, time.monotonic() + _GATHER_S)

    def note_transaction(self, seconds: float) -> None:
        """Note the duration of a transaction."""
        self._transaction_s += _NEWEST_WEIGHT * (seconds - self._transaction_s)
