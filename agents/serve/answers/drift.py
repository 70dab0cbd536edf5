"""Answers about drift: the newest test of each target, and levels over time for a heat map."""

from __future__ import annotations

from driftline.agents.serve.answers.answer import Answer, Page
from driftline.schemas.results import Drift
from driftline.schemas.times import EpochMs


class DriftNow(Answer):
    """The newest test of each target, the largest shift first.

    Attributes
    ----------
    tests
        Records as on the topic `drift`, with the summaries that a method keeps in `details`.
    """

    tests: list[Drift]
    page: Page


class DriftLine(Answer):
    """One target over time; the arrays belong to `DriftHistory.window_start`. null where there is
    no test. `/drift` with `start` has the evidence of a window.

    Attributes
    ----------
    level
        "none", "mild", "moderate", "severe" or "insufficient_data".
    effect
        Size of the shift in the unit of the method.
    p_adjusted
        Adjusted p-value; the plain one where the method has no other.
    n_current
        Rows of the window.
    n_drifted
        Number of windows with a moderate or severe shift.
    """

    target: str
    method: str
    level: list[str | None]
    effect: list[float | None]
    p_adjusted: list[float | None]
    n_current: list[int | None]
    n_drifted: int


class DriftHistory(Answer):
    """Levels of all targets of a version and window over time, those that drifted most first."""

    model_name: str
    model_version: str
    segment: str
    window: str
    window_start_ms: list[EpochMs]
    window_end_ms: list[EpochMs]
    lines: list[DriftLine]
    page: Page
