"""Life cycle of an alert: judgements of consecutive windows become firing and resolved.

        breach, shorter than `for`          breach for as long as `for`
    ok ---------------------> pending ---------------------------> firing --+ more severe breach:
     ^                           |                                   |      | same episode, higher
     |   no breach, unclear,     |                                   +------+ severity
     +-- or a window is missing -+            clear                  |
     +---------------------------------------------------------------+
                       resolved; fires again after `cool_down` at the earliest

Pure functions of a state and a judgement. The rules decide what a breach is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from driftline.streams.decide.judgement import SEVERITIES, Judgement, Severity

Change = Literal["firing", "escalated", "resolved"]


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive windows in breach.

    Parameters
    ----------
    windows
        Number of windows.
    since_ms
        Start of the first one.
    """

    windows: int
    since_ms: int


class AlertState(msgspec.Struct, frozen=True, omit_defaults=True):
    """State of one rule on one series.

    Parameters
    ----------
    window_end_ms
        End of the newest window judged; a window that does not end later is not judged.
    runs
        By severity, the run of breaches of at least that severity; empty unless the newest window
        was in breach.
    firing
        Whether an episode is open.
    severity, starts_at_ms
        Severity and start of the open or last episode.
    ended_at_ms
        End of the last episode.
    """

    window_end_ms: int = -1
    runs: dict[str, Run] = {}
    firing: bool = False
    severity: Severity = "info"
    starts_at_ms: int = -1
    ended_at_ms: int | None = None


def next_state(
    state: AlertState,
    judged: Judgement,
    *,
    is_long_enough: Callable[[Run, int], bool],
    cool_down_ms: int = 0,
    step_ms: int | None = None,
) -> tuple[AlertState, Change | None]:
    """The state after one more window, and the change to announce.

    Parameters
    ----------
    judged
        Judgement of a window that ends after the newest one; any other changes nothing.
    is_long_enough
        Whether a run that lasts to the given time, in ms, makes the alert fire.
    cool_down_ms
        Time after an episode in which no other begins.
    step_ms
        Distance from window to window; a greater one means that windows are missing in between.
        None if it is not known.

    Examples
    --------
    >>> twice = lambda run, end_ms: run.windows >= 2
    >>> state, changes = AlertState(), []
    >>> verdicts = ["breach", "unclear", "breach", "breach", "within", "unclear", "clear"]
    >>> for day, verdict in enumerate(verdicts):
    ...     judged = Judgement(
    ...         verdict=verdict, window_start_ms=day, window_end_ms=day + 1, at_ms=day + 1
    ...     )
    ...     state, change = next_state(state, judged, is_long_enough=twice)
    ...     changes.append(change)
    >>> changes
    [None, None, None, 'firing', None, None, 'resolved']
    """
    if judged.window_end_ms <= state.window_end_ms:
        return state, None
    is_gap = (
        step_ms is not None
        and state.window_end_ms >= 0
        and judged.window_end_ms > state.window_end_ms + step_ms
    )
    runs: dict[str, Run] = {}
    if judged.verdict == "breach":
        for severity in SEVERITIES[: SEVERITIES.index(judged.severity) + 1]:
            before = None if is_gap else state.runs.get(severity)
            runs[severity] = (
                Run(before.windows + 1, before.since_ms)
                if before
                else Run(1, judged.window_start_ms)
            )
    state = msgspec.structs.replace(state, window_end_ms=judged.window_end_ms, runs=runs)
    worst = next(
        (
            severity
            for severity in reversed(SEVERITIES)
            if severity in runs and is_long_enough(runs[severity], judged.window_end_ms)
        ),
        None,
    )
    if worst is not None:
        if not state.firing:
            if state.ended_at_ms is not None and judged.at_ms < state.ended_at_ms + cool_down_ms:
                return state, None
            return msgspec.structs.replace(
                state, firing=True, severity=worst, starts_at_ms=judged.at_ms
            ), "firing"
        if SEVERITIES.index(worst) > SEVERITIES.index(state.severity):
            return msgspec.structs.replace(state, severity=worst), "escalated"
    elif judged.verdict == "clear" and state.firing:
        return resolved(state, judged.at_ms), "resolved"
    return state, None


def resolved(state: AlertState, at_ms: int) -> AlertState:
    """The state after its open episode ended."""
    return msgspec.structs.replace(state, firing=False, ended_at_ms=at_ms, runs={})
