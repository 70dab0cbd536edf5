"""Alert rule: fewer labels than usual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.against_baseline import Drops, judge_against_baseline
from driftline.streams.decide.judgement import Judgement, Severity, Situation
from driftline.streams.decide.metric_info import Lane
from driftline.streams.decide.rule import InvalidRule, MetricRule, Positive, windows_from_a_day
from driftline.streams.lanes import ALL


class CoverageRule(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="coverage",
):
    """Fires when the share of predictions with a label is below its baseline at the same maturity,
    with its whole interval, in two consecutive windows.

    Parameters
    ----------
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
        drops = Drops((("warning", self.warning), ("error", self.error)), self.clear)
        return judge_against_baseline(figures, situation, ("label_coverage",), drops)


def _with_coverage(figures: WindowFigures) -> WindowFigures:
    return msgspec.structs.replace(
        figures, metrics={**figures.metrics, "label_coverage": figures.label_coverage}
    )
