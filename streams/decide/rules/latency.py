"""Alert rule: predictions that take too long."""

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


class LatencyRule(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="latency",
):
    """Fires when the 95th percentile of latency is above a level for 5 minutes. Never fires where
    predictions carry no latency.

    Parameters
    ----------
    warning_ms, critical_ms
        The levels.
    clear_ms
        The level at which the alert resolves; 0.8 of `warning_ms` by default.

    Examples
    --------
    >>> LatencyRule(warning_ms=200.0).bound(ModelConfig()).windows(ModelConfig())
    ('1h', '1d', '7d/1d')
    """

    for_: int | str = msgspec.field(default="5m", name="for")
    warning_ms: Positive = 1000.0
    critical_ms: Positive = 5000.0
    clear_ms: Positive | None = None

    concerns: ClassVar[Literal["behavior", "supply", "service"]] = "service"

    grades: ClassVar[Mapping[Severity, str]] = {
        "warning": "warning_ms",
        "critical": "critical_ms",
    }
    clear_field: ClassVar[str] = "clear_ms"

    def lane(self) -> Lane:
        """The traffic lane."""
        return "traffic"

    def default_windows(self, config: ModelConfig) -> tuple[str, ...]:
        """All windows."""
        return windows_by_size(config)

    def judge_figures(self, figures: WindowFigures, situation: Situation) -> Judgement:
        """As `judge_levels`."""
        clear_ms = 0.8 * self.warning_ms if self.clear_ms is None else self.clear_ms
        levels = Levels(
            (("warning", self.warning_ms), ("critical", self.critical_ms)),
            below=False,
            clear=clear_ms,
        )
        return judge_levels(figures, "latency_p95", levels)
