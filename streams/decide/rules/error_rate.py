"""Alert rule: too many predictions that ended in an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.against_levels import Levels, judge_levels
from driftline.streams.decide.judgement import Judgement, Severity, Situation
from driftline.streams.decide.metric_info import Lane
from driftline.streams.decide.rule import MetricRule, Positive, windows_by_size


class ErrorRateRule(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="error_rate",
):
    """Fires when the share of predictions with status "error" is above a level, with its whole
    interval, for 5 minutes.

    Parameters
    ----------
    warning, critical
        The levels.
    clear
        The level at which the alert resolves; 0.8 of `warning` by default.

    Examples
    --------
    >>> ErrorRateRule().bound(ModelConfig()).windows(ModelConfig())
    ('1h', '1d', '7d/1d')
    """

    for_: int | str = msgspec.field(default="5m", name="for")
    warning: Positive = 0.05
    critical: Positive = 0.15
    clear: Positive | None = None

    concerns: ClassVar[Literal["behavior", "supply", "service"]] = "service"

    grades: ClassVar[Mapping[Severity, str]] = {"warning": "warning", "critical": "critical"}

    def lane(self) -> Lane:
        """The traffic lane."""
        return "traffic"

    def default_windows(self, config: ModelConfig) -> tuple[str, ...]:
        """All windows."""
        return windows_by_size(config)

    def judge_figures(self, figures: WindowFigures, situation: Situation) -> Judgement:
        """As `judge_levels`."""
        levels = Levels(
            (("warning", self.warning), ("critical", self.critical)),
            below=False,
            clear=0.8 * self.warning if self.clear is None else self.clear,
        )
        return judge_levels(figures, "error_rate", levels)
