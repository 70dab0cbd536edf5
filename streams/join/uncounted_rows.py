"""Rows of one batch that do not count, or not everywhere: their number by reason, and one example
of each with the numbers that decided it.

Counting them in the lanes is `lane_counts.py`; logging and metering them is the driver's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

import msgspec

UNCOUNTED_ROWS: Final = "uncounted-rows"
"""Side output of stage 1: records for the driver's log, which are written to no topic."""

Reason = Literal[
    "late_prediction",
    "dropped_prediction",
    "duplicate_prediction",
    "expired_prediction",
    "misdated_prediction",
    "late_truth",
    "duplicate_truth",
    "unmatched_truth",
    "misdated_truth",
]


class UncountedRow(msgspec.Struct, kw_only=True, gc=False):
    """The rows of one batch and reason, with the first of them as an example.

    Attributes
    ----------
    reason
        - late_prediction: the event time is before the watermark less the grace. The row counts in
          the decisions lane by its lateness, not in the traffic lane.
        - dropped_prediction: the event time is so far behind that the entry of its id may have
          expired. The row is dropped.
        - duplicate_prediction, duplicate_truth: the same event came before. It counts once.
        - expired_prediction: no truth came within the label horizon. The prediction counts without
          a label.
        - late_truth: the truth is a further one of its prediction, known after the label horizon,
          or after the correction horizon of the first one. It changes no outcome.
        - unmatched_truth: no prediction that it is in time for came within the park time.
        - misdated_prediction, misdated_truth: the event time is so far ahead of the rows before and
          after it that it did not move the watermark. The row counts in the window of its event
          time, which is announced only when other rows get there.
    count
        Number of rows.
    topic, offset, prediction_id
        The example; `offset` is None where its row came in an earlier batch.
    event_ms
        Its event time.
    known_ms
        Its time that is compared with the limit: the event time of a prediction, the time from
        which a truth counts as known, and for an unmatched truth the park time after that.
    watermark_ms
        Watermark of the topic when the row was judged; for an unmatched truth and an expired
        prediction the frontier, since both topics have to pass the limit.
    limit_ms
        The limit: a late or dropped prediction is before it, a late truth after it, and it is
        before the frontier of an unmatched truth or an expired prediction; a misdated row is after
        it. None for a duplicate, where no time decides.
    """

    reason: Reason
    count: int
    topic: str
    prediction_id: str
    offset: int | None
    event_ms: int
    known_ms: int
    watermark_ms: int
    limit_ms: int | None


class UncountedRows:
    """Uncounted rows of one batch, collected by reason."""

    def __init__(self) -> None:
        self._by_reason: dict[Reason, UncountedRow] = {}

    def __iter__(self) -> Iterator[UncountedRow]:
        return iter(self._by_reason.values())

    def add(self, reason: Reason, count: int, example: Callable[[], UncountedRow]) -> None:
        """Add `count` rows; `example` is called for the first of a reason."""
        row = self._by_reason.get(reason)
        if row is None:
            self._by_reason[reason] = example()
        else:
            row.count += count
