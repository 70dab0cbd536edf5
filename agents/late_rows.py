"""Log lines for late rows, with every number that decided, at most one a minute for each reason and
partition.

Stage 1 finds late rows (`driftline.streams.join.late_rows`); both drivers log them here. The lines
have level INFO: late rows are an ordinary part of a stream and are counted in any case.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from driftline.schemas.times import MINUTE_MS, format_time
from driftline.streams.join.late_rows import LateRow, Reason

log = logging.getLogger(__name__)

INTERVAL_MS: Final = MINUTE_MS

_RULE: Final[dict[Reason, str]] = {
    "late_prediction": (
        "the event time is before the limit, which is the watermark less the grace;"
        " it counts in the decisions lane, not in traffic"
    ),
    "dropped_prediction": (
        "the event time is before the limit, from which on a duplicate could be recognised;"
        " it is dropped"
    ),
    "late_truth": (
        "it is known after the limit, which is the label horizon of its prediction"
        " or the correction horizon of the first truth; it changes no outcome"
    ),
    "unmatched_truth": (
        "no prediction came before the limit, which is the park time after it was known,"
        " and the frontier has passed it"
    ),
}


class _Logged(msgspec.Struct):
    """When a reason of a partition was last logged, and how many rows came since."""

    at_ms: int
    suppressed: int = 0


class LateRowLog:
    """Writes late rows to the log.

    Parameters
    ----------
    clock
        Milliseconds since the epoch.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._logged: dict[tuple[Reason, int], _Logged] = {}

    def write(self, partition: int, late_rows: Iterable[LateRow]) -> None:
        """Log the late rows of one batch of a partition.

        The first of a reason is logged at once, then at most one in INTERVAL_MS, with the number of
        rows since the line before.
        """
        for row in late_rows:
            now_ms, key = self._clock(), (row.reason, partition)
            last = self._logged.get(key)
            if last is not None and now_ms - last.at_ms < INTERVAL_MS:
                last.suppressed += row.count
                continue
            log.info("%s", message(row, partition, 0 if last is None else last.suppressed))
            self._logged[key] = _Logged(now_ms)


def message(row: LateRow, partition: int, suppressed: int) -> str:
    """The log line of the late rows of one batch and reason.

    Parameters
    ----------
    suppressed
        Rows with the same reason and partition since the line before, without those of this batch.

    Examples
    --------
    >>> row = LateRow(
    ...     reason="late_prediction",
    ...     count=2,
    ...     topic="predictions",
    ...     prediction_id="a1",
    ...     offset=7,
    ...     event_ms=0,
    ...     known_ms=0,
    ...     watermark_ms=900_000,
    ...     limit_ms=300_000,
    ... )
    >>> print(message(row, 3, 40).replace(": ", ":\\n").replace("; ", ";\\n"))
    late_prediction:
    predictions[3]@7, prediction_id "a1":
    event time 1970-01-01T00:00:00Z, watermark 1970-01-01T00:15:00Z, limit 1970-01-01T00:05:00Z:
    the event time is before the limit, which is the watermark less the grace;
    it counts in the decisions lane, not in traffic;
    2 rows of this batch, 40 more since the last line
    """
    place = f"{row.topic}[{partition}]" + ("" if row.offset is None else f"@{row.offset}")
    times = f"event time {format_time(row.event_ms)}"
    if row.known_ms != row.event_ms:
        times += f", known at {format_time(row.known_ms)}"
    reached = "frontier" if row.reason == "unmatched_truth" else "watermark"
    times += f", {reached} {format_time(row.watermark_ms)}, limit {format_time(row.limit_ms)}"
    rows = "1 row" if row.count == 1 else f"{row.count} rows"
    more = f", {suppressed} more since the last line" if suppressed else ""
    return (
        f'{row.reason}: {place}, prediction_id "{row.prediction_id}": {times}: '
        f"{_RULE[row.reason]}; {rows} of this batch{more}"
    )
