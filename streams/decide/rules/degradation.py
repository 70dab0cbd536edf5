"""Performance below the version's own baseline."""

from __future__ import annotations

from typing import ClassVar, Self

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.against_baseline import Drops, judge_against_baseline
from driftline.streams.decide.judgement import Judgement, Situation
from driftline.streams.decide.metric_info import Lane, known_metrics, lanes_of
from driftline.streams.decide.rule import MetricRule, Positive, WrongRule, largest_window
from driftline.streams.lanes import ALL


class Degradation(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="degradation",
):
    """Fires when a metric is certainly worse than its baseline, twice in a row.

    Parameters
    ----------
    metric
        One name, or several in the order of preference: the first that has a baseline. By default
        those that do not follow the base rate: on the flights of the demo F1 and accuracy move with
        it (correlation 0.84, measured).
    warning, critical
        Relative changes for the worse.
    clear
        Relative change at which the alert ends.

    Examples
    --------
    >>> Degradation(metric="f1").bound(ModelConfig()).window
    '7d/1d'
    """

    for_: int | str = msgspec.field(default=2, name="for")
    metric: str | tuple[str, ...] = ("roc_auc", "balanced_accuracy")
    warning: Positive = 0.05
    critical: Positive = 0.10
    clear: Positive = 0.04

    judges_performance: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names, in the order of preference."""
        return (self.metric,) if isinstance(self.metric, str) else self.metric

    def daily(self) -> tuple[str, ...]:
        """The metrics that it judges."""
        return self.metrics

    def lane(self) -> Lane:
        """Decisions."""
        return "decisions"

    def default_window(self, config: ModelConfig) -> str:
        """The largest one."""
        return largest_window(config)

    def bound(self, config: ModelConfig) -> Self:
        """As `MetricRule.bound`; checks the metrics."""
        for metric in self.metrics:
            if metric not in known_metrics() or "decisions" not in lanes_of(metric):
                raise WrongRule("metric", f'"{metric}" is not computed in the decisions lane')
        if self.segment != ALL:
            raise WrongRule(
                "segment",
                'baselines are recorded for "all" only; use a threshold rule for a segment',
            )
        return super().bound(config)

    def judge_figures(self, seen: WindowFigures, situation: Situation) -> Judgement:
        """As `judge_against_baseline`."""
        drops = Drops((("warning", self.warning), ("critical", self.critical)), self.clear)
        return judge_against_baseline(seen, situation, self.metrics, drops)
