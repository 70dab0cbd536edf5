"""From tables to dense arrays: the rows of all windows that are due at once, in one pass.

The caller decides on the windows and their spans of time; records are built in
`figures/records.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np

from driftline.streams import lanes
from driftline.streams.lanes import ALL, NO_MODEL
from driftline.streams.masks import all_true
from driftline.streams.measure.counts.dense_layout import (
    ACTUAL_IN_A,
    ANOTHER,
    NEGATIVE,
    POSITIVE,
    PREDICTED_IN_A,
    DenseLayout,
    LabelledBins,
    SharedLayouts,
)
from driftline.streams.measure.counts.labels import LabelSet
from driftline.streams.measure.counts.model import MeasuredModel, SeriesName, other_of
from driftline.streams.measure.counts.packed_key import (
    Ints,
    first_key_of_rung,
    rungs_of,
    unpack_measure,
)
from driftline.streams.measure.counts.panes import CountSpan, unfold_together
from driftline.streams.measure.timing.windows import DueWindow
from driftline.streams.metrics.counts import Counts
from driftline.streams.summaries.loglinear import PER_OCTAVE

MOST_SEGMENTS: Final = 100
MOST_CELLS: Final = 4_000_000


class WindowJob(msgspec.Struct):
    """One window to gather.

    Attributes
    ----------
    due
        The window.
    spans
        The counts of its time; in the decisions lane, rows beyond its rung are left out.
    start_ms
        Its start.
    versions
        Only these versions, if not None.
    always
        Versions whose segment "all" is emitted even without any count.
    starts
        Start by series number, where it differs from `start_ms`.
    """

    due: DueWindow
    spans: Sequence[CountSpan]
    start_ms: int
    versions: frozenset[str] | None = None
    always: Sequence[str] = ()
    starts: dict[int, int] | None = None


class WindowRows(msgspec.Struct, frozen=True, eq=False):
    """The series of one window, and their counts before they are put into a block.

    Attributes
    ----------
    job
        The window.
    layout
        The layout of its model.
    series, numbers
        (version, segment) of each row in the order of emission, and its series number; -1 if
        several series share the row.
    by_rung
        Shape (S, R): outcomes with a label in force at each rung, for final windows in the
        decisions lane; else None.
    place, counts
        Shape (N,): row * layout.width + column, and the count there; places may be repeated.
    score_place, score_counts
        Shape (M,): row * layout.score_width + column behind the dense ones, and the count there.
    """

    job: WindowJob
    layout: DenseLayout
    series: Sequence[SeriesName]
    numbers: Sequence[int]
    by_rung: Ints | None
    place: Ints
    counts: Ints
    score_place: Ints
    score_counts: Ints

    def starts(self) -> list[int]:
        """Start of the window for each series."""
        job = self.job
        if job.starts is None:
            return [job.start_ms] * len(self.series)
        return [job.starts.get(number, job.start_ms) for number in self.numbers]

    def lengths(self) -> list[int]:
        """Length of the window in ms for each series; 0 for last-n windows."""
        due = self.job.due
        if due.kind == "last_n":
            return [0] * len(self.series)
        return [due.end_ms - start_ms for start_ms in self.starts()]


@dataclass(frozen=True, eq=False)
class CountBlock:
    """Counts of the series of several windows: one lane, the same labels, the same metrics.

    Attributes
    ----------
    lane, layout
        The lane, and the layout of one of the models in the block.
    dense
        Shape (S, layout.width).
    counts
        The same for metrics.
    """

    lane: int
    layout: DenseLayout
    dense: Ints
    counts: Counts

    @classmethod
    def of(cls, lane: int, windows: Sequence[WindowRows]) -> Self:
        """The block of windows one after another, in the layout of the first one."""
        layout = windows[0].layout
        width, rows = layout.width, sum(len(window.series) for window in windows)
        # Not bincount: most of the columns, hundreds with delays, stay 0, and zeros that are never
        # written take no memory.
        flat = np.zeros(rows * width, np.int64)
        first = 0
        place, score_place = [], []
        for window in windows:
            place.append(window.place + first * width)
            if len(window.score_place):
                score_place.append(window.score_place + first * layout.score_width)
            first += len(window.series)
        np.add.at(flat, _joined(place), _joined([window.counts for window in windows]))
        dense = flat.reshape(rows, width)
        lengths = np.array([each for window in windows for each in window.lengths()], np.int64)
        scores = layout.score_cells(
            rows,
            _joined(score_place),
            _joined([window.score_counts for window in windows if len(window.score_place)]),
        )
        return cls(lane, layout, dense, layout.counts(dense, lengths, scores))


class WindowCounts(msgspec.Struct, frozen=True, eq=False):
    """A window with its series and their counts in a block.

    Attributes
    ----------
    job, series, numbers, by_rung
        As in `WindowRows`.
    layout
        The layout of its own model; the block has that of a model with the same labels.
    starts_ms
        Start of the window for each series.
    block, first
        The block with the counts, and the first of the rows in it.
    """

    job: WindowJob
    series: Sequence[SeriesName]
    numbers: Sequence[int]
    by_rung: Ints | None
    layout: DenseLayout
    starts_ms: Sequence[int]
    block: CountBlock
    first: int

    @classmethod
    def of(cls, window: WindowRows, block: CountBlock, first: int) -> Self:
        """A window whose rows begin at the row `first` of a block."""
        return cls(
            job=window.job,
            series=window.series,
            numbers=window.numbers,
            by_rung=window.by_rung,
            layout=window.layout,
            starts_ms=window.starts(),
            block=block,
            first=first,
        )

    @property
    def dense(self) -> Ints:
        """Shape (S, layout.width)."""
        return self.block.dense[self.first : self.first + len(self.series)]

    def scores(self, number: int) -> ScoreHalves:
        """Score histograms of a series by actual label."""
        layout = self.layout
        keys, column, counts = [], [], []
        for span in self.job.spans:
            end = rows_at(span, self.block.lane, self.job)
            unfolded = span.unfold(layout)
            at = np.flatnonzero(unfolded.series[:end] == number)
            keys.append(span.table.keys[at])
            column.append(unfolded.column[at])
            counts.append(span.table.counts[at])
        rows = np.concatenate(keys), np.concatenate(column), np.concatenate(counts)
        return ScoreHalves(
            layout.scores(*rows, lanes.SCORES_FIT), layout.scores(*rows, lanes.SCORES_HOLDOUT)
        )


class ScoreHalves(NamedTuple):
    """Score histograms of both halves."""

    fit: LabelledBins
    holdout: LabelledBins


def block_shape(model: MeasuredModel, layout: DenseLayout) -> tuple[object, ...]:
    """Windows with the same shape share a block: the same metrics read the same columns.

    Counts that belong to no model have no metrics, whatever the configuration names.
    """
    return (
        layout.labels,
        layout.positive,
        layout.strays,
        layout.problem,
        model.config.metrics,
        model.name == NO_MODEL,
    )


def fill_blocks(
    lane: int, windows: Sequence[tuple[MeasuredModel, WindowRows]]
) -> list[WindowCounts]:
    """Count windows in as few blocks as fit MOST_CELLS, in their order.

    Windows of several models share a block where they can: a metric costs about the same for 2
    series and for 100.
    """
    groups: list[list[WindowRows]] = []
    open_groups: dict[tuple[object, ...], int] = {}
    rows_of_group: list[int] = []
    places: list[tuple[int, int]] = []
    for model, window in windows:
        shape, rows = block_shape(model, window.layout), len(window.series)
        group = open_groups.get(shape)
        if group is None or (rows_of_group[group] + rows) * window.layout.width > MOST_CELLS:
            group = open_groups[shape] = len(groups)
            groups.append([])
            rows_of_group.append(0)
        places.append((group, rows_of_group[group]))
        groups[group].append(window)
        rows_of_group[group] += rows
    blocks = [CountBlock.of(lane, group) for group in groups]
    return [
        WindowCounts.of(window, blocks[group], first)
        for (_, window), (group, first) in zip(windows, places, strict=True)
    ]


class WindowGatherer:
    """Gathers windows, and keeps the layouts of all models between calls.

    The layouts can be rebuilt from the labels and the tables, and are not in the state.
    """

    def __init__(self) -> None:
        self._layouts: dict[tuple[int, int], DenseLayout] = {}
        self._shared = SharedLayouts()
        self._bins: dict[int, Ints] = {}

    def gather(
        self, lane: int, jobs: Sequence[tuple[MeasuredModel, Sequence[WindowJob]]]
    ) -> list[list[WindowCounts]]:
        """For each model its windows with anything to emit, in the order of its jobs."""
        self._unfold_together(lane, jobs)
        layouts = [
            self._fitting_layout(model, lane, of_model) if of_model else None
            for model, of_model in jobs
        ]
        windows: list[tuple[MeasuredModel, WindowRows]] = []
        lengths = []
        for (model, of_model), layout in zip(jobs, layouts, strict=True):
            before = len(windows)
            if layout is not None:
                if layout.bins is not self._bins[lane]:
                    # The jobs of another model had new bins.
                    layout = self._fitting_layout(model, lane, of_model)
                for job in of_model:
                    window = _window_rows(model, lane, layout, job)
                    if window is not None:
                        windows.append((model, window))
            lengths.append(len(windows) - before)
        counted = iter(fill_blocks(lane, windows))
        return [[next(counted) for _ in range(length)] for length in lengths]

    def errors(self, model: MeasuredModel, lane: int, cells: Ints) -> Ints:
        """As `DenseLayout.errors`, with the labels of the windows gathered last."""
        return self._layouts[model.number, lane].errors(cells)

    def _unfold_together(
        self, lane: int, jobs: Sequence[tuple[MeasuredModel, Sequence[WindowJob]]]
    ) -> None:
        """Unfold the small tables of models that share a layout in one call."""
        layouts: dict[int, DenseLayout] = {}
        spans: dict[int, list[CountSpan]] = {}
        for model, of_model in jobs:
            layout = self._layouts.get((model.number, lane)) if of_model else None
            if (
                layout is not None
                and layout.bins is self._bins[lane]
                and layout.label_set == model.facts.label_set
            ):
                layouts[layout.number] = layout
                spans.setdefault(layout.number, []).extend(
                    span for job in of_model for span in job.spans
                )
        for number, of_layout in spans.items():
            unfold_together(of_layout, layouts[number])

    def _fitting_layout(
        self, model: MeasuredModel, lane: int, jobs: Sequence[WindowJob]
    ) -> DenseLayout:
        """The layout of the lane, grown by the new labels and bins in the jobs."""
        layout = self._layouts.get((model.number, lane))
        if (
            layout is None
            or layout.label_set != model.facts.label_set
            or layout.bins is not self._bins[lane]
        ):
            # The labels alone decide, not the lane that showed them first: after a restart the
            # matrix must be the same.
            layout = self._grown_layout(model, lane, _NO_ROWS, layout)
        while True:
            unknown = []
            for job in jobs:
                for span in job.spans:
                    columns = span.unfold(layout)
                    if columns.has_unknown:
                        end = rows_at(span, lane, job)
                        unknown.append(span.table.keys[:end][columns.column[:end] < 0])
            keys = _joined(unknown)
            if not len(keys):
                return layout
            layout = self._grown_layout(model, lane, keys, layout)

    def _grown_layout(
        self, model: MeasuredModel, lane: int, keys: Ints, before: DenseLayout | None
    ) -> DenseLayout:
        """A layout that also has columns for the labels and bins in `keys`."""
        measure, a, b = unpack_measure(keys)
        cells = measure == lanes.CELLS
        codes = LabelCodes(
            np.unique(a[ACTUAL_IN_A[measure]]).tolist(),
            np.unique(np.concatenate((b[cells], a[PREDICTED_IN_A[measure]]))).tolist(),
        )
        binned = b[(measure == lanes.DELAY) | (measure == lanes.LATENCY)]
        bins = self._bins.setdefault(lane, binned[:0])
        if not all_true(np.isin(binned, bins)):
            # Whole octaves: the neighbours of a bin get columns before they have counts, so layouts
            # are rarely rebuilt.
            octaves = np.unique(binned // PER_OCTAVE)
            bins = self._bins[lane] = np.union1d(
                bins, (octaves[:, None] * PER_OCTAVE + np.arange(PER_OCTAVE)).ravel()
            )
        names, label_set = model.labels.names, grown_label_set(model, codes)
        if (
            before is not None
            and (label_set, len(names)) == (before.label_set, before.named)
            and bins is before.bins
        ):
            raise unknown_labels(model, sorted({*codes.actual, *codes.predicted}))
        model.facts.label_set = label_set
        layout = self._shared.layout(lane, (label_set, model.configured_labels, names), bins)
        self._layouts[model.number, lane] = layout
        return layout


class LabelCodes(NamedTuple):
    """Codes of the labels of truths and of predictions, each once."""

    actual: Collection[int]
    predicted: Collection[int]


def grown_label_set(model: MeasuredModel, codes: LabelCodes) -> LabelSet:
    """The label set of a model with further labels."""
    names = model.labels.names
    actual, predicted = (
        [names[code] for code in sorted(side) if code < len(names)] for side in codes
    )
    return model.facts.label_set.with_more(
        actual,
        predicted,
        derived=POSITIVE in codes.predicted or NEGATIVE in codes.predicted,
        many=ANOTHER in codes.actual or ANOTHER in codes.predicted,
        configured=model.configured_labels,
    )


def unknown_labels(model: MeasuredModel, codes: Sequence[int]) -> ValueError:
    """The error for label codes that no label of the model has."""
    return ValueError(
        f"measure: model {model.name!r} has no labels with the codes {codes}; "
        "run the same release in all tasks and replay the log"
    )


def rows_at(span: CountSpan, lane: int, job: WindowJob) -> int:
    """Number of rows of a span that are known at the job's rung."""
    if lane != lanes.DECISIONS:
        return len(span.table)
    return int(np.searchsorted(span.table.keys, first_key_of_rung(job.due.rung + 1)))


def _window_rows(
    model: MeasuredModel, lane: int, layout: DenseLayout, job: WindowJob
) -> WindowRows | None:
    """The rows of a window with their counts; None without rows."""
    ends = [rows_at(span, lane, job) for span in job.spans]
    unfolded = [span.unfold(layout) for span in job.spans]
    series = _joined([part.series[:end] for part, end in zip(unfolded, ends, strict=True)])
    column = _joined([part.column[:end] for part, end in zip(unfolded, ends, strict=True)])
    counts = _joined([span.table.counts[:end] for span, end in zip(job.spans, ends, strict=True)])
    rows = _emitted_rows(model, layout, job, series, column, counts)
    if not rows.series:
        return None
    row = rows.row_of[series]
    if job.versions is not None:
        kept = row >= 0
        row, column, counts = row[kept], column[kept], counts[kept]
    by_rung = None
    if lane == lanes.DECISIONS and job.due.final and job.due.size_ms:
        rungs = _joined(
            [rungs_of(span.table.keys[:end]) for span, end in zip(job.spans, ends, strict=True)]
        )
        cells, width = np.flatnonzero(layout.is_cell(column)), job.due.rung + 1
        gained = np.bincount(
            row[cells] * width + rungs[cells],
            weights=counts[cells],
            minlength=len(rows.series) * width,
        )
        by_rung = np.cumsum(gained.astype(np.int64).reshape(len(rows.series), width), axis=1)
    score_place = score_counts = _NO_ROWS
    if layout.score_width:
        in_bin = column >= layout.width
        score_place = row[in_bin] * layout.score_width + (column[in_bin] - layout.width)
        score_counts = counts[in_bin]
        row, column, counts = row[~in_bin], column[~in_bin], counts[~in_bin]
    return WindowRows(
        job=job,
        layout=layout,
        series=rows.series,
        numbers=rows.numbers,
        by_rung=by_rung,
        place=row * layout.width + column,
        counts=counts,
        score_place=score_place,
        score_counts=score_counts,
    )


def _joined(parts: Sequence[Ints]) -> Ints:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else _NO_ROWS


class _EmittedRows(NamedTuple):
    """The rows of a window.

    Attributes
    ----------
    series, numbers
        As in `WindowRows`.
    row_of
        Row of each series number of the model; -1 for none.
    """

    series: Sequence[SeriesName]
    numbers: Sequence[int]
    row_of: Ints


def _emitted_rows(
    model: MeasuredModel,
    layout: DenseLayout,
    job: WindowJob,
    series: Ints,
    column: Ints,
    counts: Ints,
) -> _EmittedRows:
    """The rows to emit, from counts of shape (N,).

    Of each segment dimension the 100 largest segments have rows of their own, ties by name; all
    further ones share the row "other".
    """
    names = model.series.names
    if len(names) == 1 and len(series) and job.versions is None:
        version, segment = names[0]
        if segment == ALL and all(each == version for each in job.always):
            # A model of one series, as most of very many models are.
            return _EmittedRows([names[0]], [0], _FIRST_ROW)
    present = np.flatnonzero(np.bincount(series, minlength=len(names)))
    if job.versions is not None:
        versions = job.versions
        present = np.array(
            [number for number in present.tolist() if names[number][0] in versions], np.int64
        )
    row_of = np.full(len(names), -1, np.int64)
    ranked = present[np.argsort(model.rank[present])]
    numbers = ranked.tolist()
    row_of[ranked] = np.arange(len(ranked))
    shared = (
        _shared_rows(model, layout, ranked, series, column, counts)
        if len(ranked) > MOST_SEGMENTS
        else {}
    )
    silent: list[str] = []
    if job.always:
        with_counts = {names[number] for number in numbers}
        silent = [version for version in job.always if (version, ALL) not in with_counts]
    if not shared and not silent:
        return _EmittedRows([names[number] for number in numbers], numbers, row_of)
    number_of_row: dict[SeriesName, int] = {}
    for number in numbers:
        row = shared.get(number, names[number])
        is_own = row == names[number] and row not in number_of_row
        number_of_row[row] = number if is_own else -1
    for version in silent:
        number_of_row[version, ALL] = -1
    order = sorted(number_of_row, key=lambda pair: (pair[0], pair[1] != ALL, pair[1]))
    place = {pair: row for row, pair in enumerate(order)}
    for number in numbers:
        row_of[number] = place[shared.get(number, names[number])]
    return _EmittedRows(order, [number_of_row[pair] for pair in order], row_of)


def _shared_rows(
    model: MeasuredModel,
    layout: DenseLayout,
    ranked: Ints,
    series: Ints,
    column: Ints,
    counts: Ints,
) -> dict[int, SeriesName]:
    """(version, "dimension=other") of each series beyond the 100 largest of its dimension."""
    names = model.series.names
    is_size = layout.is_size(column)
    size = np.bincount(series[is_size], weights=counts[is_size], minlength=len(names)).astype(
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
                numbers, key=lambda number: (-int(size[number]), names[number][1])
            )
            shared |= dict.fromkeys(largest_first[MOST_SEGMENTS:], other)
    return shared


_NO_ROWS: Final = np.zeros(0, np.int64)
_FIRST_ROW: Final = np.zeros(1, np.int64)
