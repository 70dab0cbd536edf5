"""Answers about figures: one figure, a metric over time, a window, segments, comparisons."""

from __future__ import annotations

from typing import Literal

from driftline.agents.figure_difference import Direction
from driftline.agents.serve.answers.answer import Answer, Page, Span
from driftline.schemas.results import WindowFigures
from driftline.schemas.times import EpochMs

Verdict = Literal[
    "worse",
    "better",
    "unusual",
    "usual",
    "no_value",
    "no_baseline",
    "covered_in_part",
    "provisional",
]
"""How a value lies to the usual range around its baseline: beyond it on the worse or the better
side (or on one of them, for a metric without a direction), or inside; else why nothing can be said.
"""


class SeriesName(Answer):
    """What is counted together over time.

    Attributes
    ----------
    segment
        "all" or "dimension=value".
    kind
        Of the window: "tumbling", "sliding", "since_deployment" or "last_n".
    maturity
        Name of the rung; null in the lanes `traffic` and `arrivals`.
    """

    model_name: str
    model_version: str
    segment: str
    lane: str
    window: str
    kind: str
    maturity: str | None


class BaselineFigure(Answer):
    """The recorded baseline of a metric at the same rung.

    Attributes
    ----------
    low, high
        Its 95 % interval from counts; null where it has none.
    n, n_predictions
        Its rows with a label, and all of them.
    span
        Event time of its rows; null for one that a person recorded.
    recorded_by
        Who recorded it.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    n_predictions: int
    span: Span | None
    recorded_by: str


class AlertLine(Answer):
    """Where an alert rule fires on a metric.

    Attributes
    ----------
    rule
        Name of the rule.
    severity
        Severity of the alert at this line.
    side
        On which side of it the alert fires.
    value
        The line for the window at hand.
    """

    rule: str
    severity: str
    side: Literal["below", "above"]
    value: float


class Figure(Answer):
    """A metric of one window, with everything that it has to be shown with.

    Attributes
    ----------
    value, low, high
        The value and its 95 % interval; null where there is none.
    null_reason
        Why there is no value, in words; null if there is one.
    n, n_predictions
        Rows with a label at this maturity, of all predictions of the window.
    final
        Whether truths that come later are no longer counted.
    provisional
        Whether the window is still open.
    covered_share
        Share of the window that is covered by data, in [0, 1].
    label_coverage, completeness
        n / n_predictions, and the share of the final labels that is usually known at this rung.
    usual_low, usual_high
        The usual range around the baseline, as the alert rule computes it: what `verdict` goes by.
    alert_line
        Where the first alert rule on this metric fires; null if none has a line.
    losses
        Lost rows that the window may lack, in words; null without any.
    """

    series: SeriesName
    metric: str
    value: float | None
    low: float | None
    high: float | None
    null_reason: str | None
    n: int
    n_predictions: int
    window_start_ms: EpochMs
    window_end_ms: EpochMs
    complete_at_ms: EpochMs
    final: bool
    provisional: bool
    covered_share: float
    label_coverage: float | None
    completeness: float | None
    baseline: BaselineFigure | None
    usual_low: float | None
    usual_high: float | None
    alert_line: AlertLine | None
    verdict: Verdict
    losses: str | None


class MetricColumns(Answer):
    """One metric over W windows; the arrays belong to those of `Metrics`.

    Attributes
    ----------
    unit
        "share", "ms" and so on.
    higher_is_better
        Null for a metric without a direction.
    value, low, high
        Shape (W,): the value and its 95 % interval; null where there is none.
    null_reasons
        Why there is no value, by place in the arrays.
    baseline
        In force at the same rung; null without one.
    usual_low, usual_high
        Shape (W,): the usual range around the baseline; empty without one.
    alert_lines
        Shape (W,): where the first alert rule on this metric fires; empty if none has a line.
    alert_rule, alert_side
        Its name, and on which side of the line it fires; null without one.
    verdict
        Shape (W,).
    """

    metric: str
    unit: str
    higher_is_better: bool | None
    value: list[float | None]
    low: list[float | None]
    high: list[float | None]
    null_reasons: dict[str, str]
    baseline: BaselineFigure | None
    usual_low: list[float | None]
    usual_high: list[float | None]
    alert_lines: list[float | None]
    alert_rule: str | None
    alert_side: Literal["below", "above"] | None
    verdict: list[Verdict]


class Metrics(Answer):
    """Metrics of one series over W windows, in the order of time.

    Attributes
    ----------
    series
        The series, with defaults filled in.
    window_start_ms, window_end_ms, complete_at_ms
        Shape (W,).
    n, n_predictions
        Shape (W,): rows with a label at this maturity, and all predictions.
    final, provisional
        Shape (W,).
    metrics
        In the order of the question.
    n_windows
        Number of windows in the span. With `points` fewer are there: windows with the least and the
        greatest value of the first metric, so that nothing is averaged.
    page
        Entries are windows.
    """

    series: SeriesName
    window_start_ms: list[EpochMs]
    window_end_ms: list[EpochMs]
    complete_at_ms: list[EpochMs]
    n: list[int]
    n_predictions: list[int]
    final: list[bool]
    provisional: list[bool]
    metrics: list[MetricColumns]
    n_windows: int
    page: Page


class Window(Answer):
    """One window as a whole.

    Attributes
    ----------
    record
        As on the topic `metrics`, with the confusion matrix, counters and bounds.
    figures
        Each of its metrics beside baseline and usual range.
    rungs
        Maturities at which this window is known, in order.
    """

    record: WindowFigures
    figures: list[Figure]
    rungs: list[str]


class SegmentFigure(Answer):
    """A metric of one segment in one window."""

    segment: str
    value: float | None
    low: float | None
    high: float | None
    null_reason: str | None
    n: int
    n_predictions: int


class Segments(Answer):
    """The segments of a window, the surest weakness first: by the near end of the interval.

    Attributes
    ----------
    all
        The figure of all rows, with its baseline.
    segments
        Those with `min_rows` labelled rows and a value.
    n_small
        Number of the other segments.
    baseline_note
        Baselines are recorded for all rows only; this says so.
    """

    all: Figure
    segments: list[SegmentFigure]
    n_small: int
    baseline_note: str
    page: Page


class MetricDifference(Answer):
    """A metric of two windows.

    Attributes
    ----------
    a, b
        The values; null where there is none.
    difference, low, high
        b - a, and its 95 % interval as of independent rows.
    direction
        "better" or "worse" where the whole interval is on one side of 0 and the metric has a
        direction, "more" or "less" where it has none, else "not_clear"; "no_value" without both.
    """

    metric: str
    a: float | None
    a_low: float | None
    a_high: float | None
    a_null_reason: str | None
    b: float | None
    b_low: float | None
    b_high: float | None
    b_null_reason: str | None
    difference: float | None
    low: float | None
    high: float | None
    direction: Direction


class Comparison(Answer):
    """Two versions in one window, or two windows of one version.

    Attributes
    ----------
    a, b
        The records as on the topic `metrics`.
    same_window
        Whether both are of the same time.
    """

    a: WindowFigures
    b: WindowFigures
    same_window: bool
    metrics: list[MetricDifference]
