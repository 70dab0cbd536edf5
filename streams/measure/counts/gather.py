"""From tables to dense arrays: the rows of all windows that are due at once, in one pass over the
columns.

What a job is (which window, which chunks of time) is decided by the caller; which records come of
it is `records.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from driftline.streams import lanes
from driftline.streams.lanes import ALL, NO_MODEL
from driftline.streams.masks import all_true
from driftline.streams.measure.counts.count_table import (
    A_SHIFT,
    CODES,
    MEASURE_BITS,
    MEASURE_SHIFT,
    RUNG_SHIFT,
    Ints,
)
from driftline.streams.measure.counts.dense_layout import (
    ANOTHER,
    LABEL_IN_A,
    NEGATIVE,
    POSITIVE,
    DenseLayout,
)
from driftline.streams.measure.counts.model import MeasuredModel, SeriesName, other_of
from driftline.streams.measure.counts.panes import CountSpan
from driftline.streams.measure.timing.windows import DueWindow
from driftline.streams.metrics.counts import Counts
from driftline.streams.summaries.loglinear import PER_OCTAVE

MOST_SEGMENTS: Final = 100
MOST_CELLS: Final = 4_000_000


class WindowJob(msgspec.Struct):
    """One window to evaluate.

    Attributes
    ----------
    due
        The window.
    chunks
        The counts of its time; in the decisions lane those beyond its rung are passed over.
    start_ms
        Where it begins.
    versions
        Only these versions, where not None.
    always
        Versions whose segment "all" is announced even without any count.
    starts
        Where it begins for each series number, where that differs.
    """

    due: DueWindow
    chunks: Sequence[CountSpan]
    start_ms: int
    versions: frozenset[str] | None = None
    always: Sequence[str] = ()
    starts: dict[int, int] | None = None


class CountBlock:
    """Counts of many series, of windows whose figures can be worked out together: one lane, the
    same labels, the same metrics.

    Attributes
    ----------
    dense
        Shape (S, layout.width).
    counts
        The same for metrics.
    """

    dense: Ints
    counts: Counts

    def __init__(self, lane: int, layout: DenseLayout) -> None:
        self.lane = lane
        self.layout = layout
        self.rows = 0
        self._places: list[Ints] = []
        self._counts: list[Ints] = []
        self._lengths: list[Ints] = []

    def add(self, window: WindowCounts, place: Ints, counts: Ints) -> None:
        """Put the counts of a window behind the others; `place` is row * layout.width + column."""
        window.block, window.first = self, self.rows
        due = window.job.due
        self._places.append(place + self.rows * self.layout.width)
        self._counts.append(counts)
        self._lengths.append(
            due.end_ms - window.starts()
            if due.kind != "last_n"
            else np.zeros(len(window.series), np.int64)
        )
        self.rows += len(window.series)

    def close(self) -> None:
        """Count everything."""
        # Not bincount: of the columns, thousands with histograms, most stay 0, and zeros that are
        # not written to take no memory.
        dense = np.zeros(self.rows * self.layout.width, np.int64)
        for place, counts in zip(self._places, self._counts, strict=True):
            np.add.at(dense, place, counts)
        self.dense = dense.reshape(self.rows, self.layout.width)
        self.counts = self.layout.counts(self.dense, np.concatenate(self._lengths))
        self._places, self._counts, self._lengths = [], [], []


def block_shape(model: MeasuredModel, layout: DenseLayout) -> tuple[object, ...]:
    """Windows share a block if this is the same: their figures are the same functions of the same
    columns.

    What belongs to no model has no metrics, whatever the configuration names.
    """
    return (
        layout.labels,
        layout.positive,
        layout.problem,
        model.config.metrics,
        model.name == NO_MODEL,
    )


class WindowCounts:
    """A job with its series and their counts.

    Attributes
    ----------
    layout
        Of its own model; the block's is that of another model with the same labels.
    series
        (version, segment) of each row, in the order of announcement.
    numbers
        Series number of each row; -1 where several series share it.
    block, first
        Where the counts are: from the row `first` on.
    by_rung
        Shape (S, R): outcomes with a label in force at each rung, for final announcements in the
        decisions lane.
    """

    __slots__ = ("block", "by_rung", "first", "job", "layout", "numbers", "series")

    block: CountBlock

    def __init__(
        self,
        job: WindowJob,
        layout: DenseLayout,
        rows: Sequence[tuple[SeriesName, int]],
        by_rung: Ints | None,
    ) -> None:
        self.job = job
        self.layout = layout
        self.series = [pair for pair, _ in rows]
        self.numbers = [number for _, number in rows]
        self.by_rung = by_rung
        self.first = 0

    @property
    def dense(self) -> Ints:
        """Shape (S, layout.width)."""
        return self.block.dense[self.first : self.first + len(self.series)]

    def scores(self, number: int) -> tuple[Ints, Ints]:
        """Score histograms of a series by actual label, of the fit and the hold-out half, two
        arrays of shape (K, 1000).
        """
        layout = self.layout
        parts = [
            _unfolded(chunk, layout, _rows_at(chunk, self.block.lane, self.job))
            for chunk in self.job.chunks
        ]
        found = [
            (chunk.table.keys, part, np.flatnonzero(part[0] == number))
            for chunk, part in zip(self.job.chunks, parts, strict=True)
        ]
        keys = np.concatenate([keys[at] for keys, _, at in found])
        column = np.concatenate([part[1][at] for _, part, at in found])
        counts = np.concatenate([part[2][at] for _, part, at in found])
        return layout.scores(keys, column, counts, lanes.SCORES_FIT), layout.scores(
            keys, column, counts, lanes.SCORES_HOLDOUT
        )

    def starts(self) -> Ints:
        """Start of the window for each of its series, shape (S,)."""
        job = self.job
        if job.starts is None:
            return np.full(len(self.series), job.start_ms, np.int64)
        return np.array([job.starts.get(number, job.start_ms) for number in self.numbers], np.int64)


class WindowGatherer:
    """Keeps the layouts of all models between calls; they can be made anew from the labels and the
    tables.
    """

    def __init__(self) -> None:
        self._layouts: dict[tuple[int, int], DenseLayout] = {}
        self._bins: dict[int, Ints] = {}
        self._made = 0

    def evaluate(
        self, lane: int, jobs: Sequence[tuple[MeasuredModel, Sequence[WindowJob]]]
    ) -> list[list[WindowCounts]]:
        """For each model the jobs that have anything to announce, in their order.

        Windows of several models share a block where they can: a metric costs about the same for 2
        series and for 100.
        """
        found: list[list[WindowCounts]] = []
        opened: dict[tuple[object, ...], CountBlock] = {}
        blocks: list[CountBlock] = []
        layouts = [
            self._fitting(model, lane, of_model) if of_model else None for model, of_model in jobs
        ]
        for (model, of_model), layout in zip(jobs, layouts, strict=True):
            windows: list[WindowCounts] = []
            found.append(windows)
            if layout is None:
                continue
            if layout.bins is not self._bins[lane]:
                # Another model has shown bins that are new.
                layout = self._fitting(model, lane, of_model)
            shape = block_shape(model, layout)
            for job in of_model:
                selected = _selected(model, lane, layout, job)
                if selected is None:
                    continue
                window, place, counts = selected
                block = opened.get(shape)
                if block is None or (
                    block.rows and (block.rows + len(window.series)) * layout.width > MOST_CELLS
                ):
                    block = opened[shape] = CountBlock(lane, layout)
                    blocks.append(block)
                block.add(window, place, counts)
                windows.append(window)
        for block in blocks:
            block.close()
        return found

    def _fitting(self, model: MeasuredModel, lane: int, jobs: Sequence[WindowJob]) -> DenseLayout:
        """The layout of the lane, grown by the labels and bins that the jobs show for the first
        time.
        """
        layout = self._layouts.get((model.number, lane))
        if (
            layout is None
            or layout.label_set != model.facts.label_set
            or layout.bins is not self._bins[lane]
        ):
            # The labels alone decide, not which lane showed them first: a restart must come to the
            # same matrix.
            layout = self._grown(model, lane, np.zeros(0, np.int64), layout)
        while True:
            unknown = []
            for job in jobs:
                for chunk in job.chunks:
                    end = _rows_at(chunk, lane, job)
                    _, column, _ = _unfolded(chunk, layout, end)
                    if chunk.has_unknown:
                        unknown.append(chunk.table.keys[:end][column < 0])
            keys = _joined(unknown)
            if not len(keys):
                return layout
            layout = self._grown(model, lane, keys, layout)

    def _grown(
        self, model: MeasuredModel, lane: int, keys: Ints, before: DenseLayout | None
    ) -> DenseLayout:
        """A layout that also knows the labels and bins in `keys`."""
        measure = keys >> MEASURE_SHIFT & (1 << MEASURE_BITS) - 1
        a, b = keys >> A_SHIFT & CODES - 1, keys & CODES - 1
        codes = np.flatnonzero(
            np.bincount(np.concatenate((a[LABEL_IN_A[measure]], b[measure == lanes.CELLS])))
        ).tolist()
        binned = b[(measure == lanes.DELAY) | (measure == lanes.LATENCY)]
        bins = self._bins.setdefault(lane, binned[:0])
        if not all_true(np.isin(binned, bins)):
            # By the octave: a bin beside those that are known is in before it comes, and layouts
            # are seldom made anew.
            octaves = np.unique(binned // PER_OCTAVE)
            bins = self._bins[lane] = np.union1d(
                bins, (octaves[:, None] * PER_OCTAVE + np.arange(PER_OCTAVE)).ravel()
            )
        configured = model.config.positive_label
        held = model.facts.label_set
        names = model.labels.names
        learnt = held.with_more(
            [names[code] for code in codes if code < len(names)],
            derived=POSITIVE in codes or NEGATIVE in codes,
            many=ANOTHER in codes,
            configured=configured,
        )
        if (
            before is not None
            and (learnt, len(names)) == (before.label_set, before.named)
            and bins is before.bins
        ):
            raise ValueError(
                f"measure: label codes {codes} of {model.name!r} are no labels; stage 1 is of another release"
            )
        model.facts.label_set = learnt
        self._made += 1
        layout = self._layouts[model.number, lane] = DenseLayout(
            self._made, lane, learnt, configured, names, bins
        )
        return layout


def _rows_at(chunk: CountSpan, lane: int, job: WindowJob) -> int:
    """Number of rows of a chunk that are known at the job's rung."""
    if lane != lanes.DECISIONS:
        return len(chunk.table)
    return int(np.searchsorted(chunk.table.keys, (job.due.rung + 1) << RUNG_SHIFT))


def _selected(
    model: MeasuredModel, lane: int, layout: DenseLayout, job: WindowJob
) -> tuple[WindowCounts, Ints, Ints] | None:
    """A job with its rows, and the place in a block that begins with them and each of its counts;

    None without rows.
    """
    parts = [_unfolded(chunk, layout, _rows_at(chunk, lane, job)) for chunk in job.chunks]
    series, column, counts = (_joined([part[field] for part in parts]) for field in range(3))
    rows, row_of = _rows(model, layout, job, series, column, counts)
    if not rows:
        return None
    row = row_of[series]
    if job.versions is not None:
        kept = row >= 0
        row, column, counts = row[kept], column[kept], counts[kept]
    by_rung = None
    if lane == lanes.DECISIONS and job.due.final and job.due.size_ms:
        rungs = _joined(
            [chunk.table.keys[: _rows_at(chunk, lane, job)] >> RUNG_SHIFT for chunk in job.chunks]
        )
        cells, width = np.flatnonzero(layout.is_cell(column)), job.due.rung + 1
        gained = np.bincount(
            row[cells] * width + rungs[cells], weights=counts[cells], minlength=len(rows) * width
        )
        by_rung = np.cumsum(gained.astype(np.int64).reshape(len(rows), width), axis=1)
    return WindowCounts(job, layout, rows, by_rung), row * layout.width + column, counts


def _unfolded(chunk: CountSpan, layout: DenseLayout, end: int) -> tuple[Ints, Ints, Ints]:
    """Series number, column and count of the first `end` rows of a chunk."""
    chunk.unfold(layout)
    return chunk.series[:end], chunk.column[:end], chunk.table.counts[:end]


def _joined(parts: Sequence[Ints]) -> Ints:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _rows(
    model: MeasuredModel,
    layout: DenseLayout,
    job: WindowJob,
    series: Ints,
    column: Ints,
    counts: Ints,
) -> tuple[list[tuple[SeriesName, int]], Ints]:
    """The rows to announce, as (version, segment) and series number, and the row of each series
    number (-1 for none).

    Of each dimension the 100 largest segments have rows of their own, ties by name; the others
    share the row "other".
    """
    names = model.series.names
    present = np.flatnonzero(np.bincount(series, minlength=len(names)))
    if job.versions is not None:
        versions = job.versions
        present = np.array(
            [number for number in present.tolist() if names[number][0] in versions], np.int64
        )
    row_of = np.full(len(names), -1, np.int64)
    ranked = present[np.argsort(model.rank[present])]
    rows = [(names[number], number) for number in ranked.tolist()]
    row_of[ranked] = np.arange(len(ranked))
    shared = (
        _shared(model, layout, ranked, series, column, counts)
        if len(ranked) > MOST_SEGMENTS
        else {}
    )
    missing = (
        [version for version in job.always if ((version, ALL)) not in {pair for pair, _ in rows}]
        if job.always
        else []
    )
    if shared or missing:
        pairs: dict[SeriesName, int] = {}
        for pair, number in rows:
            target = shared.get(number, pair)
            pairs[target] = number if target not in pairs and target == pair else -1
        for version in missing:
            pairs[version, ALL] = -1
        order = sorted(pairs, key=lambda pair: (pair[0], pair[1] != ALL, pair[1]))
        place = {pair: number for number, pair in enumerate(order)}
        for pair, number in rows:
            row_of[number] = place[shared.get(number, pair)]
        rows = [(pair, pairs[pair]) for pair in order]
    return rows, row_of


def _shared(
    model: MeasuredModel,
    layout: DenseLayout,
    ranked: Ints,
    series: Ints,
    column: Ints,
    counts: Ints,
) -> dict[int, SeriesName]:
    """The pair (version, "dimension=other") of each series that is not among the 100 largest of its
    dimension.
    """
    names = model.series.names
    weighs = layout.weighs(column)
    weight = np.bincount(series[weighs], weights=counts[weighs], minlength=len(names)).astype(
        np.int64
    )
    groups: dict[SeriesName, list[int]] = {}
    for number in ranked.tolist():
        version, segment = names[number]
        if segment != ALL:
            groups.setdefault((version, other_of(segment)), []).append(number)
    shared: dict[int, SeriesName] = {}
    for other, numbers in groups.items():
        if len(numbers) > MOST_SEGMENTS:
            largest_first = sorted(
                numbers, key=lambda number: (-int(weight[number]), names[number][1])
            )
            shared |= dict.fromkeys(largest_first[MOST_SEGMENTS:], other)
    return shared
