"""Which windows and rungs are due at which event time.

Arithmetic on times alone; counting is `counts`, and how far time has come is `frontier.py`.

A window [start, end) is aligned to the UTC epoch. In the traffic and arrivals lanes it is due when
the frontier passes its end; in the decisions lane once per rung, when the frontier passes end +
rung. "Passes" means: at the first edge of a pane at or after that time.

    panes      |----|----|----|----|----|
    window     [---------)                    due at its end in traffic and arrivals,
    rung                  .......>            in decisions at the edge of a pane after the rung:
                                   ^
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from driftline.schemas.settings import Config, ModelConfig, Window, parse_window
from driftline.schemas.times import DAY_MS, HOUR_MS
from driftline.streams.lanes import ARRIVALS, DECISIONS, LANE_NAMES, TRAFFIC

SINCE_DEPLOYMENT: Final = "since_deployment"
NEVER_MS: Final = 1 << 62

WindowKind = Literal["tumbling", "sliding", "since_deployment", "last_n"]


class Recurrence(NamedTuple):
    """Something is due at every multiple of the step plus the offset."""

    step_ms: int
    offset_ms: int


class WindowReach(NamedTuple):
    """A kind of window: one ends at every multiple of the step, covers `size_ms` before its end,
    and is due `offset_ms` after it.
    """

    step_ms: int
    size_ms: int
    offset_ms: int


class DueWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One window of a lane to be emitted now.

    Attributes
    ----------
    window, kind, size_ms
        Name, kind and length; length 0 for "since deployment", whose start depends on the version,
        and for "last n".
    step_ms
        From its end to that of the next window of its kind; 0 where there is none.
    end_ms
        End, excluded.
    rung
        Index into the maturity ladder; 0 in lanes without one.
    maturity
        Name of the rung; None in lanes without one.
    final
        Whether this is the last rung of the window.
    revision
        Number of this record among those of the same window, from 1.
    complete_at_ms
        Event time at which the window became complete at this rung.
    last_final_ms
        Start of the last window of the same kind that is final by now.
    """

    window: str
    kind: WindowKind
    size_ms: int
    step_ms: int = 0
    end_ms: int
    rung: int = 0
    maturity: str | None = None
    final: bool = True
    revision: int = 1
    complete_at_ms: int
    last_final_ms: int

    @property
    def start_ms(self) -> int:
        """Start, included."""
        return self.end_ms - self.size_ms


class WindowPlan:
    """The windows of one model's settings.

    Parameters
    ----------
    config
        The settings.
    pane_ms
        Length of a pane.

    Attributes
    ----------
    windows
        The tumbling and sliding windows, by length.
    smallest
        The window with the smallest step.
    since_step_ms
        Step of "since deployment".
    last_n_step_ms
        Step of the last-n windows.
    longest_ms
        Length of the longest window.
    rungs
        Indexes into the maturity ladder, by name of the window.
    histogram_window
        Name of the window whose score histograms are emitted.
    detection
        The window in which drift is tested.
    reaches
        By lane, all kinds of windows.
    """

    def __init__(self, config: ModelConfig, pane_ms: int) -> None:
        self.config = config
        self.windows = tuple(sorted(config.windows, key=lambda window: window.size_ms))
        self.smallest = min(self.windows, key=lambda window: (window.step_ms, window.size_ms))
        self.since_step_ms = (
            DAY_MS if DAY_MS % pane_ms == 0 else max(window.step_ms for window in self.windows)
        )
        steps = [window.step_ms for window in self.windows]
        self.last_n_step_ms = min((step for step in steps if step >= HOUR_MS), default=max(steps))
        self.longest_ms = max(window.size_ms for window in self.windows)
        self.rungs = {window.name: config.rungs_for(window) for window in self.windows}
        self.histogram_window = _histogram_window(config)
        self.detection = next(
            window for window in self.windows if window.name == config.detection_window
        )
        self.reaches = [self._reaches(lane) for lane in range(len(LANE_NAMES))]
        self._due: dict[int, tuple[tuple[int, int], list[DueWindow]]] = {}

    def recurrences(self, lane: int) -> Iterable[Recurrence]:
        """All times at which something of a lane may be due."""
        for window in self.windows:
            if lane == DECISIONS:
                for rung in self.rungs[window.name]:
                    yield Recurrence(window.step_ms, self.config.maturity[rung].ms)
            else:
                yield Recurrence(window.step_ms, 0)
        if lane == DECISIONS and self.config.since_deployment:
            for maturity in self.config.maturity:
                yield Recurrence(self.since_step_ms, maturity.ms)
        if lane == ARRIVALS and self.config.last_n:
            yield Recurrence(self.last_n_step_ms, 0)

    def _reaches(self, lane: int) -> tuple[WindowReach, ...]:
        config = self.config
        reaches = [
            WindowReach(window.step_ms, window.size_ms, offset_ms)
            for window in self.windows
            for offset_ms in (
                [config.maturity[rung].ms for rung in self.rungs[window.name]]
                if lane == DECISIONS
                else [0]
            )
        ]
        if lane == DECISIONS and config.since_deployment:
            step_ms = self.since_step_ms
            reaches += [WindowReach(step_ms, step_ms, rung.ms) for rung in config.maturity]
        if lane == ARRIVALS and config.last_n:
            reaches.append(WindowReach(self.last_n_step_ms, self.last_n_step_ms, 0))
        return tuple(dict.fromkeys(reaches))

    def due(self, lane: int, after_ms: int, now_ms: int) -> Sequence[DueWindow]:
        """Tumbling and sliding windows due after `after_ms` and up to `now_ms`, by length and rung.

        A window that would start before 1970 is left out.
        """
        return self._once(lane, after_ms, now_ms, self._windows_due)

    def _once(
        self,
        key: int,
        after_ms: int,
        now_ms: int,
        compute: Callable[[int, int, int], list[DueWindow]],
    ) -> Sequence[DueWindow]:
        """What is due in a step, computed for the first of its models only."""
        edges = (after_ms, now_ms)
        cached = self._due.get(key)
        if cached is None or cached[0] != edges:
            cached = self._due[key] = (edges, compute(key, after_ms, now_ms))
        return cached[1]

    def _windows_due(self, lane: int, after_ms: int, now_ms: int) -> list[DueWindow]:
        due = []
        for window in self.windows:
            if lane == DECISIONS:
                due += self._due_rungs(
                    window, self.rungs[window.name], window.step_ms, after_ms, now_ms
                )
                continue
            end_ms = _last_end(Recurrence(window.step_ms, 0), after_ms, now_ms)
            if end_ms is not None and end_ms >= window.size_ms:
                due.append(
                    DueWindow(
                        window=window.name,
                        kind=window.kind,
                        size_ms=window.size_ms,
                        step_ms=window.step_ms,
                        end_ms=end_ms,
                        complete_at_ms=end_ms,
                        last_final_ms=end_ms - window.size_ms,
                    )
                )
        return due

    def since_deployment_due(self, after_ms: int, now_ms: int) -> Sequence[DueWindow]:
        """The rungs of "since deployment" that are due in the decisions lane."""
        if not self.config.since_deployment:
            return []
        return self._once(_SINCE, after_ms, now_ms, self._since_due)

    def _since_due(self, _: int, after_ms: int, now_ms: int) -> list[DueWindow]:
        whole = Window(SINCE_DEPLOYMENT, 0, self.since_step_ms, "tumbling")
        rungs = tuple(range(len(self.config.maturity)))
        return self._due_rungs(whole, rungs, self.since_step_ms, after_ms, now_ms)

    def _due_rungs(
        self, window: Window, rungs: Sequence[int], step_ms: int, after_ms: int, now_ms: int
    ) -> list[DueWindow]:
        ladder, due = self.config.maturity, []
        last_final_ms = (now_ms - ladder[rungs[-1]].ms) // step_ms * step_ms - window.size_ms
        kind: WindowKind = "since_deployment" if window.name == SINCE_DEPLOYMENT else window.kind
        for place, rung in enumerate(rungs):
            delay_ms = ladder[rung].ms
            end_ms = _last_end(Recurrence(step_ms, delay_ms), after_ms, now_ms)
            if end_ms is not None and end_ms >= max(window.size_ms, 1):
                due.append(
                    DueWindow(
                        window=window.name,
                        kind=kind,
                        size_ms=window.size_ms,
                        step_ms=step_ms,
                        end_ms=end_ms,
                        rung=rung,
                        maturity=ladder[rung].name,
                        final=place == len(rungs) - 1,
                        revision=place + 1,
                        complete_at_ms=end_ms + delay_ms,
                        last_final_ms=last_final_ms,
                    )
                )
        return due


class Schedule:
    """The edges of panes at which a whole run has something to do.

    Attributes
    ----------
    traffic, main
        Recurrences of the traffic lane, and of the decisions and arrivals lanes, of all models;
        empty for lanes that are off.
    """

    def __init__(self, config: Config) -> None:
        self._pane_ms = config.pane_ms
        self._plans: dict[int, tuple[ModelConfig, WindowPlan]] = {}
        plans = [self.plan(model) for model in (config.defaults, *config.models.values())]
        lanes = [lane for lane, name in enumerate(LANE_NAMES) if name in config.lanes]
        self.traffic = _distinct(plans, [lane for lane in lanes if lane == TRAFFIC])
        self.main = _distinct(plans, [lane for lane in lanes if lane != TRAFFIC])

    def plan(self, config: ModelConfig) -> WindowPlan:
        """The plan of one model's settings, built once."""
        cached = self._plans.get(id(config))
        if cached is None:
            # The settings are kept beside the plan, so that no other object gets their id.
            cached = self._plans[id(config)] = (config, WindowPlan(config, self._pane_ms))
        return cached[1]

    def last_edge(self, recurrences: Sequence[Recurrence], upto_ms: int) -> int | None:
        """The last edge of a pane up to `upto_ms` at which one of `recurrences` is due.

        None without recurrences.
        """
        if not recurrences:
            return None
        upto_ms = upto_ms // self._pane_ms * self._pane_ms
        due_ms = max(
            (upto_ms - offset_ms) // step_ms * step_ms + offset_ms
            for step_ms, offset_ms in recurrences
        )
        return -(-due_ms // self._pane_ms) * self._pane_ms

    def next_edge(self, recurrences: Sequence[Recurrence], after_ms: int) -> int | None:
        """The first edge of a pane after `after_ms` at which one of `recurrences` is due.

        None without recurrences.
        """
        if not recurrences:
            return None
        due_ms = min(
            ((after_ms - offset_ms) // step_ms + 1) * step_ms + offset_ms
            for step_ms, offset_ms in recurrences
        )
        return -(-due_ms // self._pane_ms) * self._pane_ms


def _distinct(plans: Sequence[WindowPlan], lanes: Sequence[int]) -> tuple[Recurrence, ...]:
    return tuple(
        sorted({each for lane in lanes for plan in plans for each in plan.recurrences(lane)})
    )


def _histogram_window(config: ModelConfig) -> str:
    """Name of the window whose score histograms are emitted: the one that the tuner reads."""
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


def _last_end(recurrence: Recurrence, after_ms: int, now_ms: int) -> int | None:
    """The last multiple of the step that is due after `after_ms` and up to `now_ms`, or None."""
    step_ms, offset_ms = recurrence
    end_ms = (now_ms - offset_ms) // step_ms * step_ms
    return end_ms if end_ms + offset_ms > after_ms else None


_SINCE: Final = -1
"""Key of "since deployment" beside the lanes."""
