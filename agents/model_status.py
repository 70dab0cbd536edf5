"""How each model version is: its judged metric, its open alerts, and rules that cannot judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from driftline.agents.output_folder import latest
from driftline.agents.read_model.figure_reads import ALWAYS, SeriesFilter, only, window_of_a_day
from driftline.agents.rules_without_rows import rules_without_rows
from driftline.schemas.results import (
    Alert,
    Interval,
    ModelRules,
    RegistryEntry,
    RuleWindows,
    WindowFigures,
)
from driftline.schemas.times import EpochMs, parse_duration
from driftline.schemas.topics import ALERTS, MODEL_RULES, REGISTRY, RULE_WINDOWS
from driftline.streams.decide.judged_rung import ENOUGH
from driftline.streams.decide.rule import MetricRule, Rule
from driftline.streams.decide.rule_levels import rules_in_force
from driftline.streams.lanes import ALL

if TYPE_CHECKING:
    from driftline.agents.read_model.read_model import Reads
    from driftline.schemas.settings import Config

SEVERITIES: Final = ("info", "warning", "error", "critical")
"""The least severe first."""
WATCHED_BY_DEFAULT: Final = "balanced_accuracy"
"""The mean recall of all classes: what the default rule `performance_drop` watches."""
_NO_PERFORMANCE: Final = ("label_coverage", "delay_p50", "delay_p95")


class JudgedFigure(
    msgspec.Struct,
    kw_only=True,
    rename={"window_start_ms": "window_start", "window_end_ms": "window_end"},
):
    """The metric that is judged, in the newest complete window at the rung that is judged.

    Attributes
    ----------
    rule
        The rule that judges it; null for the metric of a model without such a rule.
    value, ci
        The value and its 95 % interval; null where there is none, with the reason.
    baseline, baseline_ci
        The recorded baseline at this rung, and its interval; null without one.
    """

    metric: str
    rule: str | None
    window: str
    maturity: str | None
    window_start_ms: EpochMs
    window_end_ms: EpochMs
    n: int
    n_predictions: int
    final: bool
    value: float | None
    ci: Interval | None
    null_reason: str | None
    baseline: float | None
    baseline_ci: Interval | None


class ModelStatus(msgspec.Struct, kw_only=True, rename={"data_until_ms": "data_until"}):
    """One model version, or what stands in the place of one.

    Attributes
    ----------
    stage
        Null for what is not registered.
    data_until_ms
        End of the newest window of traffic with predictions; null without any.
    judged
        Null without a complete window with the metric.
    alerts
        The newest record of each open episode, the most severe first; silenced and acknowledged
        ones are open.
    not_judged
        By rule that cannot judge for lack of rows, the reason.
    """

    model_name: str
    model_version: str
    stage: str | None
    n_predictions: int
    data_until_ms: EpochMs | None
    judged: JudgedFigure | None
    alerts: list[Alert]
    not_judged: dict[str, str]

    @property
    def worst(self) -> int:
        """Place of the worst open alert in `SEVERITIES`; -1 without one."""
        return max((SEVERITIES.index(alert.severity) for alert in self.alerts), default=-1)


def statuses(
    reads: Reads,
    config: Config,
    *,
    model_name: str | None,
    model_version: str | None,
    deleted: bool = False,
) -> list[ModelStatus]:
    """The status of each registered version, and of what has an open alert and is not registered,
    such as workers and jobs. What needs attention comes first: by the worst open alert, rules that
    cannot judge, stage, and name.

    Parameters
    ----------
    config
        The settings in force, which name the rules.
    deleted
        Whether deleted versions are included.
    """
    wanted = {"model_name": model_name, "model_version": model_version}
    alerts: dict[tuple[str, str], list[Alert]] = {}
    newest = latest(reads.records.all(ALERTS, Alert, **wanted), group=lambda each: each.alert_id)
    for alert in newest:
        if alert.status != "resolved":
            alerts.setdefault((alert.model_name, alert.model_version), []).append(alert)
    windows = list(reads.records.all(RULE_WINDOWS, RuleWindows, **wanted))
    not_judged = rules_without_rows(windows)
    levels = {each.model_name: each.rules for each in reads.records.latest(MODEL_RULES, ModelRules)}
    predictions = reads.figures.predictions()
    found = []
    for entry in reads.records.latest(REGISTRY, RegistryEntry, **wanted):
        if entry.deleted_at is not None and not deleted:
            continue
        version = entry.model_name, entry.model_version
        rules, _ = rules_in_force(
            config.for_model(entry.model_name), levels.get(entry.model_name, {})
        )
        count, until = predictions.get(version, (0, 0))
        found.append(
            ModelStatus(
                model_name=entry.model_name,
                model_version=entry.model_version,
                stage=entry.stage,
                n_predictions=count,
                data_until_ms=EpochMs(until) if count else None,
                judged=_judged(reads, entry, rules, windows_read(windows, version)),
                alerts=sorted(alerts.pop(version, []), key=_most_severe_first),
                not_judged=not_judged.get(version, {}),
            )
        )
    found += [
        ModelStatus(
            model_name=name,
            model_version=version,
            stage=None,
            n_predictions=0,
            data_until_ms=None,
            judged=None,
            alerts=sorted(of_version, key=_most_severe_first),
            not_judged={},
        )
        for (name, version), of_version in alerts.items()
    ]
    return sorted(found, key=_attention)


def _most_severe_first(alert: Alert) -> tuple[int, int, str]:
    return -SEVERITIES.index(alert.severity), alert.starts_at_ms, alert.alert_id


def _attention(status: ModelStatus) -> tuple[object, ...]:
    is_archived, in_production = status.stage == "archived", status.stage == "production"
    name = status.model_name, status.model_version
    return (-status.worst, not status.not_judged or is_archived, not in_production, *name)


def windows_read(windows: Iterable[RuleWindows], version: tuple[str, str]) -> dict[str, str]:
    """By name of the rule, the window that it reads now."""
    chosen: dict[str, str] = {}
    for record in windows:
        if (record.model_name, record.model_version, record.segment) == (*version, ALL):
            chosen = {name: each.window for name, each in record.rules.items()}
    return chosen


class Judged(NamedTuple):
    """What is judged of a model version: a metric in a window, and the rule; None for a metric
    without one.
    """

    rule: Rule | None
    metric: str
    record: WindowFigures


def judged(
    reads: Reads,
    entry: RegistryEntry,
    rules: Sequence[Rule],
    windows: Mapping[str, str],
    *,
    known_at_ms: int = ALWAYS,
) -> Judged | None:
    """The metric of the first rule on performance, in the newest whole window at the rung that is
    judged; None without one.

    Parameters
    ----------
    rules
        Those in force.
    windows
        By name of the rule, the window that it reads now.
    known_at_ms
        Only figures that were complete at this frontier.
    """
    rule = next((rule for rule in rules if _judges_performance(rule)), None)
    series = reads.figures.series(
        SeriesFilter(
            model_name=entry.model_name,
            model_version=entry.model_version,
            segment=ALL,
            lane="decisions",
        )
    )
    window, maturity, metrics = window_of_a_day(series), None, [WATCHED_BY_DEFAULT]
    if isinstance(rule, MetricRule):
        window = rule.window or windows.get(rule.name, window)
        maturity, metrics = rule.maturity, watched_metrics(rule)
    records = [
        record
        for each in series
        if each.window == window and maturity in (None, each.maturity)
        for record in reads.figures.newest_whole(only(each), known_at_ms=known_at_ms)
    ]
    if not records:
        return None
    record = at_judged_rung(records)
    usual = entry.baselines.get(record.maturity or "-", {}).get("metrics", {})
    metric = next((name for name in metrics if usual.get(name) is not None), metrics[0])
    return Judged(rule, metric, record) if metric in record.metrics else None


def _judged(
    reads: Reads, entry: RegistryEntry, rules: Sequence[Rule], windows: Mapping[str, str]
) -> JudgedFigure | None:
    found = judged(reads, entry, rules, windows)
    if found is None:
        return None
    rule, metric, record = found
    baseline = entry.baselines.get(record.maturity or "-", {})
    return JudgedFigure(
        metric=metric,
        rule=None if rule is None else rule.name,
        window=record.window,
        maturity=record.maturity,
        window_start_ms=record.window_start_ms,
        window_end_ms=record.window_end_ms,
        n=record.n,
        n_predictions=record.n_predictions,
        final=record.final,
        value=record.metrics[metric],
        ci=record.ci.get(metric),
        null_reason=record.null_reasons.get(metric),
        baseline=baseline.get("metrics", {}).get(metric),
        baseline_ci=baseline.get("ci", {}).get(metric),
    )


def _judges_performance(rule: Rule) -> bool:
    """Whether a rule judges a metric of performance of all rows by maturity."""
    return (
        isinstance(rule, MetricRule)
        and rule.segment == ALL
        and hasattr(rule, "metric")
        and rule.lane() == "decisions"
        and not set(_NO_PERFORMANCE) & set(watched_metrics(rule))
    )


def watched_metrics(rule: MetricRule) -> list[str]:
    """The metrics that a rule names, in the order of preference; empty if it names none."""
    metric: str | tuple[str, ...] = getattr(rule, "metric", ())
    return [metric] if isinstance(metric, str) else list(metric)


def at_judged_rung(records: Iterable[WindowFigures]) -> WindowFigures:
    """The record of the first rung with nearly complete labels, or of the last one."""
    ladder = sorted(records, key=lambda each: parse_duration(each.maturity or "0s"))
    complete = (each for each in ladder if (each.completeness or 0.0) >= ENOUGH)
    return next(complete, ladder[-1])
