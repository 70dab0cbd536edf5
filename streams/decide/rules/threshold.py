"""A metric below or above a level."""

from __future__ import annotations

from typing import Self

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.against_levels import Levels, judge_levels
from driftline.streams.decide.judgement import Judgement, Severity, Situation
from driftline.streams.decide.metric_info import Lane, known_metrics, lanes_of
from driftline.streams.decide.rule import MetricRule, WrongRule, smallest_window


class Threshold(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="threshold",
):
    """Fires when a metric is certainly below or above a level: its whole 95 % interval, where it
    has one.

    Parameters
    ----------
    metric
        Name of the metric.
    below, above
        The level; one of the two.
    clear
        The level that the value has to reach again for the alert to be resolved; by default the
        same one.
    severity
        Of the alert.
    on_lane
        `lane`: "traffic", "decisions" or "arrivals"; by default the first one that the metric is
        computed for.

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
        return self.on_lane or lanes_of(self.metric)[0]

    def default_window(self, config: ModelConfig) -> str:
        """The smallest one."""
        return smallest_window(config)

    def levels(self) -> Levels:
        """The one level, and what ends the alert."""
        if self.below is not None and self.above is None:
            level, clear_is_beyond = self.below, self.clear is not None and self.clear < self.below
        elif self.above is not None and self.below is None:
            level, clear_is_beyond = self.above, self.clear is not None and self.clear > self.above
        else:
            raise WrongRule("below", "a threshold needs exactly one of below and above")
        if clear_is_beyond:
            raise WrongRule(
                "clear",
                f"{self.clear} lies where the alert fires; it has to lie on the other side of {level}",
            )
        return Levels(
            ((self.severity, level),),
            below=self.below is not None,
            clear=level if self.clear is None else self.clear,
        )

    def bound(self, config: ModelConfig) -> Self:
        """As `MetricRule.bound`; checks metric, lane and levels."""
        if self.metric not in known_metrics():
            raise WrongRule(
                "metric", f'"{self.metric}" is not known; known are {", ".join(known_metrics())}'
            )
        if self.lane() not in lanes_of(self.metric):
            raise WrongRule(
                "lane",
                f'"{self.metric}" is not computed in the {self.lane()} lane but in {", ".join(lanes_of(self.metric))}',
            )
        self.levels()
        return super().bound(config)

    def judge_figures(self, seen: WindowFigures, situation: Situation) -> Judgement:
        """As `judge_levels`."""
        return judge_levels(seen, self.metric, self.levels())
