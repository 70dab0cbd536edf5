"""Frontiers of event time, and which edge of a pane is next.

The traffic frontier is the smallest prediction watermark of all partitions less the prediction
grace; the main frontier, of decisions and arrivals, also waits for the ground-truth watermarks less
their grace. Edges are processed in one fixed order, by the stream time at which they are released
(edge + grace). So neither the emitted records nor the registry's decisions on them depend on how
the input was cut into batches. The price: while the truths of a partition stand still, without even
a tick, traffic waits too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from driftline.schemas.settings import Config
from driftline.streams.measure.state_keys import FRONTIER
from driftline.streams.measure.timing.windows import Schedule
from driftline.streams.partial import Watermarks
from driftline.streams.stage import State

FORMAT: Final = 3


class EdgeSpan(NamedTuple):
    """The last edge that was processed, and the next one."""

    after_ms: int
    now_ms: int


class LaneGroups(NamedTuple):
    """One time of the traffic lane, and one of the decisions and arrivals lanes."""

    traffic_ms: int
    main_ms: int


class TimeStep(msgspec.Struct, frozen=True):
    """One step of time: the edges released at one stream time.

    Attributes
    ----------
    released_ms
        Stream time of the step; grows from step to step.
    traffic, main
        The edges of each lane group; None where the group has no part in the step.
    """

    released_ms: int
    traffic: EdgeSpan | None
    main: EdgeSpan | None


class _Progress(msgspec.Struct):
    """The frontier as it is written to state."""

    format: int = FORMAT
    partitions: int = 0
    marks: dict[int, tuple[int, int]] = {}
    traffic_ms: int | None = None
    main_ms: int | None = None
    ended: dict[int, int] = {}
    predictions_ended: dict[int, int] = {}


class Frontier:
    """Watermarks of all partitions of stage 1, and the edges processed so far.

    Raises
    ------
    ValueError
        If another release wrote the state.
    """

    def __init__(self, config: Config, schedule: Schedule, state: State) -> None:
        self._schedule = schedule
        self._pane_ms = config.pane_ms
        self._grace_ms = LaneGroups(
            config.prediction_grace_ms, max(config.prediction_grace_ms, config.truth_grace_ms)
        )
        self._truth_grace_ms = config.truth_grace_ms
        data = state.get(FRONTIER)
        self._progress = _Progress() if data is None else _decode(data)
        if self._progress.format != FORMAT:
            raise ValueError(
                f"measure: frontier of format {self._progress.format} in the state, this release "
                f"reads format {FORMAT}; replay the log into a new folder"
            )

    def note(self, watermarks: Watermarks) -> None:
        """Take in the watermarks of a partition; they never go back."""
        progress, partition = self._progress, watermarks.partition
        prediction_ms, truth_ms = progress.marks.get(
            partition, (watermarks.prediction_ms, watermarks.truth_ms)
        )
        progress.partitions = watermarks.partitions
        if watermarks.ended_ms is not None:
            progress.ended[partition] = watermarks.ended_ms
        if watermarks.predictions_ended_ms is not None:
            progress.predictions_ended[partition] = watermarks.predictions_ended_ms
        progress.marks[partition] = (
            max(prediction_ms, watermarks.prediction_ms),
            max(truth_ms, watermarks.truth_ms),
        )

    def begin(self, first_pane_ms: int) -> None:
        """Let time begin at the first pane with counts, once all partitions have a watermark.

        To be called again after each batch: while a topic is empty, its frontier lies at the
        beginning of all time. Panes before both the first pane and a frontier are empty and stay
        so, and their edges are skipped at once.
        """
        reached = self._reached()
        if reached is None:
            return
        traffic_ms, main_ms = (
            min(first_pane_ms, frontier_ms) // self._pane_ms * self._pane_ms
            for frontier_ms in reached
        )
        progress = self._progress
        progress.traffic_ms = (
            traffic_ms if progress.traffic_ms is None else max(progress.traffic_ms, traffic_ms)
        )
        progress.main_ms = main_ms if progress.main_ms is None else max(progress.main_ms, main_ms)

    def next_edges(self) -> tuple[EdgeSpan | None, EdgeSpan | None]:
        """The next edge of the traffic lane, and of the decisions and arrivals lanes, whether it is
        reached or not; None before time begins, and for lanes that are off.
        """
        traffic, main = (
            None
            if after_ms is None or (edge_ms := self._schedule.next_edge(each, after_ms)) is None
            else EdgeSpan(after_ms, edge_ms)
            for each, after_ms in zip(
                (self._schedule.traffic, self._schedule.main),
                (self._progress.traffic_ms, self._progress.main_ms),
                strict=True,
            )
        )
        return traffic, main

    def next_step(self) -> TimeStep | None:
        """The next step, if the frontiers have passed its edges."""
        reached, edges = self._reached(), self.next_edges()
        releases_ms = [
            None if each is None else each.now_ms + grace_ms
            for each, grace_ms in zip(edges, self._grace_ms, strict=True)
        ]
        released_ms = min((each for each in releases_ms if each is not None), default=None)
        if reached is None or released_ms is None:
            return None
        traffic, main = (
            each if release_ms == released_ms else None
            for each, release_ms in zip(edges, releases_ms, strict=True)
        )
        if (traffic is not None and traffic.now_ms > reached.traffic_ms) or (
            main is not None and main.now_ms > reached.main_ms
        ):
            return None
        return TimeStep(released_ms, traffic, main)

    def finish_step(self, step: TimeStep) -> None:
        """Mark the edges of a step as processed."""
        if step.traffic is not None:
            self._progress.traffic_ms = step.traffic.now_ms
        if step.main is not None:
            self._progress.main_ms = step.main.now_ms

    def pass_steps(self, work_ms: LaneGroups, command_ms: int | None) -> EdgeSpan | None:
        """Pass the steps before the first one with work; gives the edges of decisions and arrivals
        before and after them, None if there is no such step.

        Parameters
        ----------
        work_ms
            Times of the next work of each lane group: it is done at the first edge from there on.
        command_ms
            Stream time of the next command, which the first step released after it carries out.
        """
        progress, reached, schedule = self._progress, self._reached(), self._schedule
        if reached is None or progress.traffic_ms is None or progress.main_ms is None:
            return None
        groups = (schedule.traffic, schedule.main)
        ends_ms = [] if command_ms is None else [command_ms + 1]
        for recurrences, time_ms, reached_ms, grace_ms in zip(
            groups, work_ms, reached, self._grace_ms, strict=True
        ):
            from_ms = min(time_ms, reached_ms + 1)
            edge_ms = schedule.next_edge(
                recurrences, (from_ms - 1) // self._pane_ms * self._pane_ms
            )
            if edge_ms is not None:
                ends_ms.append(edge_ms + grace_ms)
        if not ends_ms:
            return None
        passed = [
            schedule.last_edge(recurrences, min(ends_ms) - grace_ms - 1)
            for recurrences, grace_ms in zip(groups, self._grace_ms, strict=True)
        ]
        before_ms = progress.main_ms
        traffic_ms, main_ms = (
            at_ms if edge_ms is None else max(at_ms, edge_ms)
            for at_ms, edge_ms in zip((progress.traffic_ms, before_ms), passed, strict=True)
        )
        if (traffic_ms, main_ms) == (progress.traffic_ms, before_ms):
            return None
        progress.traffic_ms, progress.main_ms = traffic_ms, main_ms
        return EdgeSpan(before_ms, main_ms)

    @property
    def next_ms(self) -> int:
        """Stream time before which no further step lies, whatever input is still to come.

        0 before all partitions have a watermark.
        """
        reached = self._reached()
        if reached is None:
            return 0
        groups = zip(
            reached, (self._schedule.traffic, self._schedule.main), self._grace_ms, strict=True
        )
        return min(
            (reached_ms // self._pane_ms + 1) * self._pane_ms + grace_ms
            for reached_ms, recurrences, grace_ms in groups
            if recurrences
        )

    def reached_since(self, pane_ms: int | None) -> int:
        """Stream time of the last step with this pane or a later one in it.

        0 before the first such step, and for None. It does not depend on which other models are
        counted in the same task.
        """
        if pane_ms is None:
            return 0
        return max(
            (
                edge_ms + grace_ms
                for edge_ms, grace_ms in zip(self.edges_ms, self._grace_ms, strict=True)
                if edge_ms > pane_ms
            ),
            default=0,
        )

    @property
    def edges_ms(self) -> LaneGroups:
        """The last edge of each lane group that was processed; -1 before the first one."""
        traffic_ms, main_ms = self._progress.traffic_ms, self._progress.main_ms
        return LaneGroups(
            -1 if traffic_ms is None else traffic_ms, -1 if main_ms is None else main_ms
        )

    @property
    def ended_ms(self) -> int | None:
        """Event time at which the recorded log ended; None while a partition goes on.

        A partition that has not ended has rows beyond the edges that are processed, so its end
        lies behind them: the order in which partitions end makes no difference.
        """
        return self._end(self._progress.ended)

    @property
    def predictions_ended_ms(self) -> int | None:
        """Event time that the predictions of a recorded log had reached when there was no further
        one; silence after it is no finding. None while a partition goes on.
        """
        return self._end(self._progress.predictions_ended)

    def _end(self, ended: Mapping[int, int]) -> int | None:
        return max(ended.values()) if ended and len(ended) == self._progress.partitions else None

    @property
    def partitions(self) -> int:
        """Number of partitions of stage 1; 0 before the first watermark."""
        return self._progress.partitions

    @property
    def marks(self) -> Mapping[int, tuple[int, int]]:
        """Prediction and ground-truth watermark of each partition that has sent any."""
        return self._progress.marks

    def write(self, state: State) -> None:
        """Write watermarks and edges to state."""
        state.put(FRONTIER, _encode(self._progress))

    def _reached(self) -> LaneGroups | None:
        """The traffic and the main frontier; None before all partitions have a watermark."""
        marks = self._progress.marks
        if not marks or len(marks) < self._progress.partitions:
            return None
        traffic_ms = (
            min(prediction_ms for prediction_ms, _ in marks.values()) - self._grace_ms.traffic_ms
        )
        truth_ms = min(truth_ms for _, truth_ms in marks.values()) - self._truth_grace_ms
        return LaneGroups(traffic_ms, min(traffic_ms, truth_ms))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Progress).decode
