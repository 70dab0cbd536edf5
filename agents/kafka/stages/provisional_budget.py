"""Rate of provisional figures: as fresh as the spare processor time allows.

All tasks of a process share one budget of processor time. It fills with the time that the process
leaves idle. A worker that works off a backlog emits few provisional figures, because the windows
are complete a moment later; a worker that keeps up emits them at every interval.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SHARE: Final = 0.15
MIN_SHARE: Final = 0.01
MAX_SAVED_S: Final = 0.1

Seconds = Callable[[], float]


class ProvisionalBudget:
    """Processor time that the tasks of a process may spend on provisional figures.

    Parameters
    ----------
    clock, busy
        Seconds of a monotonic clock, and seconds of processor time that the process has used.
    share
        Share of a core for an otherwise idle process. A process that uses a whole core gets
        `least`.

    Examples
    --------
    >>> steps = iter([0.0, 1.0])
    >>> budget = ProvisionalBudget(clock=lambda: next(steps), busy=lambda: 0.0)
    >>> budget.spend(0.2)
    >>> budget.left() > 0  # 0.1 s saved at the start, 0.2 spent, 0.15 gained in a second
    True
    """

    def __init__(
        self,
        *,
        clock: Seconds = time.monotonic,
        busy: Seconds = time.process_time,
        share: float = SHARE,
        least: float = MIN_SHARE,
    ) -> None:
        self._clock = clock
        self._busy = busy
        self._share = share
        self._least = least
        self._left = MAX_SAVED_S
        self._seen = clock(), busy()

    def left(self) -> float:
        """Seconds that may be spent now; at most MAX_SAVED_S are saved up."""
        now, busy = self._clock(), self._busy()
        passed, used = now - self._seen[0], busy - self._seen[1]
        if passed > 0:
            idle = max(1 - used / passed, 0.0)
            self._left = min(
                self._left + passed * (self._least + (self._share - self._least) * idle),
                MAX_SAVED_S,
            )
            self._seen = now, busy
        return self._left

    def spend(self, seconds: float) -> None:
        """Deduct seconds that were used."""
        self._left -= seconds


class ProvisionalTimer:
    """Decides when one task emits provisional figures.

    Parameters
    ----------
    interval_ms
        Shortest time between two starts; None for never.
    budget
        Shared by the tasks of the process.
    clock, spent
        Seconds of a monotonic clock, and of the processor time of the calling thread.
    """

    def __init__(
        self,
        interval_ms: int | None,
        budget: ProvisionalBudget,
        *,
        clock: Seconds = time.monotonic,
        spent: Seconds = time.thread_time,
    ) -> None:
        self._interval = None if interval_ms is None else interval_ms / 1_000
        self._budget = budget
        self._clock = clock
        self._spent = spent
        self._next = float("-inf")

    def due(self) -> bool:
        """Whether the interval has passed and the budget is positive."""
        return (
            self._interval is not None and self._clock() >= self._next and self._budget.left() > 0
        )

    def begin(self) -> float:
        """Note that emission starts; returns the argument of `end`."""
        self._next = self._clock() + (self._interval or 0.0)
        return self._spent()

    def end(self, begun: float) -> None:
        """Note that emission ended, and charge the budget."""
        self._budget.spend(self._spent() - begun)
