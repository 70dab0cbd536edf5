"""Figures of windows that are still open, for who looks on: what was merged a moment ago is in
them.

They are made beside the announcements and have no influence on them: nothing here writes state, and
what the panes, labels and frontiers of the stage say is only read. Each change is shown once, in
the smallest window that still takes it, for the segment "all", at the rungs that hold something:
that is enough to see the newest truth, and few records. Counts and the metrics that follow from the
confusion matrix are there; scores, delays, latencies, drift and histograms wait for the window to
be complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.settings import Window
from driftline.streams import lanes
from driftline.streams.lanes import ALL, DECISIONS, NO_MODEL, TRAFFIC
from driftline.streams.measure.counts.count_table import (
    A_SHIFT,
    CODES,
    MAX_SERIES,
    MEASURE_BITS,
    MEASURE_SHIFT,
    RUNG_SHIFT,
    SERIES_SHIFT,
    Ints,
)
from driftline.streams.measure.counts.dense_layout import ANOTHER, NEGATIVE, POSITIVE, DenseLayout
from driftline.streams.measure.counts.gather import (
    MOST_CELLS,
    CountBlock,
    WindowCounts,
    WindowJob,
    block_shape,
)
from driftline.streams.measure.counts.intake import Increments
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.panes import Panes
from driftline.streams.measure.figures.completeness import Completeness
from driftline.streams.measure.figures.records import RecordBuilder
from driftline.streams.measure.timing.windows import DueWindow, Schedule
from driftline.streams.metrics.metric import Metric
from driftline.streams.stage import Record, State

MOST_WINDOWS: Final = 4_096
MOST_WAITING: Final = 50_000
NOT_SHOWN: Final = frozenset({"score", "delay", "latency"})

Counted = dict[int, int]
"""Counts by measure, a and b, packed as in a count table."""


class _Open:
    """A window that is still open, and its counts.

    Attributes
    ----------
    rows
        Counts of the segment "all", by series number and rung.
    changed
        Series that changed since they were shown last, and the smallest rung at which they did.
    fresh
        Whether it was just read from the panes, which hold the newest increments too.
    """

    __slots__ = ("changed", "fresh", "lane", "model", "rows", "start_ms", "window")

    def __init__(self, model: MeasuredModel, lane: int, window: Window, start_ms: int) -> None:
        self.model = model
        self.lane = lane
        self.window = window
        self.start_ms = start_ms
        self.rows: dict[int, dict[int, Counted]] = {}
        self.changed: dict[int, int] = {}
        self.fresh = True

    def add(self, series: int, rung: int, cell: int, count: int) -> None:
        """Count."""
        counted = self.rows.setdefault(series, {}).setdefault(rung, {})
        counted[cell] = counted.get(cell, 0) + count


class _Columns:
    """Columns of one lane of a model: its labels as the complete windows know them, and those that
    only open windows have shown.
    """

    def __init__(self) -> None:
        self.layout: DenseLayout | None = None
        self.column: dict[int, int] = {}
        self._base: object = None
        self._codes: set[int] = set()

    def ready(self, model: MeasuredModel, lane: int, cells: Sequence[int]) -> DenseLayout:
        """A layout that has a column for each of some packed measures; afterwards `column` knows
        them all.
        """
        base = model.facts.label_set
        if self.layout is None or base is not self._base:
            self._base, self.column = base, {}
            self.layout = self._made(model, lane)
        unknown = [cell for cell in cells if cell not in self.column]
        if unknown:
            keys = np.array(unknown, np.int64)
            _, column = self.layout.unfold(keys)
            if int(column.min()) < 0:
                labelled = keys[keys >> MEASURE_SHIFT == lanes.CELLS]
                self._codes.update(
                    (labelled >> A_SHIFT & CODES - 1).tolist(), (labelled & CODES - 1).tolist()
                )
                self.layout, self.column = self._made(model, lane), {}
                keys = np.array(list(dict.fromkeys(cells)), np.int64)
                _, column = self.layout.unfold(keys)
                if int(column.min()) < 0:
                    codes = sorted(self._codes)
                    raise ValueError(
                        f"measure: label codes {codes} of {model.name!r} are no labels; stage 1 is of another release"
                    )
            self.column.update(zip(keys.tolist(), column.tolist(), strict=True))
        return self.layout

    def _made(self, model: MeasuredModel, lane: int) -> DenseLayout:
        names, configured = model.labels.names, model.config.positive_label
        seen = model.facts.label_set.with_more(
            [names[code] for code in sorted(self._codes) if code < len(names)],
            derived=POSITIVE in self._codes or NEGATIVE in self._codes,
            many=ANOTHER in self._codes,
            configured=configured,
        )
        return DenseLayout(
            0, lane, seen, configured, names, np.zeros(0, np.int64), counted_only=True
        )


class OpenWindows:
    """The open windows of a task that changed.

    Parameters
    ----------
    schedule, panes
        Those of the stage.
    metrics
        All metric plug-ins, in the order of their names.
    """

    def __init__(
        self,
        schedule: Schedule,
        panes: Panes,
        metrics: Sequence[Metric],
        completeness: Completeness,
    ) -> None:
        self._schedule = schedule
        self._panes = panes
        self._announcer = RecordBuilder(
            [metric for metric in metrics if not NOT_SHOWN.intersection(metric.needs)], completeness
        )
        self._windows: dict[tuple[int, int, str, int], _Open] = {}
        self._columns: dict[tuple[int, int], _Columns] = {}
        self._whole: dict[int, NDArray[np.bool_]] = {}
        self._waiting: list[tuple[Sequence[MeasuredModel], Ints, Ints, Ints, Ints, Ints]] = []
        self._rows = 0

    def note(self, increments: Increments) -> None:
        """Remember increments that were added to the panes."""
        models, model, lane, pane, keys, counts = increments
        whole = [self._is_whole(each) for each in models]
        ends = np.cumsum([len(each) for each in whole])
        begins = ends - [len(each) for each in whole]
        series = np.minimum(
            begins[model] + (keys >> SERIES_SHIFT & MAX_SERIES - 1), ends[model] - 1
        )
        at = np.flatnonzero(_is_shown(keys) & np.concatenate(whole)[series])
        if len(at):
            self._waiting.append((models, model[at], lane[at], pane[at], keys[at], counts[at]))
            self._rows += len(at)

    def crowded(self) -> bool:
        """Whether so much was noted that it should be counted now."""
        return self._rows > MOST_WAITING

    def count(self, edges_ms: tuple[int, int], state: State) -> None:
        """Add what was noted to the windows that it belongs to.

        Parameters
        ----------
        edges_ms
            The last edges of the traffic and the other lanes that were worked off.
        """
        spots: dict[tuple[int, int, int, int], tuple[_Open | None, Sequence[_Open]]] = {}
        for models, *columns in self._waiting:
            for place, lane, pane, key, count in zip(
                *(column.tolist() for column in columns), strict=True
            ):
                rung, series, model = (
                    key >> RUNG_SHIFT,
                    key >> SERIES_SHIFT & MAX_SERIES - 1,
                    models[place],
                )
                spot = (model.number, lane, pane, rung)
                found = spots.get(spot)
                if found is None:
                    # Those held before: what is read only now has the newest increments already.
                    before = self._held(model, lane, pane)
                    found = spots[spot] = (
                        self._taking(model, lane, pane, rung, edges_ms[lane != TRAFFIC], state),
                        before,
                    )
                shown, held = found
                for window in held:
                    if not window.fresh:
                        window.add(series, rung, key & _CELL, count)
                if shown is not None:
                    shown.changed[series] = min(shown.changed.get(series, rung), rung)
                    shown.rows.setdefault(series, {})
        for shown, _ in spots.values():
            if shown is not None:
                shown.fresh = False
        self._waiting, self._rows = [], 0

    def records(self, edges_ms: tuple[int, int], state: State) -> list[Record]:
        """Metric records of what changed since the last call; parameters as those of `count`."""
        self.count(edges_ms, state)
        by_lane: dict[int, dict[int, list[_Open]]] = {}
        for window in self._windows.values():
            if window.changed:
                by_lane.setdefault(window.lane, {}).setdefault(window.model.number, []).append(
                    window
                )
        records: list[Record] = []
        shown: list[tuple[MeasuredModel, list[_Found]]] = []
        blocks: list[tuple[CountBlock, MeasuredModel]] = []
        for lane in sorted(by_lane):
            edge_ms = edges_ms[lane != TRAFFIC]
            of_models = [
                (windows[0].model, windows) for _, windows in sorted(by_lane[lane].items())
            ]
            evaluated = [
                (model, self._evaluated(model, lane, windows, edge_ms))
                for model, windows in of_models
            ]
            blocks += _filled_blocks(evaluated, lane)
            shown += evaluated
        self._announcer.draw(blocks)
        for model, found in shown:
            records += self._announcer.metrics(
                model, [window for window, _, _ in found], state, provisional=True
            )
        self._forget(edges_ms)
        return records

    def _evaluated(
        self, model: MeasuredModel, lane: int, windows: Sequence[_Open], edge_ms: int
    ) -> list[_Found]:
        """What is to be shown of a model's windows, with the column and the count of each of its
        counts, and how many each series has.
        """
        wanted: list[tuple[DueWindow, list[int], list[list[Counted]]]] = []
        for window in windows:
            rows, changed = window.rows, window.changed
            for place, (rung, delay_ms) in enumerate(_rungs(model, lane, window.window)):
                if window.start_ms + window.window.size_ms + delay_ms <= edge_ms:
                    # A change at a rung that is complete by now shows at the next one.
                    changed = {number: max(since, rung + 1) for number, since in changed.items()}
                    continue
                series = [
                    number
                    for number, since in changed.items()
                    if rung == since or (rung > since and rung in rows[number])
                ]
                if series:
                    series.sort(key=model.rank.__getitem__)
                    upto = [
                        [counted for known, counted in rows[number].items() if known <= rung]
                        for number in series
                    ]
                    wanted.append((_due(model, lane, window, place, rung, delay_ms), series, upto))
            window.changed = {}
        columns = self._columns.setdefault((model.number, lane), _Columns())
        layout = columns.ready(
            model,
            lane,
            [cell for _, _, upto in wanted for parts in upto for part in parts for cell in part],
        )
        names, column = model.series.names, columns.column
        found: list[_Found] = []
        for due, series, upto in wanted:
            shown = WindowCounts(
                WindowJob(due, (), due.start_ms),
                layout,
                [(names[number], number) for number in series],
                None,
            )
            places = [
                row * layout.width + column[cell]
                for row, parts in enumerate(upto)
                for part in parts
                for cell in part
            ]
            counts = [count for parts in upto for part in parts for count in part.values()]
            found.append((shown, np.array(places, np.int64), np.array(counts, np.int64)))
        return found

    def _held(self, model: MeasuredModel, lane: int, pane: int) -> list[_Open]:
        """The windows with a pane whose counts are here."""
        found = []
        for window in self._schedule.plan(model.config).windows:
            last = pane // window.step_ms * window.step_ms
            for start_ms in range(last, pane - window.size_ms, -window.step_ms):
                held = self._windows.get((model.number, lane, window.name, start_ms))
                if held is not None:
                    found.append(held)
        return found

    def _taking(
        self, model: MeasuredModel, lane: int, pane: int, rung: int, edge_ms: int, state: State
    ) -> _Open | None:
        """The smallest window with a pane that takes what becomes known at a rung and is still
        open; None where there is none.

        Of windows that overlap it is the one that begins last, which is open longest.
        """
        if model.name == NO_MODEL:
            return None
        for window in self._schedule.plan(model.config).windows:
            start_ms = pane // window.step_ms * window.step_ms
            last_rung, delay_ms = _rungs(model, lane, window)[-1]
            if rung <= last_rung and start_ms + window.size_ms + delay_ms > edge_ms:
                key = (model.number, lane, window.name, start_ms)
                held = self._windows.pop(key, None)
                if held is None:
                    held = self._read(model, lane, window, start_ms, state)
                self._windows[key] = held
                return held
        return None

    def _read(
        self, model: MeasuredModel, lane: int, window: Window, start_ms: int, state: State
    ) -> _Open:
        """A window with everything that the panes hold of it."""
        found, whole = _Open(model, lane, window, start_ms), self._is_whole(model)
        for chunk in self._panes.span(
            model.number, lane, start_ms, start_ms + window.size_ms, state
        ):
            keys = chunk.table.keys
            series = np.minimum(keys >> SERIES_SHIFT & MAX_SERIES - 1, len(whole) - 1)
            at = np.flatnonzero(_is_shown(keys) & whole[series])
            for key, count in zip(keys[at].tolist(), chunk.table.counts[at].tolist(), strict=True):
                found.add(
                    key >> SERIES_SHIFT & MAX_SERIES - 1, key >> RUNG_SHIFT, key & _CELL, count
                )
        return found

    def _is_whole(self, model: MeasuredModel) -> NDArray[np.bool_]:
        """Whether each series number stands for the segment "all" of a version."""
        held = self._whole.get(model.number)
        if held is None or len(held) != len(model.series) + 1:
            # The last one stands for series without a number.
            held = self._whole[model.number] = np.array(
                [segment == ALL for _, segment in model.series.names] + [False], np.bool_
            )
        return held

    def _forget(self, edges_ms: tuple[int, int]) -> None:
        """Let go of windows that are complete at every rung, and of those that changed longest ago
        where there are too many.
        """
        for key, window in list(self._windows.items()):
            _, delay_ms = _rungs(window.model, window.lane, window.window)[-1]
            if (
                window.start_ms + window.window.size_ms + delay_ms
                <= edges_ms[window.lane != TRAFFIC]
            ):
                del self._windows[key]
        for key in list(self._windows)[: max(len(self._windows) - MOST_WINDOWS, 0)]:
            del self._windows[key]


_Found = tuple[WindowCounts, Ints, Ints]


def _rungs(model: MeasuredModel, lane: int, window: Window) -> Sequence[tuple[int, int]]:
    """The rungs at which a window is announced, and their delays; one of no delay in lanes without
    any.
    """
    if lane != DECISIONS:
        return _NO_RUNGS
    return [(rung, model.config.maturity[rung].ms) for rung in model.config.rungs_for(window)]


def _due(
    model: MeasuredModel, lane: int, window: _Open, place: int, rung: int, delay_ms: int
) -> DueWindow:
    """As the announcement will be that the record runs ahead of."""
    size_ms = window.window.size_ms
    end_ms = window.start_ms + size_ms
    maturity = model.config.maturity[rung].name if lane == DECISIONS else None
    return DueWindow(
        window.window.name,
        window.window.kind,
        size_ms,
        end_ms,
        rung,
        maturity,
        False,
        place + 1,
        end_ms + delay_ms,
        0,
    )


def _filled_blocks(
    evaluated: Sequence[tuple[MeasuredModel, Sequence[_Found]]], lane: int
) -> list[tuple[CountBlock, MeasuredModel]]:
    """Count the windows of all models, those with the same labels and metrics together; with one of
    the models of each block.
    """
    opened: dict[tuple[object, ...], CountBlock] = {}
    blocks: list[tuple[CountBlock, MeasuredModel]] = []
    for model, found in evaluated:
        for window, place, counts in found:
            layout = window.layout
            shape = block_shape(model, layout)
            block = opened.get(shape)
            if block is None or (block.rows + len(window.series)) * layout.width > MOST_CELLS:
                block = opened[shape] = CountBlock(lane, layout)
                blocks.append((block, model))
            block.add(window, place, counts)
    for block, _ in blocks:
        block.close()
    return blocks


def _is_shown(keys: Ints) -> NDArray[np.bool_]:
    """Which packed keys are of counters and cells, shape (N,)."""
    measure = keys >> MEASURE_SHIFT & (1 << MEASURE_BITS) - 1
    shown: NDArray[np.bool_] = (measure == lanes.COUNT) | (measure == lanes.CELLS)
    return shown


_CELL: Final = (1 << SERIES_SHIFT) - 1
_NO_RUNGS: Final = ((0, 0),)
