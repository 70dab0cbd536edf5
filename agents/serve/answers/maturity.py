"""Answers about figures that ripen: windows by rung, and early figures against final ones."""

from __future__ import annotations

from typing import Literal

from driftline.agents.serve.answers.answer import Answer, Page
from driftline.agents.serve.answers.figures import BaselineFigure, SeriesName, Verdict
from driftline.schemas.times import EpochMs


class RipeningCell(Answer):
    """A window at one rung.

    Attributes
    ----------
    state
        "known"; "due": its figures come at `due_ms`; "absent": they should be there, and are not,
        for example because the index no longer has them.
    due_ms
        Frontier at which they are complete: end of the window, rung and grace.
    difference
        Value less the baseline of the same rung; null without both.
    """

    state: Literal["known", "due", "absent"]
    due_ms: EpochMs
    value: float | None
    low: float | None
    high: float | None
    null_reason: str | None
    n: int
    n_predictions: int
    final: bool
    difference: float | None
    verdict: Verdict


class RipeningRow(Answer):
    """A window at all rungs; `cells` are in the order of `Ripening.rungs`."""

    window_start_ms: EpochMs
    window_end_ms: EpochMs
    cells: list[RipeningCell]


class Ripening(Answer):
    """Windows by rung, the newest first.

    Attributes
    ----------
    rungs
        Names of the rungs, the last one is final.
    baselines
        By rung; null without one.
    frontier_ms
        Event time that has been reached.
    """

    series: SeriesName
    metric: str
    rungs: list[str]
    baselines: list[BaselineFigure | None]
    frontier_ms: EpochMs | None
    rows: list[RipeningRow]
    page: Page


class EarlyRung(Answer):
    """One rung against the final figures of the same windows.

    Attributes
    ----------
    n_windows
        Windows with a value at this rung and a final one.
    differences
        Early less final of each of them, in the order of time.
    mean, low, high
        Mean of the differences, and the range that holds the middle 90 % of them; null without any.
    n_held, held_share
        Windows whose final value lay within the early 95 % interval, and their share.
    coverage
        Share of the final labels that were known at this rung, over these windows.
    """

    rung: str
    n_windows: int
    differences: list[float]
    mean: float | None
    low: float | None
    high: float | None
    n_held: int
    held_share: float | None
    coverage: float | None


class Early(Answer):
    """How early figures compared with the final ones, over the last final windows.

    Attributes
    ----------
    window_end_ms
        Ends of the final windows that were looked at.
    rungs
        All but the last one.
    holds_from
        The first rung from which on the final value lay within the early interval in at least
        `held_share` of the windows; null if none.
    held_share
        0.9.
    """

    series: SeriesName
    metric: str
    window_end_ms: list[EpochMs]
    rungs: list[EarlyRung]
    holds_from: str | None
    held_share: float
