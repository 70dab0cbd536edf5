"""Base class of the rules that gather evidence that a share of the rows is above a level."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import numpy as np

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import format_time
from driftline.streams.decide.against_levels import Levels, judge_levels
from driftline.streams.decide.detectors.level_evidence import (
    LevelEvidence,
    Step,
    Trial,
    with_window,
)
from driftline.streams.decide.false_alarm_budget import part_of, windows_a_year
from driftline.streams.decide.judgement import Judgement, Severity, Situation, judgement_of
from driftline.streams.decide.metric_info import Lane, unit_of
from driftline.streams.decide.rule import (
    Count,
    MetricRule,
    Positive,
    smallest_tumbling_window,
    smallest_window,
    step_of,
)
from driftline.streams.decide.wording import about, figure, headline, share, span
from driftline.streams.intervals import wilson


class LevelRule(
    MetricRule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """A rule on a metric of the traffic lane that follows from the share of rows beyond a level.

    The evidence of windows is added up (`detectors/level_evidence.py`), and the alert fires where
    chance would lead to as much less often than the budget allows. It resolves at a likelihood
    ratio of 20 for the allowed share.
    """

    for_: int | str = msgspec.field(default="5m", name="for")
    min_samples: Count = 0
    false_alarms: Positive | None = None

    beyond: ClassVar[str] = "are beyond it"
    """What the rows beyond a level do, as the end of a sentence."""

    def lane(self) -> Lane:
        """The traffic lane."""
        return "traffic"

    def default_window(self, config: ModelConfig) -> str:
        """The smallest tumbling window: evidence needs no least number of rows."""
        return smallest_tumbling_window(config) or smallest_window(config)

    def metric(self) -> str:
        """The metric that is judged."""
        raise NotImplementedError(f"{type(self).__name__} needs a method metric()")

    def levels(self) -> Levels:
        """Its levels."""
        raise NotImplementedError(f"{type(self).__name__} needs a method levels()")

    def trial(self, figures: WindowFigures, level: float) -> Trial:
        """The rows of a window with the metric beyond a level."""
        raise NotImplementedError(f"{type(self).__name__} needs a method trial(figures, level)")

    def judge_figures(self, figures: WindowFigures, situation: Situation) -> Judgement:
        """Judge one window without any before it."""
        return self.judge_next(figures, situation, LevelEvidence())[1]

    def judge_next(
        self, figures: WindowFigures, situation: Situation, evidence: LevelEvidence
    ) -> tuple[LevelEvidence, Judgement]:
        """The evidence with these figures, and a judgement."""
        if self.rows(figures) < self.min_samples or figures.metrics.get(self.metric()) is None:
            return evidence, judgement_of(figures, "unclear")
        levels, config = self.levels(), situation.config
        size_ms = int(figures.window_end_ms) - int(figures.window_start_ms)
        step_ms = step_of(figures.window, config) or size_ms
        part = part_of(self.kind, config, self.false_alarms)

        def trial(level: float) -> Trial:
            # A row of overlapping windows counts in parts, so that it counts once.
            whole = self.trial(figures, level)
            weight = step_ms / size_ms
            return Trial(weight * whole.n, weight * whole.hits, whole.allowed, whole.raised)

        step = with_window(
            evidence,
            figures.window,
            int(figures.window_start_ms),
            {severity: trial(level) for severity, level in levels.breached},
            trial(levels.clear),
            windows_a_year(step_ms, situation.segments) / part,
        )
        return step.evidence, self._judgement(figures, levels, step)

    def _judgement(self, figures: WindowFigures, levels: Levels, step: Step[Severity]) -> Judgement:
        plain = judge_levels(figures, self.metric(), levels)
        if step.severity is None and not step.is_over:
            return msgspec.structs.replace(
                plain, verdict="within" if plain.verdict == "breach" else plain.verdict
            )
        level = levels.clear if step.severity is None else dict(levels.breached)[step.severity]
        track, end_ms = step.track, plain.window_end_ms
        metric, unit = headline(self.metric()), unit_of(self.metric())
        finding = f"{metric} of {about(figures)} was {'below' if step.is_over else 'above'} "
        finding += figure(level, unit)
        details: dict[str, Any] = {}
        if track.n:
            low, high = wilson(np.array([track.hits]), np.array([track.n]))
            details = {
                "since": format_time(track.since_ms),
                "share_since": track.share,
                "share_since_ci": [float(low[0]), float(high[0])],
                "n_since": round(track.n),
            }
            finding += (
                f" over {span(track.since_ms, end_ms)}: {share(track.share)} of "
                f"{round(track.n):,} predictions {self.beyond}"
            )
        return msgspec.structs.replace(
            plain,
            verdict="clear" if step.is_over else "breach",
            severity=step.severity or plain.severity,
            finding=finding,
            threshold=level,
            details=details,
            began_ms=track.since_ms if track.n and step.severity else None,
        )
