"""How far time has come, and which edge of a pane is worked off next.

The traffic frontier is the smallest prediction watermark of all partitions less the prediction
grace; the main frontier, of decisions and arrivals, also waits for the ground truths less theirs.
Edges are worked off in one fixed order, by the stream time at which they are released (edge +
grace), so that what is announced, and what the registry makes of it, does not depend on how the
input was cut into batches. The price: while the truths of a partition stand still, without even a
tick, traffic waits for them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from driftline.schemas.settings import Config
from driftline.streams.measure.state_keys import FRONTIER
from driftline.streams.measure.timing.windows import Schedule
from driftline.streams.partial import Watermarks
from driftline.streams.stage import State

FORMAT: Final = 2


class TimeStep(msgspec.Struct, frozen=True):
    """One step of time: the edges released at one moment.

    Attributes
    ----------
    released_ms
        Stream time of the step; grows from step to step.
    traffic, main
        Of each lane group the edge before this one and this one, or None where the group has no
        part in the step.
    """

    released_ms: int
    traffic: tuple[int, int] | None
    main: tuple[int, int] | None


class _Progress(msgspec.Struct):
    format: int = FORMAT
    partitions: int = 0
    marks: dict[int, tuple[int, int]] = {}
    traffic_ms: int | None = None
    main_ms: int | None = None
    released_ms: int = 0
    ended: dict[int, int] = {}


class Frontier:
    """Watermarks of all partitions and the edges worked off so far."""

    def __init__(self, config: Config, schedule: Schedule, state: State) -> None:
        self._schedule = schedule
        self._pane_ms = config.pane_ms
        self._grace_ms = (config.prediction_grace_ms, config.truth_grace_ms)
        held = state.get(FRONTIER)
        self._progress = _Progress() if held is None else _decode(held)
        if self._progress.format != FORMAT:
            raise ValueError(
                f"measure: progress of format {self._progress.format}, needed {FORMAT}; replay the log into a new folder"
            )

    def note(self, watermarks: Watermarks) -> None:
        """Take in what a partition announces; watermarks never go back."""
        held = self._progress.marks.get(
            watermarks.partition, (watermarks.prediction_ms, watermarks.truth_ms)
        )
        self._progress.partitions = watermarks.partitions
        if watermarks.ended_ms is not None:
            self._progress.ended[watermarks.partition] = watermarks.ended_ms
        self._progress.marks[watermarks.partition] = (
            max(held[0], watermarks.prediction_ms),
            max(held[1], watermarks.truth_ms),
        )

    def begin(self, first_pane_ms: int) -> None:
        """Let time begin with the first pane that holds anything, once all partitions have said
        where they are.

        Again and again: while a topic has shown nothing, its frontier lies at the beginning of all
        time. What lies before both the first pane and a frontier holds nothing and never will, so
        its edges are passed over in one go.
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

    def next_step(self) -> TimeStep | None:
        """The next step, if the frontiers have passed its edges."""
        progress, reached = self._progress, self._reached()
        if reached is None or progress.traffic_ms is None or progress.main_ms is None:
            return None
        traffic = self._schedule.next_edge(self._schedule.traffic, progress.traffic_ms)
        main = self._schedule.next_edge(self._schedule.main, progress.main_ms)
        moments = [
            edge + grace
            for edge, grace in ((traffic, self._grace_ms[0]), (main, max(self._grace_ms)))
            if edge is not None
        ]
        if not moments:
            return None
        released = min(moments)
        step_traffic = (
            (progress.traffic_ms, traffic)
            if traffic is not None and traffic + self._grace_ms[0] == released
            else None
        )
        step_main = (
            (progress.main_ms, main)
            if main is not None and main + max(self._grace_ms) == released
            else None
        )
        if (step_traffic is not None and step_traffic[1] > reached[0]) or (
            step_main is not None and step_main[1] > reached[1]
        ):
            return None
        return TimeStep(released, step_traffic, step_main)

    def done(self, step: TimeStep) -> None:
        """Mark a step as worked off."""
        if step.traffic is not None:
            self._progress.traffic_ms = step.traffic[1]
        if step.main is not None:
            self._progress.main_ms = step.main[1]
        self._progress.released_ms = step.released_ms

    @property
    def next_ms(self) -> int:
        """Stream time before which no further step lies, whatever is still to come;

        0 before all partitions have said where they are.
        """
        reached = self._reached()
        if reached is None:
            return 0
        groups = zip(
            reached,
            (self._schedule.traffic, self._schedule.main),
            (self._grace_ms[0], max(self._grace_ms)),
            strict=True,
        )
        return min(
            (reached_ms // self._pane_ms + 1) * self._pane_ms + grace_ms
            for reached_ms, rhythms, grace_ms in groups
            if rhythms
        )

    @property
    def reached_ms(self) -> int:
        """Stream time of the last step; 0 before the first one."""
        return self._progress.released_ms

    def reached_since(self, pane_ms: int | None) -> int:
        """Stream time of the last step that this pane, or one after it, had a part in; 0 before it,
        and for None.

        Unlike `reached_ms` it does not depend on what else is counted in the same task.
        """
        if pane_ms is None:
            return 0
        graces_ms = (self._grace_ms[0], max(self._grace_ms))
        return max(
            (
                edge + grace
                for edge, grace in zip(self.edges_ms, graces_ms, strict=True)
                if edge > pane_ms
            ),
            default=0,
        )

    @property
    def edges_ms(self) -> tuple[int, int]:
        """The last edges of traffic and of the other lanes that were worked off; -1 before the
        first ones.
        """
        traffic_ms, main_ms = self._progress.traffic_ms, self._progress.main_ms
        return -1 if traffic_ms is None else traffic_ms, -1 if main_ms is None else main_ms

    @property
    def ended_ms(self) -> int | None:
        """When the recorded log came to its end; None while a partition goes on.

        A partition that has not ended has passed the edges that are worked off by what it holds, so
        its end lies behind them: which partition tells its end first changes nothing.
        """
        progress = self._progress
        return (
            max(progress.ended.values())
            if progress.ended and len(progress.ended) == progress.partitions
            else None
        )

    @property
    def partitions(self) -> int:
        """Of stage 1; 0 before the first one announced a watermark."""
        return self._progress.partitions

    @property
    def marks(self) -> Mapping[int, tuple[int, int]]:
        """The prediction and the truth watermark of each partition that has announced any."""
        return self._progress.marks

    def write(self, state: State) -> None:
        """Write the progress down."""
        state.put(FRONTIER, _encode(self._progress))

    def _reached(self) -> tuple[int, int] | None:
        """The traffic and the main frontier;

        None before all partitions have announced a watermark.
        """
        marks = self._progress.marks
        if not marks or len(marks) < self._progress.partitions:
            return None
        traffic = min(prediction for prediction, _ in marks.values()) - self._grace_ms[0]
        return traffic, min(traffic, min(truth for _, truth in marks.values()) - self._grace_ms[1])


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Progress).decode
