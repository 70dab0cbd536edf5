"""Records of result topics in a line each, for `driftline tail`."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from driftline.agents.cli.actions import outcome_text
from driftline.agents.cli.output import minute
from driftline.schemas.actions import Action
from driftline.schemas.alert_commands import AlertEvent
from driftline.schemas.notifications import Notification
from driftline.schemas.results import (
    Alert,
    Drift,
    Recommendation,
    RegistryEvent,
    RuleWindows,
    WindowFigures,
)
from driftline.streams.decide.metric_info import unit_of
from driftline.streams.decide.wording import figure, interval, listed, metric_name, subject

HEADLINES = ("f1", "accuracy", "roc_auc", "throughput", "error_rate", "latency_p95")
"""Metrics that a line has, where the record has them."""


@singledispatch
def line_of(record: Any) -> str:
    """A record in a line: time, series, and what it says."""
    raise TypeError(f"no line for {type(record).__name__}")


@line_of.register
def _(record: Alert) -> str:
    what = record.change if record.change != "firing" else "fires"
    who = _series(record)
    return (
        f"{minute(record.at_ms)}  {record.severity:<8} {what}: {record.rule} of {who}: "
        f"{record.summary} [{record.alert_id}]"
    )


@line_of.register
def _(record: WindowFigures) -> str:
    at = f" at {record.maturity}" if record.maturity else ""
    state = "" if record.final else " (not final)"
    parts = [f"{record.n_predictions:,} predictions"]
    if record.lane != "traffic":
        parts.append(f"n = {record.n:,}")
    for name in HEADLINES:
        if (value := record.metrics.get(name)) is not None:
            unit = unit_of(name)
            ci = interval(record.ci.get(name), unit)
            parts.append(f"{metric_name(name)} {figure(value, unit)}{ci}")
    return (
        f"{minute(record.window_end_ms)}  {_series(record)}, {record.lane} {record.window}{at}"
        f"{state}: {', '.join(parts)}"
    )


@line_of.register
def _(record: Drift) -> str:
    parts = [record.level.replace("_", " ")]
    if record.statistic is not None:
        parts.append(f"statistic {figure(record.statistic)}")
    p_value = record.p_value if record.p_adjusted is None else record.p_adjusted
    if p_value is not None:
        parts.append(f"p = {p_value:.2g}")
    parts.append(f"n = {record.n_current:,}")
    reason = f" ({record.reason})" if record.reason else ""
    return (
        f"{minute(record.window_end_ms)}  {_series(record)}, {record.target} by {record.method}: "
        f"{', '.join(parts)}{reason}"
    )


@line_of.register
def _(record: Recommendation) -> str:
    params = ", ".join(f"{name} {value}" for name, value in record.params.items())
    return (
        f"{minute(record.at_ms)}  {record.model_name} {record.model_version}, {record.status}: "
        f"{record.action} {params}: {record.reason} [{record.recommendation_id}]"
    )


@line_of.register
def _(record: AlertEvent) -> str:
    about = f" {record.alert_id}" if record.alert_id else ""
    return (
        f"{minute(record.at)}  {record.model_name}, {_answer(record)}: {record.command}{about} "
        f"by {record.requested_by}{_why(record)}"
    )


@line_of.register
def _(record: RegistryEvent) -> str:
    version = f" {record.model_version}" if record.model_version else ""
    dry_run = " (dry run)" if record.dry_run else ""
    return (
        f"{minute(record.at)}  {record.model_name}{version}, revision {record.revision}: "
        f"{record.event}{dry_run} by {record.requested_by}{_why(record)}"
    )


@line_of.register
def _(record: Action) -> str:
    return (
        f"{minute(record.at_ms)}  {_series(record)}, {outcome_text(record)}: {record.action}: "
        f"{record.reason} [{record.alert_id}]"
    )


@line_of.register
def _(record: Notification) -> str:
    error = f" ({record.error})" if record.error else ""
    return (
        f"{minute(record.at_ms)}  {record.channel}, {record.kind}, {record.status}{error}: "
        f"{record.title} [{record.notification_id}]"
    )


@line_of.register
def _(record: RuleWindows) -> str:
    idle = [f"{name}, {rule.reason}" for name, rule in record.rules.items() if rule.reason]
    judging = sum(rule.judges is True for rule in record.rules.values())
    silent = f"; cannot judge: {listed(idle)}" if idle else ""
    return (
        f"{minute(record.at_ms)}  {_series(record)}: {judging} of {len(record.rules)} rules "
        f"judge{silent}"
    )


def _series(record: Action | Alert | WindowFigures | Drift | RuleWindows) -> str:
    return subject(record.model_name, record.model_version, record.segment)


def _answer(record: AlertEvent) -> str:
    return "rejected" if record.error else "accepted"


def _why(record: AlertEvent | RegistryEvent) -> str:
    text = f": {record.reason}" if record.reason else ""
    return f"{text}; {record.error}" if record.error else text
