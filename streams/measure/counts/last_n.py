"""The newest outcomes of each series, for the "last n" windows.

OutcomeRows rank by (time at which the truth was known, hash of the id). Kept are the newest n of each
series as of the last announcement, and what came after it, in buckets of time of which only as many
rows are kept as could still matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams import lanes
from driftline.streams.lanes import NO_LABEL
from driftline.streams.masks import any_true
from driftline.streams.measure.counts.count_table import (
    A_SHIFT,
    MEASURE_SHIFT,
    SERIES_SHIFT,
    CountTable,
    Ints,
)
from driftline.streams.measure.counts.gather import WindowJob
from driftline.streams.measure.counts.intake import ReceivedPartials, labels_of
from driftline.streams.measure.counts.merge_runs import MergeRuns, RunFormat
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.panes import CountSpan
from driftline.streams.measure.state_keys import NEW_OUTCOMES, NEWEST_OUTCOMES, state_key
from driftline.streams.measure.timing.windows import DueWindow, WindowPlan
from driftline.streams.stage import State

# Exact unless more outcomes than this are taken back in one series and bucket after it was cut to
# its newest rows.
SPARE: Final = 1_000
CACHED_ROWS: Final = 500_000
FORMAT: Final = 1


class OutcomeRows(msgspec.Struct, frozen=True):
    """Outcomes, columns of shape (N,): series number, time, hash, packed actual and predicted
    label, sign.
    """

    series: Ints
    time: Ints
    hash: NDArray[np.uint64]
    cell: Ints
    sign: Ints

    def __len__(self) -> int:
        return len(self.series)

    def take(self, at: NDArray[np.int64] | NDArray[np.bool_]) -> OutcomeRows:
        """The rows at `at`."""
        return OutcomeRows(
            self.series[at], self.time[at], self.hash[at], self.cell[at], self.sign[at]
        )

    def encode(self) -> bytes:
        """Format version and the columns one after another, little-endian."""
        return bytes([FORMAT]) + b"".join(
            column.astype(f"<{column.dtype.kind}8").tobytes() for column in self._columns()
        )

    @classmethod
    def decode(cls, data: bytes) -> OutcomeRows:
        """The inverse of `encode`."""
        if data[0] != FORMAT:
            raise ValueError(
                f"measure: recent outcomes of format {data[0]}, needed {FORMAT}; replay the log into a new folder"
            )
        n = (len(data) - 1) // 40
        columns = [
            np.frombuffer(data, f"<{kind}8", n, 1 + 8 * n * place)
            for place, kind in enumerate("iiuii")
        ]
        return cls(*columns)

    def _columns(self) -> tuple[NDArray[np.generic], ...]:
        return self.series, self.time, self.hash, self.cell, self.sign


class NewestOutcomes:
    """The newest outcomes of all models of a task.

    Parameters
    ----------
    most
        The largest n that any model asks for.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        kind = RunFormat(
            len,
            lambda parts: newest(joined(parts), most + SPARE),
            OutcomeRows.encode,
            OutcomeRows.decode,
        )
        self._runs = MergeRuns(kind, cached=CACHED_ROWS)

    def add(self, received: ReceivedPartials, steps_ms: Sequence[int], state: State) -> None:
        """Add the outcomes of all partials of a batch;

        `steps_ms` has the length of the buckets for each part.
        """
        if not any(len(partial.recent["series"]) for partial in received.partials):
            return
        part, rows = _translated(received, state)
        step_ms = np.array(steps_ms, np.int64)[part]
        owner, start = (
            np.array([part.model.number for part in received.parts], np.int64)[part],
            rows.time // step_ms * step_ms,
        )
        for number, start_ms in np.unique(np.stack((owner, start)), axis=1).T.tolist():
            of_bucket = rows.take((owner == number) & (start == start_ms))
            if len(of_bucket) > self._most:
                of_bucket = newest(of_bucket, self._most + SPARE)
            self._runs.append(state_key(NEW_OUTCOMES, number, start_ms), of_bucket, state)

    def jobs(
        self, model: MeasuredModel, plan: WindowPlan, end_ms: int, state: State
    ) -> list[WindowJob]:
        """The last-n windows that end at `end_ms`, of the series that gained an outcome since the
        announcement before.
        """
        sizes, held_place = model.config.last_n, state_key(NEWEST_OUTCOMES, model.number)
        bucket = state_key(NEW_OUTCOMES, model.number, end_ms - plan.recent_step_ms)
        fresh = newest(joined(self._runs.read(bucket, state)), None)
        if not len(fresh):
            return []
        # All that is held is older than all that is fresh, and both are in order of series and
        # rank.
        both = joined([*self._runs.read(held_place, state), fresh])
        rows = cut(both.take(np.argsort(both.series, kind="stable")), max(sizes))
        self._runs.replace(held_place, rows, state)
        self._runs.drop(
            state_key(NEW_OUTCOMES, model.number, 0),
            state_key(NEW_OUTCOMES, model.number, end_ms),
            state,
        )
        changed = np.zeros(len(model.series), np.bool_)
        changed[fresh.series] = True
        rows = rows.take(changed[rows.series])
        jobs = []
        for size in sorted(sizes):
            kept = cut(rows, size)
            keys = (kept.series << SERIES_SHIFT) | (lanes.CELLS << MEASURE_SHIFT) | kept.cell
            series, first = np.unique(kept.series, return_index=True)
            starts = dict(zip(series.tolist(), kept.time[first].tolist(), strict=True))
            due = DueWindow(f"last_{size}", "last_n", 0, end_ms, 0, None, True, 1, end_ms, end_ms)
            jobs.append(
                WindowJob(
                    due,
                    [CountSpan(CountTable(keys, np.ones(len(keys), np.int64)))],
                    end_ms,
                    starts=starts,
                )
            )
        return jobs


def joined(parts: Sequence[OutcomeRows]) -> OutcomeRows:
    """All rows of several."""
    columns = (
        zip(
            *((part.series, part.time, part.hash, part.cell, part.sign) for part in parts),
            strict=True,
        )
        if parts
        else _NONE
    )
    return OutcomeRows(*(np.concatenate(column) for column in columns))


def newest(rows: OutcomeRows, most: int | None) -> OutcomeRows:
    """By series and rank: what is left when rows that were taken back are gone, at most the newest
    `most` of each series.
    """
    rows = rows.take(np.lexsort((rows.cell, rows.hash, rows.time, rows.series)))
    if any_true(rows.sign != 1):
        same = (
            (rows.series[1:] == rows.series[:-1])
            & (rows.time[1:] == rows.time[:-1])
            & (rows.hash[1:] == rows.hash[:-1])
            & (rows.cell[1:] == rows.cell[:-1])
        )
        starts = np.flatnonzero(np.concatenate((_TRUE, ~same)))
        sums = np.add.reduceat(rows.sign, starts)
        rows = rows.take(starts)
        rows = OutcomeRows(rows.series, rows.time, rows.hash, rows.cell, sums).take(sums != 0)
    return rows.take(rows.sign > 0) if most is None else cut(rows, most)


def cut(rows: OutcomeRows, most: int) -> OutcomeRows:
    """The newest `most` of each series, of rows by series and rank."""
    if not len(rows):
        return rows
    ends = np.flatnonzero(np.diff(rows.series, append=-1)) + 1
    lengths = np.diff(ends, prepend=0)
    if int(lengths.max()) <= most:
        return rows
    return rows.take(np.repeat(ends, lengths) - np.arange(len(rows)) <= most)


def _translated(received: ReceivedPartials, state: State) -> tuple[Ints, OutcomeRows]:
    """The part of each outcome and the outcomes of all partials; those that begin with a retraction
    are none.
    """
    partials = received.partials
    columns = {
        name: np.concatenate([partial.recent[name] for partial in partials])
        for name in partials[0].recent
    }
    at = received.places([len(partial.recent["series"]) for partial in partials], columns["series"])
    part = received.part[at]
    actual, predicted = columns["actual"].astype(np.int64), columns["predicted"].astype(np.int64)
    numbers = labels_of(
        received.parts, np.concatenate((part, part)), np.concatenate((actual, predicted)), state
    )
    rows = OutcomeRows(
        received.number[at],
        columns["time"].astype(np.int64),
        columns["hash"].astype(np.uint64),
        numbers[: len(at)] << A_SHIFT | numbers[len(at) :],
        columns["sign"].astype(np.int64),
    )
    kept = np.flatnonzero((actual != NO_LABEL) & (predicted != NO_LABEL))
    return part[kept], rows.take(kept)


_NONE: Final = tuple(
    [np.zeros(0, dtype)] for dtype in (np.int64, np.int64, np.uint64, np.int64, np.int64)
)
_TRUE: Final = np.ones(1, np.bool_)
