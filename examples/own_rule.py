"""A rule of your own: the share of flagged cases is more than reviewers can handle.

Copy this file to `streams/decide/rules/flagged_share.py`; nothing else changes. The configuration
then knows it by its tag:

    [[models.churn.rules]]
    name = "flagged_share"
    type = "flagged_share"
    window = "1d"
    above = 0.40
"""

from __future__ import annotations

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.judgement import Judgement, Severity, Situation, judgement_of
from driftline.streams.decide.metric_info import Lane
from driftline.streams.decide.rule import MetricRule, window_of_a_day


class FlaggedShareRule(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="flagged_share",
):
    """Fires when the share of labelled rows predicted positive is above a level.

    Parameters
    ----------
    above
        The level, in [0, 1].
    severity
        Severity of the alert.

    Examples
    --------
    >>> FlaggedShareRule(above=0.4).bound(ModelConfig()).window
    '1d'
    """

    above: float
    severity: Severity = "warning"

    def lane(self) -> Lane:
        """The decisions lane: rows whose label is known."""
        return "decisions"

    def default_window(self, config: ModelConfig) -> str:
        """The largest window of at most a day."""
        return window_of_a_day(config)

    def judge_figures(self, figures: WindowFigures, situation: Situation) -> Judgement:
        """Judge "breach" above the level, "unclear" if the model is not binary, else "clear"."""
        judgement = judgement_of(figures, "unclear")
        if figures.tp is None or figures.fp is None:
            return judgement
        share = (figures.tp + figures.fp) / figures.n
        return msgspec.structs.replace(
            judgement,
            verdict="breach" if share > self.above else "clear",
            severity=self.severity,
            finding=f"{figures.model_name} {figures.model_version} flagged {share:.0%} of cases",
            metric="flagged_share",
            value=share,
            threshold=self.above,
            comparator=">",
            n=figures.n,
        )
