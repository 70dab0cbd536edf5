"""Rows that the tasks of a worker read and did not count: metrics, log lines, totals for health.

A task reports here what it has committed, so that a repeated batch counts once.
"""

from __future__ import annotations

import logging
from collections import Counter as _Tally
from collections import deque
from collections.abc import Callable
from typing import Final, get_args

import msgspec
from prometheus_client import Counter

from driftline.agents.input_rules import with_rules
from driftline.agents.uncounted_rows import (
    JOIN_REASONS,
    KEY_REASONS,
    KEY_REMEDY,
    BatchTally,
    Uncounted,
    UncountedLog,
    UncountedTotals,
)
from driftline.schemas.rejects import Reason
from driftline.schemas.times import MINUTE_MS
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

UNCOUNTED: Final = Counter(
    "driftline_uncounted_rows",
    "Rows that do not count, or not everywhere: rejected, late, repeated, without a counterpart; "
    "and rows that count, but with a key or a value that should be another.",
    ("topic", "reason"),
)
# A counter that appears with its first increment has no rate over it.
for _topic in (PREDICTIONS, GROUND_TRUTH):
    for _reason in (*get_args(Reason), *JOIN_REASONS[_topic], *KEY_REASONS):
        UNCOUNTED.labels(_topic, _reason)

RECENT_MINUTES: Final = 10
LIMIT: Final = 0.05
"""Share of the rows of a topic, over RECENT_MINUTES, that may be lost without a warning."""
FEW_ROWS: Final = 20
"""Lost rows below which there is no warning."""


def is_much(rows: int, of: int) -> bool:
    """Whether so many of the rows of a topic are worth a warning."""
    return rows >= FEW_ROWS and rows > LIMIT * of


class _Minute(msgspec.Struct):
    """Rows of one topic in one minute of the clock."""

    minute: int
    received: int = 0
    lost: dict[str, int] = {}
    wrong_keys: dict[str, int] = {}


class WorkerTally:
    """Rows of all tasks of a worker since its start.

    Parameters
    ----------
    clock
        Milliseconds since the epoch.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._log = UncountedLog(clock, rejected=logging.WARNING)
        self._totals = UncountedTotals({})
        self._recent: dict[str, deque[_Minute]] = {}

    def add(self, partition: int, tally: BatchTally) -> None:
        """Add the rows of one commit."""
        if not tally.received and not tally.uncounted:
            return
        for topic, received in tally.received.items():
            self._minute(topic).received += received
        if not tally.uncounted:
            return
        for rows in tally.uncounted:
            UNCOUNTED.labels(rows.topic, rows.reason).inc(rows.rows)
            minute = self._minute(rows.topic)
            if rows.reason in KEY_REASONS:
                _add(minute.wrong_keys, rows)
            elif not rows.is_usual:
                _add(minute.lost, rows)
        self._totals.add(tally.uncounted)
        self._log.write(partition, tally.uncounted)

    def listed(self) -> list[Uncounted]:
        """What was not counted since the start, most rows first."""
        return self._totals.listed()

    def warnings(self) -> list[str]:
        """A sentence for each topic of which more than LIMIT was lost lately, or had wrong keys."""
        warnings = []
        for topic, minutes in self._recent.items():
            self._forget(minutes)
            lost: _Tally[str] = _Tally()
            wrong_keys: _Tally[str] = _Tally()
            for minute in minutes:
                lost.update(minute.lost)
                wrong_keys.update(minute.wrong_keys)
            # A truth may be found unmatched long after it was read.
            received = max(sum(minute.received for minute in minutes), lost.total())
            for reasons, what in (
                (
                    lost,
                    "do not count, or not everywhere ({}); not_counted and the log have examples",
                ),
                (
                    wrong_keys,
                    "may not meet their counterparts, because of their keys ({}); "
                    f"{with_rules(KEY_REMEDY, 'Keys on Kafka')}; not_counted and the log have "
                    "examples",
                ),
            ):
                if is_much(reasons.total(), received):
                    named = ", ".join(f"{n:,} {reason}" for reason, n in reasons.most_common())
                    warnings.append(
                        f"{topic}: {reasons.total():,} of {received:,} rows in the last "
                        f"{RECENT_MINUTES} minutes {what.format(named)}"
                    )
        return warnings

    def _minute(self, topic: str) -> _Minute:
        minutes = self._recent.setdefault(topic, deque())
        now = self._clock() // MINUTE_MS
        if not minutes or minutes[-1].minute != now:
            minutes.append(_Minute(now))
            self._forget(minutes)
        return minutes[-1]

    def _forget(self, minutes: deque[_Minute]) -> None:
        oldest = self._clock() // MINUTE_MS - RECENT_MINUTES
        while minutes and minutes[0].minute <= oldest:
            minutes.popleft()


def _add(totals: dict[str, int], rows: Uncounted) -> None:
    totals[rows.reason] = totals.get(rows.reason, 0) + rows.rows
