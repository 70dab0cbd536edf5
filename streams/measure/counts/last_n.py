"""The newest outcomes of each series, for the last-n windows.

Outcomes rank by (time at which the truth became known, hash of the id). State holds the newest n of
each series as of the last emission, and the later outcomes in buckets of time, of which only as
many rows are kept as can still matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams import lanes
from driftline.streams.lanes import ARRIVALS, NO_LABEL
from driftline.streams.masks import any_true
from driftline.streams.measure.counts.count_table import CountTable
from driftline.streams.measure.counts.gather import WindowJob
from driftline.streams.measure.counts.intake import ReceivedPartials, label_numbers
from driftline.streams.measure.counts.merge_runs import MergeRuns, RunFormat
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.packed_key import Ints, pack_labels, series_keys
from driftline.streams.measure.counts.panes import CountSpan
from driftline.streams.measure.state_keys import NEW_OUTCOMES, NEWEST_OUTCOMES, state_key
from driftline.streams.measure.timing.windows import DueWindow, WindowPlan
from driftline.streams.ordered_outcomes import OrderedOutcomes
from driftline.streams.stage import State
from driftline.streams.work_slices import WorkSlices, in_slices

# The windows are exact unless more outcomes than this are retracted in one series and bucket after
# the bucket was cut to its newest rows.
SPARE: Final = 1_000
CACHED_ROWS: Final = 500_000
# Buckets deleted one by one; more of them are deleted as a range.
MOST_BUCKETS: Final = 256
FORMAT: Final = 1


class OutcomeRows(msgspec.Struct, frozen=True):
    """Outcomes as columns of shape (N,).

    Attributes
    ----------
    series
        Series number.
    time
        Event time in ms at which the truth became known.
    hash
        Hash of the prediction id.
    cell
        Actual and predicted label, packed.
    sign
        1, or -1 for an outcome that is retracted.
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
        """Format version, then the columns one after another, little-endian."""
        return bytes([FORMAT]) + b"".join(
            column.astype(f"<{column.dtype.kind}8").tobytes() for column in self._columns()
        )

    @classmethod
    def decode(cls, data: bytes) -> OutcomeRows:
        """The inverse of `encode`.

        Raises
        ------
        ValueError
            If another format version wrote it.
        """
        if data[0] != FORMAT:
            raise ValueError(
                f"measure: outcomes of format {data[0]}, this release reads format {FORMAT}; "
                "replay the log into a new folder"
            )
        n = (len(data) - 1) // 40
        columns = [
            np.frombuffer(data, f"<{kind}8", n, 1 + 8 * n * place)
            for place, kind in enumerate("iiuii")
        ]
        return cls(*columns)

    def _columns(self) -> tuple[NDArray[np.generic], ...]:
        return self.series, self.time, self.hash, self.cell, self.sign


class StepOutcomes(NamedTuple):
    """The outcomes of one step of a model.

    Attributes
    ----------
    jobs
        The last-n windows that end with the step, of the series with a new outcome.
    new
        The new outcomes, by series and rank.
    """

    jobs: list[WindowJob]
    new: OutcomeRows


class NewestOutcomes:
    """The newest outcomes of all models of a task.

    Parameters
    ----------
    most
        The largest n in the configuration.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        outcomes = RunFormat(
            size=len,
            merge=lambda parts: newest(joined(parts), most + SPARE),
            encode=OutcomeRows.encode,
            decode=OutcomeRows.decode,
        )
        self._runs = MergeRuns(outcomes, cached=CACHED_ROWS)
        # By model number, the starts of the buckets that this process has added to; and the models
        # whose earlier buckets are deleted.
        self._buckets: dict[int, set[int]] = {}
        self._dropped: set[int] = set()

    def add(
        self, received: ReceivedPartials, steps_ms: Sequence[int], state: State
    ) -> WorkSlices[None]:
        """Add the outcomes of all partials of a batch, in slices.

        Parameters
        ----------
        steps_ms
            Length of the buckets, by part of `received`.
        """
        if not any(len(partial.recent["series"]) for partial in received.partials):
            return
        part, rows = _translated(received, state)
        step_ms = np.array(steps_ms, np.int64)[part]
        owner, start = received.model_numbers[part], rows.time // step_ms * step_ms
        if not len(rows):
            return
        order = np.lexsort((start, owner))
        rows, owner, start = rows.take(order), owner[order], start[order]
        is_first = (owner[1:] != owner[:-1]) | (start[1:] != start[:-1])
        edges = [0, *(is_first.nonzero()[0] + 1).tolist(), len(rows)]
        begins = edges[:-1]
        buckets = zip(pairwise(edges), owner[begins].tolist(), start[begins].tolist(), strict=True)
        for some in in_slices(list(buckets)):
            for (begin, end), number, start_ms in some:
                of_bucket = rows.take(np.arange(begin, end))
                if len(of_bucket) > self._most:
                    of_bucket = newest(of_bucket, self._most + SPARE)
                self._runs.append(state_key(NEW_OUTCOMES, number, start_ms), of_bucket, state)
                self._buckets.setdefault(number, set()).add(start_ms)
            yield

    def step(
        self, model: MeasuredModel, plan: WindowPlan, end_ms: int, state: State
    ) -> StepOutcomes:
        """The outcomes of the step that ends at `end_ms`."""
        sizes, newest_key = model.config.last_n, state_key(NEWEST_OUTCOMES, model.number)
        bucket = state_key(NEW_OUTCOMES, model.number, end_ms - plan.last_n_step_ms)
        runs = self._runs.read(bucket, state)
        new = newest(joined(runs), None) if runs else _NO_OUTCOMES
        if not len(new):
            return StepOutcomes([], new)
        # All stored rows are older than the new ones, and both are sorted by series and rank.
        both = joined([*self._runs.read(newest_key, state), new])
        rows = cut(both.take(np.argsort(both.series, kind="stable")), max(sizes))
        self._runs.replace(newest_key, rows, state)
        self._drop_before(model, plan.last_n_step_ms, end_ms, state)
        has_new = np.zeros(len(model.series), np.bool_)
        has_new[new.series] = True
        rows = rows.take(has_new[rows.series])
        jobs = [_job(size, cut(rows, size), end_ms) for size in sorted(sizes)]
        return StepOutcomes(jobs, new)

    def _drop_before(self, model: MeasuredModel, step_ms: int, end_ms: int, state: State) -> None:
        """Delete the buckets before `end_ms`.

        The first call for a model may find buckets of an earlier process; later ones know theirs.
        """
        added = self._buckets.setdefault(model.number, set())
        if model.number not in self._dropped:
            self._dropped.add(model.number)
            first_ms = model.facts.first_pane_ms[ARRIVALS]
            start_ms = 0 if first_ms is None else first_ms // step_ms * step_ms
            if (end_ms - start_ms) // step_ms > MOST_BUCKETS:
                self._runs.drop_range(
                    state_key(NEW_OUTCOMES, model.number, 0),
                    state_key(NEW_OUTCOMES, model.number, end_ms),
                    state,
                )
            else:
                added.update(range(start_ms, end_ms, step_ms))
        old = sorted(start_ms for start_ms in added if start_ms < end_ms)
        self._runs.drop((state_key(NEW_OUTCOMES, model.number, each) for each in old), state)
        added.difference_update(old)


def _job(size: int, rows: OutcomeRows, end_ms: int) -> WindowJob:
    """The window of the last `size` outcomes; it starts at the oldest outcome of each series."""
    table = CountTable(
        series_keys(rows.series, lanes.CELLS, rows.cell), np.ones(len(rows), np.int64)
    )
    series, first = np.unique(rows.series, return_index=True)
    due = DueWindow(
        window=f"last_{size}",
        kind="last_n",
        size_ms=0,
        end_ms=end_ms,
        complete_at_ms=end_ms,
        last_final_ms=end_ms,
    )
    starts = dict(zip(series.tolist(), rows.time[first].tolist(), strict=True))
    return WindowJob(due, [CountSpan(table)], end_ms, starts=starts)


def joined(parts: Sequence[OutcomeRows]) -> OutcomeRows:
    """All rows of several parts."""
    if not parts:
        return _NO_OUTCOMES
    return OutcomeRows(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.hash for part in parts]),
        np.concatenate([part.cell for part in parts]),
        np.concatenate([part.sign for part in parts]),
    )


def newest(rows: OutcomeRows, most: int | None) -> OutcomeRows:
    """Rows by series and rank, without retracted ones; at most the newest `most` of each series."""
    rows = rows.take(np.lexsort((rows.cell, rows.hash, rows.time, rows.series)))
    if any_true(rows.sign != 1):
        is_same = (
            (rows.series[1:] == rows.series[:-1])
            & (rows.time[1:] == rows.time[:-1])
            & (rows.hash[1:] == rows.hash[:-1])
            & (rows.cell[1:] == rows.cell[:-1])
        )
        starts = np.flatnonzero(np.concatenate((_TRUE, ~is_same)))
        sums = np.add.reduceat(rows.sign, starts)
        rows = rows.take(starts)
        rows = OutcomeRows(rows.series, rows.time, rows.hash, rows.cell, sums).take(sums != 0)
    return rows.take(rows.sign > 0) if most is None else cut(rows, most)


def cut(rows: OutcomeRows, most: int) -> OutcomeRows:
    """The newest `most` of each series, from rows by series and rank."""
    if not len(rows):
        return rows
    ends = np.flatnonzero(np.diff(rows.series, append=-1)) + 1
    lengths = np.diff(ends, prepend=0)
    if int(lengths.max()) <= most:
        return rows
    return rows.take(np.repeat(ends, lengths) - np.arange(len(rows)) <= most)


def ordered_outcomes(
    model: MeasuredModel, rows: OutcomeRows, wrong: Ints, start_ms: int, end_ms: int
) -> OrderedOutcomes:
    """The outcomes of a step by series, from rows by series and rank.

    Parameters
    ----------
    wrong
        Shape (N,): 1 for a wrong prediction, 0 for a right one, -1 for one that is left out.
    """
    ends = np.flatnonzero(np.diff(rows.series, append=-1)) + 1
    errors = wrong.astype(np.int8)
    by_rank = {}
    for begin, end in pairwise([0, *ends.tolist()]):
        number = int(rows.series[begin])
        of_series = errors[begin:end]
        if known := of_series[of_series >= 0].tobytes():
            by_rank[int(model.rank[number])] = (model.series.names[number], known)
    return OrderedOutcomes(
        model_name=model.name,
        start_ms=start_ms,
        end_ms=end_ms,
        errors=tuple(by_rank[rank] for rank in sorted(by_rank)),
    )


class _Translated(NamedTuple):
    """Outcomes of all partials, and the part of `received` that each is of, shape (N,)."""

    part: Ints
    rows: OutcomeRows


def _translated(received: ReceivedPartials, state: State) -> _Translated:
    """The outcomes of all partials; rows without an actual or a predicted label are left out."""
    partials = received.partials
    columns = {
        name: np.concatenate([partial.recent[name] for partial in partials])
        for name in partials[0].recent
    }
    at = received.places([len(partial.recent["series"]) for partial in partials], columns["series"])
    part = received.part[at]
    actual, predicted = columns["actual"].astype(np.int64), columns["predicted"].astype(np.int64)
    numbers = label_numbers(
        received.parts, np.concatenate((part, part)), np.concatenate((actual, predicted)), state
    )
    rows = OutcomeRows(
        received.number[at],
        columns["time"].astype(np.int64),
        columns["hash"].astype(np.uint64),
        pack_labels(numbers[: len(at)], numbers[len(at) :]),
        columns["sign"].astype(np.int64),
    )
    kept = np.flatnonzero((actual != NO_LABEL) & (predicted != NO_LABEL))
    return _Translated(part[kept], rows.take(kept))


_NO_INTS: Final = np.zeros(0, np.int64)
_NO_OUTCOMES: Final = OutcomeRows(_NO_INTS, _NO_INTS, np.zeros(0, np.uint64), _NO_INTS, _NO_INTS)
_TRUE: Final = np.ones(1, np.bool_)
