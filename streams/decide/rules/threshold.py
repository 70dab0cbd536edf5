"""A metric below or above a level."""

from __future__ import annotations

from typing import Self

import msgspec

from schemas.config import ModelConfig
from schemas.results import Metric
from streams.catalogue import metric_plugins
from streams.decide.judgement import Judgement, Measurement, Severity, Situation
from streams.decide.levels import Levels, judge_levels
from streams.decide.rule import Lane, MetricRule, WrongRule, smallest_window
from streams.lanes import LANE_NAMES


class Threshold(MetricRule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="threshold"):
    """Fires when a metric is certainly below or above a level: its whole 95 % interval, where it has one.

    Parameters
    ----------
    metric
        Name of the metric.
    below, above
        The level; one of the two.
    clear
        The level that the value has to reach again for the alert to be resolved; by default the same one.
    severity
        Of the alert.
    on_lane
        `lane`: "traffic", "decisions" or "arrivals"; by default the first one that the metric is computed for.

    Examples
    --------
    >>> rule = Threshold(name="f1_low", metric="f1", below=0.80, window="1d", maturity="1d", severity="critical")
    >>> rule.bound(ModelConfig()).lane()
    'decisions'
    """

    metric: str
    below: float | None = None
    above: float | None = None
    clear: float | None = None
    severity: Severity = "warning"
    on_lane: Lane | None = msgspec.field(default=None, name="lane")

    def lane(self) -> Lane:
        """As configured, or the metric's first."""
        if self.on_lane is not None:
            return self.on_lane
        lane: Lane = LANE_NAMES[_metrics()[self.metric].lanes[0]]  # type: ignore[assignment]
        return lane

    def default_window(self, config: ModelConfig) -> str:
        """The smallest one."""
        return smallest_window(config)

    def bound(self, config: ModelConfig) -> Self:
        """As `MetricRule.bound`; checks the levels."""
        metric = _metrics().get(self.metric)
        if metric is None:
            raise WrongRule("metric", f'"{self.metric}" is not known; known are {", ".join(_metrics())}')
        if self.on_lane is not None and self.on_lane not in [LANE_NAMES[lane] for lane in metric.lanes]:
            raise WrongRule("lane", f'"{self.metric}" is not computed in the {self.on_lane} lane')
        if (self.below is None) == (self.above is None):
            raise WrongRule("below", "a threshold needs exactly one of below and above")
        if self.clear is not None and not (self.clear >= self.below if self.below is not None else self.clear <= (self.above or 0.0)):
            raise WrongRule("clear", "the clear level lies on the wrong side: within the range that raises the alert")
        return super().bound(config)

    def judge(self, seen: Measurement, situation: Situation) -> Judgement:
        """As `judge_levels`, with one level."""
        if not isinstance(seen, Metric):
            raise TypeError(f"{self.kind}: reads metrics, got {type(seen).__name__}")
        level = self.below if self.below is not None else self.above
        if level is None:
            raise ValueError("threshold: neither below nor above; bound() was not called")
        levels = Levels(((self.severity, level),), below=self.below is not None, clear=level if self.clear is None else self.clear)
        return judge_levels(seen, self.metric, levels, min_samples=self.min_samples, unit=_metrics()[self.metric].unit)


def _metrics() -> dict[str, object]: ...
