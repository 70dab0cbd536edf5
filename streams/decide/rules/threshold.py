"""Alert rule: a metric below or above a level."""

from __future__ import annotations

from typing import Any, Self

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.against_levels import Levels, judge_levels
from driftline.streams.decide.judgement import Judgement, Severity, Situation
from driftline.streams.decide.level_change import LevelChange
from driftline.streams.decide.metric_info import Lane, known_metrics, lanes_of, unit_of
from driftline.streams.decide.rule import InvalidRule, MetricRule, windows_by_size


class ThresholdRule(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="threshold",
):
    """Fires when a metric is below or above a level, with its whole 95 % interval where it has one.

    Parameters
    ----------
    metric
        Name of the metric.
    below, above
        The level; exactly one of the two.
    clear
        Value at which the alert resolves; the level by default.
    severity
        Severity of the alert.
    on_lane
        `lane`: "traffic", "decisions" or "arrivals"; by default the first one in which the metric
        is computed.

    Examples
    --------
    >>> rule = ThresholdRule(name="f1_low", metric="f1", below=0.80, window="1d", maturity="1d")
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
        """The configured lane, or the first one of the metric."""
        return self.on_lane or lanes_of(self.metric)[0]

    def default_windows(self, config: ModelConfig) -> tuple[str, ...]:
        """All windows."""
        return windows_by_size(config)

    def levels(self) -> Levels:
        """The level, and the value at which the alert resolves."""
        if self.below is not None and self.above is None:
            level, clear_is_beyond = self.below, self.clear is not None and self.clear < self.below
        elif self.above is not None and self.below is None:
            level, clear_is_beyond = self.above, self.clear is not None and self.clear > self.above
        else:
            raise InvalidRule("below", "a threshold needs exactly one of below and above")
        if clear_is_beyond:
            raise InvalidRule(
                "clear",
                f"{self.clear} lies where the alert fires; it has to lie on the other side of "
                f"{level}",
            )
        return Levels(
            ((self.severity, level),),
            below=self.below is not None,
            clear=level if self.clear is None else self.clear,
        )

    def bound(self, config: ModelConfig) -> Self:
        """As `MetricRule.bound`; checks metric, lane and levels."""
        if self.metric not in known_metrics():
            raise InvalidRule(
                "metric", f'"{self.metric}" is not known; known are {", ".join(known_metrics())}'
            )
        if self.lane() not in lanes_of(self.metric):
            raise InvalidRule(
                "lane",
                f'"{self.metric}" is not computed in the {self.lane()} lane but in '
                f"{', '.join(lanes_of(self.metric))}",
            )
        self.levels()
        for field in ("below", "above", "clear"):
            level = getattr(self, field)
            if level is not None and unit_of(self.metric) == "share" and not 0 <= level <= 1:
                raise InvalidRule(
                    field,
                    f'{level} lies outside [0, 1]; "{self.metric}" is a share, not a percentage',
                )
        return super().bound(config)

    def level_values(self, change: LevelChange) -> dict[str, Any]:
        """As `Rule.level_values`; with the level on the other side, the old one and its `clear` are
        taken away.
        """
        values: dict[str, Any] = {}
        for field, other in (("below", "above"), ("above", "below")):
            if (level := getattr(change, field)) is not None:
                if getattr(change, other) is None and getattr(self, other) is not None:
                    values |= {other: None, "clear": None}
                values[field] = level
        for field in ("clear", "severity"):
            if (value := getattr(change, field)) is not None:
                values[field] = value
        return values

    def alert_line(
        self,
        metric: str,
        value: float,
        ci: tuple[float, float] | None,
        usual: tuple[float, float] | None,
    ) -> float | None:
        """The level, less the part of the interval on its good side.

        Examples
        --------
        >>> rule = ThresholdRule(metric="f1", below=0.8)
        >>> round(rule.alert_line("f1", 0.78, (0.74, 0.81), None), 3)
        0.77
        """
        if metric != self.metric:
            return None
        levels = self.levels()
        (_, level), *_ = levels.breached
        if ci is None:
            return level
        return level - (ci[1] - value) if levels.below else level + (value - ci[0])

    def judge_figures(self, figures: WindowFigures, situation: Situation) -> Judgement:
        """As `judge_levels`."""
        return judge_levels(figures, self.metric, self.levels())
