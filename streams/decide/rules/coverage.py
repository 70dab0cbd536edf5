"""Fewer labels than usual."""

from __future__ import annotations

from typing import Self

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.against_baseline import Drops, judge_against_baseline
from driftline.streams.decide.judgement import Judgement, Situation
from driftline.streams.decide.metric_info import Lane
from driftline.streams.decide.rule import MetricRule, Positive, WrongRule, window_of_a_day
from driftline.streams.lanes import ALL


class Coverage(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="coverage",
):
    """Fires when the share of predictions with a label is certainly below its baseline at the same
    maturity, twice in a row.

    Parameters
    ----------
    warning, error
        Relative drops.
    clear
        Relative drop at which the alert ends.

    Examples
    --------
    >>> Coverage().bound(ModelConfig()).window
    '1d'
    """

    for_: int | str = msgspec.field(default=2, name="for")
    warning: Positive = 0.10
    error: Positive = 0.50
    clear: Positive = 0.05

    def daily(self) -> tuple[str, ...]:
        """The coverage itself."""
        return ("label_coverage",)

    def lane(self) -> Lane:
        """Decisions."""
        return "decisions"

    def default_window(self, config: ModelConfig) -> str:
        """The largest one of at most a day."""
        return window_of_a_day(config)

    def bound(self, config: ModelConfig) -> Self:
        """As `MetricRule.bound`."""
        if self.segment != ALL:
            raise WrongRule(
                "segment",
                'baselines are recorded for "all" only; use a threshold rule on label_coverage for a segment',
            )
        return super().bound(config)

    def rows(self, seen: WindowFigures) -> int:
        """All predictions: no label at all is what this rule is for."""
        return seen.n_predictions

    def judge_figures(self, seen: WindowFigures, situation: Situation) -> Judgement:
        """As `judge_against_baseline`."""
        figures = seen if seen.metrics.get("label_coverage") is not None else _with_coverage(seen)
        drops = Drops((("warning", self.warning), ("error", self.error)), self.clear)
        return judge_against_baseline(figures, situation, ("label_coverage",), drops)


def _with_coverage(seen: WindowFigures) -> WindowFigures:
    return msgspec.structs.replace(
        seen, metrics={**seen.metrics, "label_coverage": seen.label_coverage}
    )
