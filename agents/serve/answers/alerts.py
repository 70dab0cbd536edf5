"""Answers about alerts and recommendations."""

from __future__ import annotations

from typing import Any

from driftline.agents.serve.answers.answer import Answer, Page
from driftline.agents.serve.answers.figures import Metrics
from driftline.schemas.actions import Action
from driftline.schemas.alert_commands import AlertEvent
from driftline.schemas.results import Acknowledgement, Alert, Recommendation
from driftline.schemas.times import EpochMs


class AlertRow(Answer):
    """One episode of an alert: its newest state.

    Attributes
    ----------
    why
        The summary of the newest record before it was resolved.
    resolution
        The summary of the record that resolved it; null while it is open.
    value, low, high, baseline, threshold, comparator, n
        The value that was judged last, with its interval, and what it was compared with.
    first_value
        The value with which it fired.
    """

    alert_id: str
    fingerprint: str
    group_id: str
    model_name: str
    model_version: str
    segment: str
    rule: str
    status: str
    severity: str
    why: str | None
    resolution: str | None
    starts_at_ms: EpochMs
    at_ms: EpochMs
    ends_at_ms: EpochMs | None
    metric: str | None
    value: float | None
    first_value: float | None
    low: float | None
    high: float | None
    baseline: float | None
    threshold: float | None
    comparator: str | None
    n: int | None
    window: str | None
    maturity: str | None
    silenced_by: list[str]
    acknowledged: Acknowledgement | None


class Alerts(Answer):
    """Episodes, the newest first.

    Attributes
    ----------
    n_open
        By severity, the number of open episodes of the question.
    """

    alerts: list[AlertRow]
    n_open: dict[str, int]
    page: Page


class AlertEpisode(Answer):
    """One episode with its life and its evidence.

    Attributes
    ----------
    records
        Its records as on the topic `alerts`, in order.
    details
        Evidence of the newest record that has any.
    budget
        False alarms a year that the rule may raise at most; null if it has no budget.
    what_to_do
        Advice, one sentence each.
    actions
        What the alert led to by itself, as on the topic `actions`.
    answers
        What people did about it, as on the topic `alert-events`.
    together
        Other episodes that probably have the same cause.
    earlier
        Other episodes of the same alert.
    around
        The judged metric in the windows around the episode; null if it judged no metric of a series
        that is known.
    """

    alert: AlertRow
    records: list[Alert]
    details: dict[str, Any]
    budget: float | None
    runbook_url: str | None
    what_to_do: list[str]
    actions: list[Action]
    answers: list[AlertEvent]
    together: list[AlertRow]
    earlier: list[AlertRow]
    around: Metrics | None


class Recommendations(Answer):
    """Recommendations, the newest first.

    Attributes
    ----------
    recommendations
        The newest record of each, as on the topic `recommendations`.
    opened_at_ms
        When each was made, in the same order.
    """

    recommendations: list[Recommendation]
    opened_at_ms: list[EpochMs]
    page: Page
