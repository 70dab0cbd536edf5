"""Input and result of a rule: measurement, situation, judgement."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from driftline.schemas.reports import WorkerMetrics
from driftline.schemas.results import Drift, Interval, LostRows, WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.streams.baseline import Baseline
from driftline.streams.decide.activity import Activity
from driftline.streams.decide.daily_variance import Days
from driftline.streams.decide.hourly_traffic import HourlyTraffic
from driftline.streams.decide.label_feed import LabelFeed

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")


SHARES: Final = {
    "missing": "missing_share",
    "kind": "other_kind_share",
    "unseen": "unseen_share",
}
"""By method, the share that it judges, in the details of a drift record."""


class Shift(msgspec.Struct, frozen=True, array_like=True):
    """Result of one drift test of one target.

    Parameters
    ----------
    share, reference_share
        The share of rows that the result judges, in [0, 1], in the window and in the reference;
        None for tests of values.
    n, n_reference
        Rows of the window and of the reference that were compared.
    n_effective
        Number of independent rows that those of the window are worth.
    """

    target: str
    method: str
    level: str
    statistic: float | None
    p_value: float | None
    share: float | None = None
    reference_share: float | None = None
    n: int = 0
    n_reference: int = 0
    n_effective: float | None = None


def shift_of(result: Drift) -> Shift:
    """What the rules read of a drift record."""
    name = SHARES.get(result.method)
    share = reference_share = None
    if name is not None:
        share, reference_share = (result.details.get(each) for each in (name, f"reference_{name}"))
    return Shift(
        result.target,
        result.method,
        result.level,
        result.statistic,
        result.p_value,
        share,
        reference_share,
        result.n_current,
        result.n_reference,
        result.n_effective,
    )


class DriftWindow(msgspec.Struct, frozen=True, kw_only=True):
    """All drift results of one series in one detection window."""

    model_name: str
    model_version: str
    segment: str
    window: str
    window_start_ms: int
    window_end_ms: int
    shifts: tuple[Shift, ...] = ()
    losses: list[LostRows] = []
    reference_losses: list[LostRows] = []


class OpenEpisode(msgspec.Struct, frozen=True):
    """An open alert of a rule in a segment."""

    segment: str
    severity: Severity
    starts_at_ms: int


class OpenEpisodes(msgspec.Struct, frozen=True, kw_only=True):
    """Open alerts of a version at a time, in one segment or in all of them.

    Parameters
    ----------
    at_ms
        Event time that the model has reached.
    by_rule
        By name of a rule with open alerts, these, the most severe first.
    """

    model_name: str
    model_version: str
    segment: str
    at_ms: int
    by_rule: dict[str, tuple[OpenEpisode, ...]] = {}


class TunerEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What the tuner found for a version when it looked for a better threshold.

    Parameters
    ----------
    window_start_ms, window_end_ms
        The span that was evaluated.
    every_ms
        From one evaluation to the next one.
    at_ms
        Event time at which its figures are complete.
    window, maturity
        Windows and rung of the histograms.
    metric, higher_is_better
        The value that is judged: that of the objective, or of its first goal.
    n
        Rows of the hold-out half, on which the values are judged.
    threshold, value
        In force, and its value; None if that is undefined.
    best
        The best threshold of the fit half; None if that is the one in force, or none is allowed.
    improvement
        Relative gain of `best` on the hold-out half, at least 0. It is 0 without `best` or where
        that is not allowed on this half; infinite from a value of 0, or where only `best` reaches a
        goal. None if there are too few labels to say.
    is_sure
        Whether the whole interval of the gain is above 0.
    misses_goal
        Whether the threshold in force is none that the objective allows.
    losses
        Lost rows that the span may lack.
    """

    model_name: str
    model_version: str
    segment: str
    window_start_ms: int
    window_end_ms: int
    every_ms: int
    at_ms: int
    window: str
    maturity: str | None
    metric: str
    higher_is_better: bool
    n: int
    threshold: float
    value: float | None = None
    best: float | None = None
    improvement: float | None = None
    is_sure: bool = False
    misses_goal: bool = False
    losses: list[LostRows] = []


class SeriesOutcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Outcomes of one series in the order in which they became known.

    Parameters
    ----------
    start_ms, end_ms
        The step in which they became known: start (included) and end (excluded).
    errors
        A byte for each outcome: 1 for a wrong prediction, else 0.
    """

    model_name: str
    model_version: str
    segment: str
    start_ms: int
    end_ms: int
    errors: bytes = b""
    window: str = ""
    losses: list[LostRows] = []


class JobStanding(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a scheduled job at a time.

    Parameters
    ----------
    failures
        Runs that have failed since the last one that succeeded.
    since_ms
        When it succeeded last; its first report, if it never did.
    has_succeeded
        Whether it ever did.
    interval_ms
        How often it is to succeed; None if that is not stated.
    message
        Of the last run that failed.
    """

    job: str
    at_ms: int
    failures: int
    since_ms: int
    has_succeeded: bool
    interval_ms: int | None = None
    message: str = ""


Measurement = (
    WindowFigures
    | DriftWindow
    | OpenEpisodes
    | TunerEvaluation
    | SeriesOutcomes
    | WorkerMetrics
    | JobStanding
)


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of a version's registry entry that stage 3 reads."""

    stage: str = "development"
    threshold: float | None = None
    baselines: dict[str, Baseline] = {}


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule reads besides the measurement.

    Parameters
    ----------
    config
        Settings of the model.
    standing
        The version's state in the registry.
    live
        Whether predictions are expected: the version is in production, or no version is and this
        one had the latest traffic.
    days
        Recent daily values of the series at the measurement's maturity.
    activity
        None before the first prediction.
    label_feed
        None before the first label.
    hours
        Traffic by hour, of a rule that reads it; None before the first window.
    labels_upto_ms
        Time up to which labels have been counted.
    segments
        Number of segments of the version that the rule judges, this one included.
    performance_moved
        Whether a rule on the performance of this version is in breach or firing; None if none has
        judged it yet.
    """

    config: ModelConfig
    standing: Standing = Standing()
    live: bool = True
    days: Days = Days()
    activity: Activity | None = None
    label_feed: LabelFeed | None = None
    hours: HourlyTraffic | None = None
    labels_upto_ms: int = -1
    segments: int = 1
    performance_moved: bool | None = None


class Part(msgspec.Struct, frozen=True):
    """One of several things in breach of a rule at once, such as a target that drifted.

    Parameters
    ----------
    rank
        How bad it is, from 1; a greater rank is worse.
    text
        Its name and how bad it is, for a person.
    """

    rank: int
    text: str


Verdict = Literal["breach", "within", "clear", "unclear"]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a rule for one window.

    Parameters
    ----------
    verdict
        "breach": the condition of the rule holds. "within": it does not, but an alert stays open.
        "clear": an alert resolves. "unclear": too little data; no alert fires or resolves.
    severity
        Severity of the breach.
    finding
        The result as the beginning of a sentence, without a full stop.
    window_start_ms, window_end_ms, at_ms
        The window, and the event time at which its figures are complete.
    usual_losses
        Lost rows that the baseline or the reference may lack.
    parts
        By name, what is in breach, of a rule that judges several things at once; an open alert
        announces those that join it. Empty for other rules.
    began_ms
        When what is in breach began, if the rule estimates it; by default the start of the first
        window in breach.
    """

    verdict: Verdict
    window_start_ms: int
    window_end_ms: int
    at_ms: int
    severity: Severity = "warning"
    finding: str = ""
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
    usual_losses: list[LostRows] = []
    parts: dict[str, Part] = {}
    began_ms: int | None = None


def judgement_of(figures: WindowFigures, verdict: Verdict) -> Judgement:
    """A judgement of a window with no more than its verdict."""
    return Judgement(
        verdict=verdict,
        window_start_ms=figures.window_start_ms,
        window_end_ms=figures.window_end_ms,
        at_ms=figures.complete_at_ms,
        window=figures.window,
        maturity=figures.maturity,
    )


def rows_of(figures: WindowFigures) -> int:
    """Number of rows behind the figures of a window: with a label, or all in the traffic lane."""
    return figures.n_predictions if figures.lane == "traffic" else figures.n
