"""Figures of windows that are still open, for live viewers: the newest increments are in them.

They have no influence on the complete windows: this file writes no state, and only reads the panes,
labels and frontiers of the stage. Each change appears once, in the smallest window that still
takes it, for the segment "all", at the rungs with counts. That shows the newest truth with few
records. Counters and the metrics of the confusion matrix are included; scores, delays, latencies,
drift and histograms wait for the window to be complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.settings import Window
from driftline.streams import lanes
from driftline.streams.lanes import ALL, DECISIONS, NO_MODEL, TRAFFIC
from driftline.streams.measure.counts.dense_layout import DenseLayout, SharedLayouts
from driftline.streams.measure.counts.gather import (
    CountBlock,
    LabelCodes,
    WindowCounts,
    WindowJob,
    WindowRows,
    fill_blocks,
    grown_label_set,
    unknown_labels,
)
from driftline.streams.measure.counts.intake import PaneIncrements
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.packed_key import (
    Ints,
    measures_of,
    rungs_of,
    series_of,
    unpack_measure,
    within_series,
)
from driftline.streams.measure.counts.panes import Panes
from driftline.streams.measure.figures.completeness import Completeness
from driftline.streams.measure.figures.losses import Losses
from driftline.streams.measure.figures.records import RecordBuilder
from driftline.streams.measure.timing.frontier import LaneGroups
from driftline.streams.measure.timing.windows import DueWindow, Schedule
from driftline.streams.metrics.metric import Metric
from driftline.streams.stage import Record, State
from driftline.streams.work_slices import WorkSlices, in_slices

MOST_WINDOWS: Final = 4_096
MOST_PENDING_ROWS: Final = 50_000
COUNTED_AT_ONCE: Final = 1_000
"""Pending rows that are counted in one slice."""
LEFT_OUT: Final = frozenset({"score", "delay", "latency"})

CellCounts = dict[int, int]
"""Counts by measure, a and b, packed as in a count table."""


class _OpenWindow:
    """A window that is still open, and its counts.

    Attributes
    ----------
    cells
        Counts of the segment "all", by series number and rung.
    changed
        By series with a change since the last records: the smallest rung at which it changed.
    is_new
        Whether it was just read from the panes, which include the newest increments.
    """

    __slots__ = ("cells", "changed", "is_new", "lane", "model", "start_ms", "window")

    def __init__(self, model: MeasuredModel, lane: int, window: Window, start_ms: int) -> None:
        self.model = model
        self.lane = lane
        self.window = window
        self.start_ms = start_ms
        self.cells: dict[int, dict[int, CellCounts]] = {}
        self.changed: dict[int, int] = {}
        self.is_new = True

    def add(self, series: int, rung: int, cell: int, count: int) -> None:
        """Add a count."""
        counts = self.cells.setdefault(series, {}).setdefault(rung, {})
        counts[cell] = counts.get(cell, 0) + count

    def end_ms(self, delay_ms: int) -> int:
        """Event time at which the window is complete at a rung of this delay."""
        return self.start_ms + self.window.size_ms + delay_ms


class _Pending(NamedTuple):
    """PaneIncrements that are not in the open windows yet, columns of shape (N,).

    `model` is an index into `models`.
    """

    models: Sequence[MeasuredModel]
    model: Ints
    lane: Ints
    pane: Ints
    rung: Ints
    series: Ints
    cell: Ints
    increment: Ints


class _Takers(NamedTuple):
    """The windows that take an increment: one shows the change, and all with counts add it."""

    shown: _OpenWindow | None
    counted: Sequence[_OpenWindow]


class _RungDelay(NamedTuple):
    """A rung at which a window is emitted, and its delay."""

    rung: int
    delay_ms: int


class _CellColumns(NamedTuple):
    """A layout, and its column for each packed measure."""

    layout: DenseLayout
    column: dict[int, int]


class _OpenColumns:
    """Columns of one lane of a model: the labels of its complete and of its open windows."""

    def __init__(self, layouts: SharedLayouts) -> None:
        self._layouts = layouts
        self._columns: _CellColumns | None = None
        self._label_set: object = None
        self._codes = LabelCodes(set(), set())  # of labels that only open windows have

    def for_cells(self, model: MeasuredModel, lane: int, cells: Sequence[int]) -> _CellColumns:
        """A layout with a column for each of these packed measures."""
        columns, label_set = self._columns, model.facts.label_set
        if columns is None or label_set is not self._label_set:
            columns = _CellColumns(self._layout(model, lane), {})
        unknown = [cell for cell in cells if cell not in columns.column]
        if unknown:
            keys = np.array(unknown, np.int64)
            column = columns.layout.unfold(keys).column
            if int(column.min()) < 0:
                _, actual, predicted = unpack_measure(keys[measures_of(keys) == lanes.CELLS])
                self._codes = LabelCodes(
                    {*self._codes.actual, *actual.tolist()},
                    {*self._codes.predicted, *predicted.tolist()},
                )
                columns = _CellColumns(self._layout(model, lane), {})
                keys = np.array(list(dict.fromkeys(cells)), np.int64)
                column = columns.layout.unfold(keys).column
                if int(column.min()) < 0:
                    raise unknown_labels(model, sorted({*actual.tolist(), *predicted.tolist()}))
            columns.column.update(zip(keys.tolist(), column.tolist(), strict=True))
        self._columns, self._label_set = columns, label_set
        return columns

    def _layout(self, model: MeasuredModel, lane: int) -> DenseLayout:
        label_set = grown_label_set(model, self._codes)
        labels = (label_set, model.configured_labels, model.labels.names)
        return self._layouts.layout(lane, labels, _NO_BINS, counted_only=True)


class OpenWindows:
    """The open windows of a task that changed.

    Parameters
    ----------
    schedule, panes
        Those of the stage.
    metrics
        All metric plug-ins, in the order of their names.
    completeness, losses
        Those of the stage.
    pane_ms
        Length of a pane.
    """

    def __init__(
        self,
        schedule: Schedule,
        panes: Panes,
        metrics: Sequence[Metric],
        completeness: Completeness,
        losses: Losses,
        pane_ms: int,
    ) -> None:
        self._schedule = schedule
        self._panes = panes
        self._builder = RecordBuilder(
            [metric for metric in metrics if not LEFT_OUT.intersection(metric.needs)],
            completeness,
            losses,
            pane_ms,
        )
        self._windows: dict[tuple[int, int, str, int], _OpenWindow] = {}
        self._layouts = SharedLayouts()
        self._columns: dict[tuple[int, int], _OpenColumns] = {}
        self._is_all: dict[int, NDArray[np.bool_]] = {}
        self._pending: list[_Pending] = []
        self._pending_rows = 0

    def note(self, increments: PaneIncrements) -> None:
        """Remember increments that were added to the panes."""
        models, model, lane, pane, keys, counts = increments
        is_all = [self._is_segment_all(each) for each in models]
        ends = np.cumsum([len(each) for each in is_all])
        begins = ends - [len(each) for each in is_all]
        series = np.minimum(begins[model] + series_of(keys), ends[model] - 1)
        at = np.flatnonzero(_is_shown(keys) & np.concatenate(is_all)[series])
        if len(at):
            shown = keys[at]
            self._pending.append(
                _Pending(
                    models=models,
                    model=model[at],
                    lane=lane[at],
                    pane=pane[at],
                    rung=rungs_of(shown),
                    series=series_of(shown),
                    cell=within_series(shown),
                    increment=counts[at],
                )
            )
            self._pending_rows += len(at)

    def is_crowded(self) -> bool:
        """Whether so many increments are pending that they should be counted now."""
        return self._pending_rows > MOST_PENDING_ROWS

    def count(self, edges_ms: LaneGroups, state: State) -> WorkSlices[None]:
        """Add the pending increments to the windows that they belong to.

        Parameters
        ----------
        edges_ms
            The last edges of the traffic and the other lanes that were processed.
        """
        takers: dict[tuple[int, int, int, int], _Takers] = {}
        for models, *columns in self._pending:
            rows = zip(*(column.tolist() for column in columns), strict=True)
            for number, (index, lane, pane, rung, series, cell, count) in enumerate(rows, 1):
                if number % COUNTED_AT_ONCE == 0:
                    yield
                model = models[index]
                spot = (model.number, lane, pane, rung)
                taking = takers.get(spot)
                if taking is None:
                    # First the windows with counts: one that is read from the panes now has the
                    # newest increments already.
                    counted = self._windows_with(model, lane, pane)
                    edge_ms = edges_ms[lane != TRAFFIC]
                    taking = takers[spot] = _Takers(
                        self._smallest_open(model, lane, pane, rung, edge_ms, state), counted
                    )
                for window in taking.counted:
                    if not window.is_new:
                        window.add(series, rung, cell, count)
                if taking.shown is not None:
                    changed = taking.shown.changed
                    changed[series] = min(changed.get(series, rung), rung)
                    taking.shown.cells.setdefault(series, {})
        for shown, _ in takers.values():
            if shown is not None:
                shown.is_new = False
        self._pending, self._pending_rows = [], 0

    def records(self, edges_ms: LaneGroups, state: State) -> WorkSlices[list[Record]]:
        """Metric records of the changes since the last call; parameters as those of `count`."""
        yield from self.count(edges_ms, state)
        by_lane: dict[int, dict[int, list[_OpenWindow]]] = {}
        for window in self._windows.values():
            if window.changed:
                by_lane.setdefault(window.lane, {}).setdefault(window.model.number, []).append(
                    window
                )
        counted: list[tuple[MeasuredModel, WindowCounts]] = []
        for lane in sorted(by_lane):
            edge_ms = edges_ms[lane != TRAFFIC]
            rows: list[tuple[MeasuredModel, WindowRows]] = []
            for models in in_slices(sorted(by_lane[lane])):
                for number in models:
                    windows = by_lane[lane][number]
                    model = windows[0].model
                    of_model = self._changed_rows(model, lane, windows, edge_ms)
                    rows += ((model, row) for row in of_model)
                yield
            counted += zip([model for model, _ in rows], fill_blocks(lane, rows), strict=True)
        first_models: dict[CountBlock, MeasuredModel] = {}
        for model, shown in counted:
            first_models.setdefault(shown.block, model)
        self._builder.compute_figures(list(first_models.items()))
        yield
        records: list[Record] = []
        for part in in_slices(counted):
            for model, shown in part:
                records += self._builder.metric_records(model, [shown], state, provisional=True)
            yield
        self._drop_complete(edges_ms)
        return records

    def _changed_rows(
        self, model: MeasuredModel, lane: int, windows: Sequence[_OpenWindow], edge_ms: int
    ) -> list[WindowRows]:
        """The series of a model's windows that changed, at each rung that is still open."""
        changes: list[tuple[DueWindow, list[int], list[list[CellCounts]]]] = []
        for window in windows:
            cells, changed = window.cells, window.changed
            for place, (rung, delay_ms) in enumerate(_rungs(model, lane, window.window)):
                if window.end_ms(delay_ms) <= edge_ms:
                    # A change at a rung that is complete by now appears at the next one.
                    changed = {number: max(first, rung + 1) for number, first in changed.items()}
                    continue
                series = [
                    number
                    for number, first in changed.items()
                    if rung == first or (rung > first and rung in cells[number])
                ]
                if series:
                    series.sort(key=model.rank.__getitem__)
                    upto_rung = [
                        [counts for known, counts in cells[number].items() if known <= rung]
                        for number in series
                    ]
                    due = _due(model, lane, window, place, rung, delay_ms)
                    changes.append((due, series, upto_rung))
            window.changed = {}
        columns = self._columns.get((model.number, lane))
        if columns is None:
            columns = self._columns[model.number, lane] = _OpenColumns(self._layouts)
        layout, column = columns.for_cells(
            model,
            lane,
            [cell for _, _, upto in changes for parts in upto for part in parts for cell in part],
        )
        names = model.series.names
        rows: list[WindowRows] = []
        for due, series, upto_rung in changes:
            places = [
                row * layout.width + column[cell]
                for row, parts in enumerate(upto_rung)
                for part in parts
                for cell in part
            ]
            counts = [count for parts in upto_rung for part in parts for count in part.values()]
            rows.append(
                WindowRows(
                    job=WindowJob(due, (), due.start_ms),
                    layout=layout,
                    series=[names[number] for number in series],
                    numbers=series,
                    by_rung=None,
                    place=np.array(places, np.int64),
                    counts=np.array(counts, np.int64),
                    score_place=np.zeros(0, np.int64),
                    score_counts=np.zeros(0, np.int64),
                )
            )
        return rows

    def _windows_with(self, model: MeasuredModel, lane: int, pane: int) -> list[_OpenWindow]:
        """The open windows with a pane whose counts are in memory."""
        windows = []
        for window in self._schedule.plan(model.config).windows:
            last = pane // window.step_ms * window.step_ms
            for start_ms in range(last, pane - window.size_ms, -window.step_ms):
                open_window = self._windows.get((model.number, lane, window.name, start_ms))
                if open_window is not None:
                    windows.append(open_window)
        return windows

    def _smallest_open(
        self, model: MeasuredModel, lane: int, pane: int, rung: int, edge_ms: int, state: State
    ) -> _OpenWindow | None:
        """The smallest window with a pane that is still open at a rung; None if all are complete.

        Of overlapping windows it is the one that starts last, which is open longest.
        """
        if model.name == NO_MODEL:
            return None
        for window in self._schedule.plan(model.config).windows:
            start_ms = pane // window.step_ms * window.step_ms
            last_rung, delay_ms = _rungs(model, lane, window)[-1]
            if rung <= last_rung and start_ms + window.size_ms + delay_ms > edge_ms:
                key = (model.number, lane, window.name, start_ms)
                open_window = self._windows.pop(key, None)
                if open_window is None:
                    open_window = self._read(model, lane, window, start_ms, state)
                self._windows[key] = open_window
                return open_window
        return None

    def _read(
        self, model: MeasuredModel, lane: int, window: Window, start_ms: int, state: State
    ) -> _OpenWindow:
        """A window with all its counts in the panes."""
        open_window = _OpenWindow(model, lane, window, start_ms)
        is_all = self._is_segment_all(model)
        for span in self._panes.span(
            model.number, lane, start_ms, start_ms + window.size_ms, state
        ):
            keys = span.table.keys
            series = np.minimum(series_of(keys), len(is_all) - 1)
            at = np.flatnonzero(_is_shown(keys) & is_all[series])
            shown = keys[at]
            columns = (series_of(shown), rungs_of(shown), within_series(shown))
            for number, rung, cell, count in zip(
                *(column.tolist() for column in columns),
                span.table.counts[at].tolist(),
                strict=True,
            ):
                open_window.add(number, rung, cell, count)
        return open_window

    def _is_segment_all(self, model: MeasuredModel) -> NDArray[np.bool_]:
        """Whether each series number is the segment "all" of a version."""
        is_all = self._is_all.get(model.number)
        if is_all is None or len(is_all) != len(model.series) + 1:
            # The last one is for series without a number.
            is_all = self._is_all[model.number] = np.array(
                [segment == ALL for _, segment in model.series.names] + [False], np.bool_
            )
        return is_all

    def _drop_complete(self, edges_ms: LaneGroups) -> None:
        """Drop windows that are complete at every rung, and the longest unchanged beyond
        MOST_WINDOWS.
        """
        for key, window in list(self._windows.items()):
            _, delay_ms = _rungs(window.model, window.lane, window.window)[-1]
            if window.end_ms(delay_ms) <= edges_ms[window.lane != TRAFFIC]:
                del self._windows[key]
        for key in list(self._windows)[: max(len(self._windows) - MOST_WINDOWS, 0)]:
            del self._windows[key]


def _rungs(model: MeasuredModel, lane: int, window: Window) -> Sequence[_RungDelay]:
    """The rungs at which a window is emitted; one without delay outside the decisions lane."""
    if lane != DECISIONS:
        return _NO_RUNGS
    return [
        _RungDelay(rung, model.config.maturity[rung].ms) for rung in model.config.rungs_for(window)
    ]


def _due(
    model: MeasuredModel, lane: int, window: _OpenWindow, place: int, rung: int, delay_ms: int
) -> DueWindow:
    """The window as it will be emitted when it is complete at the rung."""
    end_ms = window.end_ms(0)
    return DueWindow(
        window=window.window.name,
        kind=window.window.kind,
        size_ms=window.window.size_ms,
        end_ms=end_ms,
        rung=rung,
        maturity=model.config.maturity[rung].name if lane == DECISIONS else None,
        final=False,
        revision=place + 1,
        complete_at_ms=end_ms + delay_ms,
        last_final_ms=0,
    )


def _is_shown(keys: Ints) -> NDArray[np.bool_]:
    """Which packed keys are counters and cells of the confusion matrix, shape (N,)."""
    measure = measures_of(keys)
    is_shown: NDArray[np.bool_] = (measure == lanes.COUNT) | (measure == lanes.CELLS)
    return is_shown


_NO_BINS: Final = np.zeros(0, np.int64)
_NO_RUNGS: Final = (_RungDelay(0, 0),)
