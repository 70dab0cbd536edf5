"""Which windows and rungs are due at which moment. Arithmetic on times alone: no data comes in
here.

A window [start, end) is aligned to the UTC epoch. In the traffic and arrivals lanes it is due when
the frontier passes its end; in the decisions lane once per rung, when the frontier passes end +
rung. "Passes" means: at the first edge of a pane at or after that time.

    panes      |----|----|----|----|----|
    window     [---------)                    due at its end in traffic and arrivals,
    rung                  .......>            in decisions at the edge of a pane after the rung:
                                   ^
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from driftline.schemas.settings import Config, ModelConfig, Window, parse_window
from driftline.schemas.times import DAY_MS, HOUR_MS
from driftline.streams.lanes import ARRIVALS, DECISIONS, LANE_NAMES, TRAFFIC

SINCE_DEPLOYMENT: Final = "since_deployment"

WindowKind = Literal["tumbling", "sliding", "since_deployment", "last_n"]
Recurrence = tuple[int, int]
"""(step, offset): something is due at every multiple of the step plus the offset."""


class DueWindow(msgspec.Struct, frozen=True):
    """One window of a lane that is announced now.

    Attributes
    ----------
    window, kind, size_ms
        Its name, kind and length; 0 for "since deployment", whose start depends on the version.
    end_ms
        Its end (excluded).
    rung
        Index into the ladder, 0 in lanes without one.
    maturity
        Name of the rung; None in lanes without one.
    revision
        Which announcement of this window it is, from 1.
    complete_at_ms
        Event time at which it became complete.
    last_final_ms
        Start of the last window of the same kind that is final by now.
    """

    window: str
    kind: WindowKind
    size_ms: int
    end_ms: int
    rung: int
    maturity: str | None
    final: bool
    revision: int
    complete_at_ms: int
    last_final_ms: int

    @property
    def start_ms(self) -> int:
        """Its start (included)."""
        return self.end_ms - self.size_ms


class WindowPlan:
    """The windows of one model's settings.

    Parameters
    ----------
    config
        The settings.
    pane_ms
        Length of a pane.
    """

    def __init__(self, config: ModelConfig, pane_ms: int) -> None:
        self.config = config
        self.windows = tuple(sorted(config.windows, key=lambda window: window.size_ms))
        self.smallest = min(self.windows, key=lambda window: (window.step_ms, window.size_ms))
        self.since_step_ms = (
            DAY_MS if DAY_MS % pane_ms == 0 else max(window.step_ms for window in self.windows)
        )
        steps = [window.step_ms for window in self.windows]
        self.recent_step_ms = min((step for step in steps if step >= HOUR_MS), default=max(steps))
        self.longest_ms = max(window.size_ms for window in self.windows)
        self.rungs = {window.name: config.rungs_for(window) for window in self.windows}
        self.histogram_window = _histogram_window(config)
        self.detection = next(
            window for window in self.windows if window.name == config.detection_window
        )

    def rhythms(self, lane: int) -> Iterable[Recurrence]:
        """All moments at which something of a lane may be due."""
        for window in self.windows:
            if lane == DECISIONS:
                yield from (
                    (window.step_ms, self.config.maturity[rung].ms)
                    for rung in self.rungs[window.name]
                )
            else:
                yield window.step_ms, 0
        if lane == DECISIONS and self.config.since_deployment:
            yield from ((self.since_step_ms, rung.ms) for rung in self.config.maturity)
        if lane == ARRIVALS and self.config.last_n:
            yield self.recent_step_ms, 0

    def due(self, lane: int, after_ms: int, now_ms: int) -> list[DueWindow]:
        """Tumbling and sliding windows due after one moment and up to another, by size and rung;
        none that begins before 1970.
        """
        found = []
        for window in self.windows:
            if lane != DECISIONS:
                end = _last_end(window.step_ms, 0, after_ms, now_ms)
                if end is not None and end >= window.size_ms:
                    found.append(
                        DueWindow(
                            window.name,
                            window.kind,
                            window.size_ms,
                            end,
                            0,
                            None,
                            True,
                            1,
                            end,
                            end - window.size_ms,
                        )
                    )
                continue
            found += self._announcements(
                window, self.rungs[window.name], window.step_ms, after_ms, now_ms
            )
        return found

    def since_due(self, after_ms: int, now_ms: int) -> list[DueWindow]:
        """Announcements of "since deployment", in the decisions lane."""
        if not self.config.since_deployment:
            return []
        whole = Window(SINCE_DEPLOYMENT, 0, self.since_step_ms, "tumbling")
        rungs = tuple(range(len(self.config.maturity)))
        return self._announcements(whole, rungs, self.since_step_ms, after_ms, now_ms)

    def _announcements(
        self, window: Window, rungs: Sequence[int], step_ms: int, after_ms: int, now_ms: int
    ) -> list[DueWindow]:
        found = []
        last_final_ms = (
            now_ms - self.config.maturity[rungs[-1]].ms
        ) // step_ms * step_ms - window.size_ms
        for place, rung in enumerate(rungs):
            name, delay = self.config.maturity[rung].name, self.config.maturity[rung].ms
            end = _last_end(step_ms, delay, after_ms, now_ms)
            if end is not None and end >= max(window.size_ms, 1):
                kind: WindowKind = (
                    "since_deployment" if window.name == SINCE_DEPLOYMENT else window.kind
                )
                final = place == len(rungs) - 1
                found.append(
                    DueWindow(
                        window.name,
                        kind,
                        window.size_ms,
                        end,
                        rung,
                        name,
                        final,
                        place + 1,
                        end + delay,
                        last_final_ms,
                    )
                )
        return found


class Schedule:
    """The moments of a whole run: which edge of a pane comes next for a lane group."""

    def __init__(self, config: Config) -> None:
        self._pane_ms = config.pane_ms
        self._plans: dict[int, tuple[ModelConfig, WindowPlan]] = {}
        plans = [self.plan(model) for model in (config.defaults, *config.models.values())]
        lanes = [lane for lane, name in enumerate(LANE_NAMES) if name in config.lanes]
        self.traffic = (
            tuple(sorted({rhythm for plan in plans for rhythm in plan.rhythms(TRAFFIC)}))
            if TRAFFIC in lanes
            else ()
        )
        main = [lane for lane in lanes if lane != TRAFFIC]
        self.main = tuple(
            sorted({rhythm for lane in main for plan in plans for rhythm in plan.rhythms(lane)})
        )

    def plan(self, config: ModelConfig) -> WindowPlan:
        """The plan of one model's settings, made once."""
        held = self._plans.get(id(config))
        if held is None:
            # The settings are kept beside the plan, so that their id is not given to others.
            held = self._plans[id(config)] = (config, WindowPlan(config, self._pane_ms))
        return held[1]

    def next_edge(self, rhythms: Sequence[Recurrence], after_ms: int) -> int | None:
        """The first edge of a pane at which something of `rhythms` is due after `after_ms`;

        None without rhythms.
        """
        if not rhythms:
            return None
        moment = min(((after_ms - offset) // step + 1) * step + offset for step, offset in rhythms)
        return -(-moment // self._pane_ms) * self._pane_ms


def _histogram_window(config: ModelConfig) -> str:
    """Name of the window whose score histograms are announced: the one that thresholds are looked
    for in.
    """
    if "window" in config.tuner:
        return parse_window(config.tuner["window"]).name
    days = [
        window
        for window in config.windows
        if window.kind == "tumbling" and window.size_ms >= DAY_MS
    ]
    if days:
        return min(days, key=lambda window: window.size_ms).name
    return max(config.windows, key=lambda window: window.size_ms).name


def _last_end(step_ms: int, offset_ms: int, after_ms: int, now_ms: int) -> int | None:
    """The last multiple of the step that, with the offset, lies after one moment and not after the
    other.
    """
    end = (now_ms - offset_ms) // step_ms * step_ms
    return end if end + offset_ms > after_ms else None
