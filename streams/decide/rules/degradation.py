"""Alert rule: performance below the version's own baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.against_baseline import Drops, judge_against_baseline
from driftline.streams.decide.judgement import Judgement, Severity, Situation
from driftline.streams.decide.metric_info import Lane, higher_is_better, known_metrics, lanes_of
from driftline.streams.decide.rule import InvalidRule, MetricRule, Positive, largest_window
from driftline.streams.lanes import ALL


class DegradationRule(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="degradation",
):
    """Fires when a metric is worse than its baseline, with its whole interval, in two consecutive
    windows.

    Parameters
    ----------
    metric
        One name, or several in the order of preference, of which the first with a baseline counts.
        The defaults do not depend on the base rate: on the flights of the demo, F1 and accuracy
        follow it (correlation 0.84, measured).
    warning, critical
        Relative changes for the worse.
    clear
        Relative change at which the alert resolves.

    Examples
    --------
    >>> DegradationRule(metric="f1").bound(ModelConfig()).window
    '7d/1d'
    """

    for_: int | str = msgspec.field(default=2, name="for")
    metric: str | tuple[str, ...] = ("roc_auc", "balanced_accuracy")
    warning: Positive = 0.05
    critical: Positive = 0.10
    clear: Positive = 0.04

    judges_performance: ClassVar[bool] = True
    accepts: ClassVar[bool] = True

    grades: ClassVar[Mapping[Severity, str]] = {"warning": "warning", "critical": "critical"}

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names in the order of preference."""
        return (self.metric,) if isinstance(self.metric, str) else self.metric

    def daily(self) -> tuple[str, ...]:
        """The metrics that are judged."""
        return self.metrics

    def lane(self) -> Lane:
        """The decisions lane."""
        return "decisions"

    def default_window(self, config: ModelConfig) -> str:
        """The largest window."""
        return largest_window(config)

    def bound(self, config: ModelConfig) -> Self:
        """As `MetricRule.bound`; checks the metrics."""
        for metric in self.metrics:
            if metric not in known_metrics() or "decisions" not in lanes_of(metric):
                raise InvalidRule("metric", f'"{metric}" is not computed in the decisions lane')
        if self.segment != ALL:
            raise InvalidRule(
                "segment",
                'baselines are recorded for "all" only; use a threshold rule for a segment',
            )
        return super().bound(config)

    def alert_line(
        self,
        metric: str,
        value: float,
        ci: tuple[float, float] | None,
        usual: tuple[float, float] | None,
    ) -> float | None:
        """The baseline less the relative change, less half of the usual range.

        Examples
        --------
        >>> rule = DegradationRule(metric="roc_auc")
        >>> round(rule.alert_line("roc_auc", 0.7, None, (0.702, 0.055)), 4)
        0.6119
        """
        if metric not in self.metrics or usual is None:
            return None
        baseline, half = usual
        if higher_is_better(metric):
            return baseline * (1 - self.warning) - half
        return baseline * (1 + self.warning) + half

    def judge_figures(self, figures: WindowFigures, situation: Situation) -> Judgement:
        """As `judge_against_baseline`."""
        drops = Drops((("warning", self.warning), ("critical", self.critical)), self.clear)
        return judge_against_baseline(figures, situation, self.metrics, drops)
