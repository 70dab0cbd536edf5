"""Answers of the overview: a row for each model version, and what needs attention."""

from __future__ import annotations

from driftline.agents.serve.answers.alerts import AlertRow
from driftline.agents.serve.answers.answer import Answer
from driftline.agents.serve.answers.figures import Figure
from driftline.agents.serve.answers.pipeline import SourceStatus
from driftline.schemas.results import Recommendation
from driftline.schemas.times import EpochMs


class Line(Answer):
    """The judged metric over the last 90 days, at most 90 windows of one rung; shape (W,).

    Attributes
    ----------
    n, n_predictions
        Rows with a label at this maturity, and all predictions.
    """

    metric: str
    maturity: str | None
    window_end_ms: list[EpochMs]
    value: list[float | None]
    low: list[float | None]
    high: list[float | None]
    n: list[int]
    n_predictions: list[int]
    final: list[bool]


class Episode(Answer):
    """An alert episode of the last 90 days; `ends_at_ms` is null while it is open."""

    alert_id: str
    rule: str
    severity: str
    starts_at_ms: EpochMs
    ends_at_ms: EpochMs | None


class Rung(Answer):
    """The newest whole window of at most a day at one rung: whether it is known, and when it is."""

    rung: str
    known: bool
    due_ms: EpochMs


class OverviewRow(Answer):
    """One model version, or what stands in the place of one, such as the workers.

    Attributes
    ----------
    stage
        Null for what is not registered.
    judged
        The metric that is judged, in the newest whole window at the rung that is judged; null
        without one, `judged_null_reason` says why.
    judged_rule
        The rule that judges it; null if none does.
    truths_in
        Share of the predictions of that window whose truth has come; null without a window.
    drift_level, drift_target
        The worst level of the newest drift tests, and its target; null without any.
    alerts
        By severity, the number of open alerts.
    not_judged
        By rule that cannot judge for lack of rows, the reason.
    """

    model_name: str
    model_version: str
    stage: str | None
    n_predictions: int
    data_until_ms: EpochMs | None
    judged: Figure | None
    judged_null_reason: str | None
    judged_rule: str | None
    truths_in: float | None
    drift_level: str | None
    drift_target: str | None
    alerts: dict[str, int]
    not_judged: dict[str, str]
    line: Line | None
    episodes: list[Episode]
    rungs: list[Rung]


class Counters(Answer):
    """What the pipeline counted, over all models.

    Attributes
    ----------
    window
        Length of the window that is counted: the largest one of at most a day of each model.
    window_end_ms
        End of the newest whole one; null without data.
    predictions, truths
        Predictions of that window, and truths that became known in it.
    final_predictions, never_labelled
        Predictions of the newest final window of each version, and those whose truth never came.
    rejected
        Rows that were rejected since the beginning; null where the source does not say.
    """

    window: str | None
    window_end_ms: EpochMs | None
    predictions: int
    truths: int
    final_predictions: int
    never_labelled: int
    rejected: int | None


class Overview(Answer):
    """All models at a glance.

    Attributes
    ----------
    frontier_ms
        Event time that has been reached; null without data.
    rows
        What needs attention first.
    alerts
        Open alerts, the worst first, then the longest; at most 50 of `n_alerts`.
    n_open
        By severity.
    last_alert_ms
        When the last episode ended, if none is open; null if there was none.
    proposals
        Open recommendations.
    """

    frontier_ms: EpochMs | None
    rows: list[OverviewRow]
    alerts: list[AlertRow]
    n_alerts: int
    n_open: dict[str, int]
    last_alert_ms: EpochMs | None
    proposals: list[Recommendation]
    counters: Counters
    source: SourceStatus
