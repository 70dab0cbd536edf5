"""What a rule looks at, and what it says about it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from driftline.schemas.results import Interval, WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.daily_variance import Days
from driftline.streams.registry.command_params import Baseline

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")


class Shift(msgspec.Struct, frozen=True, array_like=True):
    """One drift test's verdict on one target."""

    target: str
    method: str
    level: str
    statistic: float | None
    p_value: float | None


class DriftWindow(msgspec.Struct, frozen=True, kw_only=True):
    """All drift verdicts on one series in one detection window."""

    model_name: str
    model_version: str
    segment: str
    window: str
    window_start_ms: int
    window_end_ms: int
    shifts: tuple[Shift, ...] = ()


Measurement = WindowFigures | DriftWindow


class Activity(msgspec.Struct, frozen=True, array_like=True):
    """When a version was busy and when silent, from the windows of its traffic.

    Parameters
    ----------
    first_ms, last_ms
        Start of the first and end of the newest window with predictions.
    longest_silence_ms
        Longest time between two such windows that was still ordinary.
    """

    first_ms: int
    last_ms: int
    longest_silence_ms: int = 0


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stage 3 needs of a version's registry entry."""

    stage: str = "development"
    threshold: float | None = None
    baselines: dict[str, Baseline] = {}


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule may know besides the measurement.

    Parameters
    ----------
    config
        The model's settings.
    standing
        The version in the registry.
    live
        Whether predictions are expected: the version is in production, or none is and it is the
        newest one seen.
    days
        Recent daily values of the series at the measurement's maturity.
    activity
        None before the first prediction.
    performance_moved
        Whether a rule on performance finds fault with this version in its newest window.
    """

    config: ModelConfig
    standing: Standing = Standing()
    live: bool = True
    days: Days = Days()
    activity: Activity | None = None
    performance_moved: bool = False


Verdict = Literal["breach", "within", "clear", "unclear"]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says about one window.

    Parameters
    ----------
    verdict
        "breach": what the rule watches for; "within": no breach, but not far enough from it to end
        an alert; "clear": far enough; "unclear": too little to say, which neither starts nor ends
        anything.
    severity
        Of the breach.
    said
        The finding as the beginning of a sentence, without a full stop.
    window_start_ms, window_end_ms, at_ms
        The window, and the event time at which its figure is complete.
    """

    verdict: Verdict
    window_start_ms: int
    window_end_ms: int
    at_ms: int
    severity: Severity = "warning"
    said: str = ""
    metric: str | None = None
    value: float | None = None
    baseline: float | None = None
    threshold: float | None = None
    comparator: str | None = None
    n: int | None = None
    ci: Interval | None = None
    window: str | None = None
    maturity: str | None = None
    details: dict[str, Any] = {}


def judgement_of(seen: WindowFigures, verdict: Verdict) -> Judgement:
    """A judgement of a metrics record, without its reasons yet."""
    return Judgement(
        verdict=verdict,
        window_start_ms=seen.window_start_ms,
        window_end_ms=seen.window_end_ms,
        at_ms=seen.complete_at_ms,
        window=seen.window,
        maturity=seen.maturity,
    )


def rows_of(seen: WindowFigures) -> int:
    """The rows behind the figures of a window: those with a label, or in the traffic lane all."""
    return seen.n_predictions if seen.lane == "traffic" else seen.n
