"""The life of an alert: from judgements, one window after the other, to firing and resolved.

        breach, not yet `for`           breach for as long as `for` asks
    ok ----------------------> pending ------------------------------> firing --+ worse: the same
    episode, more severe
     ^                            |                                      |      |
     |      no breach, unclear,   |                                      +------+
     +------ a window missing ----+                    clear             |
     +-------------------------------------------------------------------+  resolved; not again
     before `cool_down`

Pure: a life and a judgement give the next life and what to tell. What is a breach is the rules'
affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from driftline.streams.decide.judgement import SEVERITIES, Judgement, Severity

Change = Literal["firing", "escalated", "resolved"]


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Windows in breach without a break.

    Parameters
    ----------
    windows
        How many.
    since_ms
        Start of the first one.
    """

    windows: int
    since_ms: int


class Life(msgspec.Struct, frozen=True, omit_defaults=True):
    """State of one rule on one series.

    Parameters
    ----------
    window_end_ms
        End of the newest window judged; an older or equal one is not judged again.
    runs
        The run at each severity or worse, by severity; empty when the newest window was not in
        breach.
    firing
        Whether an episode is open.
    severity, starts_at_ms
        Of the episode, open or last.
    ended_at_ms
        End of the last episode.
    """

    window_end_ms: int = -1
    runs: dict[str, Run] = {}
    firing: bool = False
    severity: Severity = "info"
    starts_at_ms: int = -1
    ended_at_ms: int | None = None


def step(
    life: Life,
    judged: Judgement,
    *,
    held: Callable[[Run, int], bool],
    cool_down_ms: int = 0,
    step_ms: int | None = None,
) -> tuple[Life, Change | None]:
    """The life after one more window, and what there is to tell.

    Parameters
    ----------
    judged
        Of a window that ends after the newest one so far; any other changes nothing.
    held
        Whether a run that lasts to the given time, in ms, is long enough to fire.
    cool_down_ms
        Time after an episode in which no other begins.
    step_ms
        Distance from window to window; a greater one means that windows are missing between. None:
        not known.

    Examples
    --------
    >>> twice = lambda run, end_ms: run.windows >= 2
    >>> life, told = Life(), []
    >>> for day, verdict in enumerate(["breach", "unclear", "breach", "breach", "within", "unclear", "clear"]):
    ...     life, change = step(life, Judgement(verdict=verdict, window_start_ms=day, window_end_ms=day + 1, at_ms=day + 1), held=twice)
    ...     told.append(change)
    >>> told
    [None, None, None, 'firing', None, None, 'resolved']
    """
    if judged.window_end_ms <= life.window_end_ms:
        return life, None
    missing = (
        step_ms is not None
        and life.window_end_ms >= 0
        and judged.window_end_ms > life.window_end_ms + step_ms
    )
    runs: dict[str, Run] = {}
    if judged.verdict == "breach":
        for severity in SEVERITIES[: SEVERITIES.index(judged.severity) + 1]:
            before = None if missing else life.runs.get(severity)
            runs[severity] = (
                Run(before.windows + 1, before.since_ms)
                if before
                else Run(1, judged.window_start_ms)
            )
    life = msgspec.structs.replace(life, window_end_ms=judged.window_end_ms, runs=runs)
    worst = next(
        (
            severity
            for severity in reversed(SEVERITIES)
            if severity in runs and held(runs[severity], judged.window_end_ms)
        ),
        None,
    )
    if worst is not None:
        if not life.firing:
            if life.ended_at_ms is not None and judged.at_ms < life.ended_at_ms + cool_down_ms:
                return life, None
            return msgspec.structs.replace(
                life, firing=True, severity=worst, starts_at_ms=judged.at_ms
            ), "firing"
        if SEVERITIES.index(worst) > SEVERITIES.index(life.severity):
            return msgspec.structs.replace(life, severity=worst), "escalated"
    elif judged.verdict == "clear" and life.firing:
        return ended(life, judged.at_ms), "resolved"
    return life, None


def ended(life: Life, at_ms: int) -> Life:
    """The life after its open episode ended."""
    return msgspec.structs.replace(life, firing=False, ended_at_ms=at_ms, runs={})
