"""Alert rule: fewer labels than usual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import parse_duration
from driftline.streams.decide.against_baseline import Drops, judge_against_baseline
from driftline.streams.decide.false_alarm_budget import part_of, windows_a_year
from driftline.streams.decide.judgement import Judgement, Severity, Situation
from driftline.streams.decide.metric_info import Lane
from driftline.streams.decide.rule import (
    InvalidRule,
    MetricRule,
    Positive,
    step_of,
    windows_from_a_day,
)
from driftline.streams.lanes import ALL


class CoverageRule(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="coverage",
):
    """Fires when the share of predictions with a label is below its baseline at the same maturity
    beyond chance, in two consecutive windows.

    Chance is ruled out where the probability of as large a drop in as many windows in a row is
    below the budget divided by the number of windows in a year, by the variance of the counts or
    that between days, whichever is greater. Of overlapping windows, only those count that have no
    row in common.

    Parameters
    ----------
    false_alarms
        Budget: mean number of false alarms a year; by default its part of `false_alarms_per_year`.
    warning, error
        Relative drops.
    clear
        Relative drop at which the alert resolves.

    Examples
    --------
    >>> CoverageRule().bound(ModelConfig()).windows(ModelConfig())
    ('1d', '7d/1d')
    """

    for_: int | str = msgspec.field(default=2, name="for")
    false_alarms: Positive | None = None
    warning: Positive = 0.10
    error: Positive = 0.50
    clear: Positive = 0.05

    accepts: ClassVar[bool] = True
    concerns: ClassVar[Literal["behavior", "supply", "service"]] = "supply"

    grades: ClassVar[Mapping[Severity, str]] = {"warning": "warning", "error": "error"}

    def daily(self) -> tuple[str, ...]:
        """The coverage."""
        return ("label_coverage",)

    def lane(self) -> Lane:
        """The decisions lane."""
        return "decisions"

    def default_windows(self, config: ModelConfig) -> tuple[str, ...]:
        """The largest window of at most a day, and all larger ones."""
        return windows_from_a_day(config)

    def bound(self, config: ModelConfig) -> Self:
        """As `MetricRule.bound`."""
        if self.segment != ALL:
            raise InvalidRule(
                "segment",
                'baselines are recorded for "all" only; '
                "use a threshold rule on label_coverage for a segment",
            )
        return super().bound(config)

    def rows(self, figures: WindowFigures) -> int:
        """All predictions: the rule has to judge windows without labels too."""
        return figures.n_predictions

    def judge_figures(self, figures: WindowFigures, situation: Situation) -> Judgement:
        """As `judge_against_baseline`."""
        if figures.metrics.get("label_coverage") is None:
            figures = _with_coverage(figures)
        levels: tuple[tuple[Severity, float], ...] = (
            ("warning", self.warning),
            ("error", self.error),
        )
        drops = Drops(levels, self.clear, self._tail(figures, situation.config))
        return judge_against_baseline(figures, situation, ("label_coverage",), drops)

    def _tail(self, figures: WindowFigures, config: ModelConfig) -> float:
        """Probability of a drop by chance that one window may have."""
        size_ms = int(figures.window_end_ms) - int(figures.window_start_ms)
        step_ms = step_of(figures.window, config) or size_ms
        if isinstance(self.for_, int):
            windows = self.for_
        else:
            windows = max(-(-(parse_duration(self.for_) - size_ms) // step_ms) + 1, 1)
        apart = 1 + (windows - 1) * step_ms // size_ms
        part = part_of(self.kind, config, self.false_alarms)
        return float(min(part / windows_a_year(step_ms, 1), 0.5) ** (1.0 / apart))


def _with_coverage(figures: WindowFigures) -> WindowFigures:
    return msgspec.structs.replace(
        figures, metrics={**figures.metrics, "label_coverage": figures.label_coverage}
    )
