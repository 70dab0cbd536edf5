"""Alert rule: performance is poor, and another threshold does not help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import msgspec

from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.judgement import (
    Judgement,
    Measurement,
    Severity,
    Situation,
    TunerEvaluation,
    Verdict,
)
from driftline.streams.decide.rule import InvalidRule, Positive, Reads, Rule
from driftline.streams.decide.tuner.settings import build_tuner
from driftline.streams.decide.wording import figure, metric_name, share, span, subject
from driftline.streams.lanes import ALL


class TuningStagnationRule(
    Rule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="tuning_stagnation",
):
    """Fires when performance is poor and the best threshold that the tuner found would have
    improved its objective by less than a share, in three evaluations in a row.

    Then tuning has done what it can: the model has to be trained anew, or its data have changed.
    An evaluation with too few labels is not judged. The alert resolves when performance is not poor
    any more, or when a threshold improves the objective by the share or more, with its whole 95 %
    interval above 0.

    Parameters
    ----------
    improvement
        Share of the value of the objective with the threshold in force, judged on outcomes that had
        no part in choosing the other threshold.
    worse_than
        Value of the objective beyond which performance is poor: below it, or above it where less is
        better. It is poor too while the threshold in force misses a goal of the objective, such as
        a precision. By default performance is poor while a rule on the performance of the version
        is in breach or firing.
    severity
        Severity of the alert.

    Examples
    --------
    >>> TuningStagnationRule(worse_than=0.8).bound(ModelConfig()).for_
    3
    """

    for_: int | str = msgspec.field(default=3, name="for")
    improvement: Positive = 0.01
    worse_than: float | None = None
    severity: Severity = "warning"

    reads: ClassVar[Reads] = "tuning"

    def bound(self, config: ModelConfig) -> Self:
        """As `Rule.bound`; checks that there is a tuner, which reads all segments together."""
        if not build_tuner(config).enabled:
            raise InvalidRule("type", "the tuner of this model is off (tuner.enabled)")
        if self.segment != ALL:
            raise InvalidRule("segment", 'thresholds are tuned for "all" only')
        return super().bound(config)

    def check_beside(self, rules: Mapping[str, Rule]) -> None:
        """As `Rule.check_beside`: without a level, there is a rule on performance."""
        if self.worse_than is None and not any(rule.judges_performance for rule in rules.values()):
            raise InvalidRule(
                "worse_than",
                "needed, since no rule of the model judges its performance (performance_drop or "
                "degradation)",
            )

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """Judge "breach" where performance is poor and the improvement too small, "clear" where
        either is not so.
        """
        if not isinstance(measurement, TunerEvaluation):
            raise TypeError(f"{self.kind}: reads tuning, got {type(measurement).__name__}")
        found = measurement
        is_poor = self._is_poor(found, situation)
        improvement, verdict = found.improvement, self._verdict(found, is_poor=is_poor)
        return Judgement(
            verdict=verdict,
            window_start_ms=found.window_end_ms - found.every_ms,
            window_end_ms=found.window_end_ms,
            at_ms=found.at_ms,
            severity=self.severity,
            finding=self._finding(found, verdict, is_poor=is_poor),
            metric="relative_gain",
            value=improvement if improvement is not None and improvement < _NO_LIMIT else None,
            threshold=self.improvement,
            comparator="<",
            n=found.n,
            window=found.window,
            maturity=found.maturity,
            details={
                "objective": found.metric,
                "objective_value": found.value,
                "threshold_in_force": found.threshold,
                "best_threshold": found.best,
            },
        )

    def _is_poor(self, found: TunerEvaluation, situation: Situation) -> bool | None:
        """Whether performance is poor; None if that is not known."""
        if self.worse_than is None:
            return True if found.misses_goal else situation.performance_moved
        if found.misses_goal or found.value is None:
            return found.misses_goal or None
        return (
            found.value < self.worse_than
            if found.higher_is_better
            else found.value > self.worse_than
        )

    def _verdict(self, found: TunerEvaluation, *, is_poor: bool | None) -> Verdict:
        if found.improvement is None:
            return "unclear"
        is_small = found.improvement < self.improvement
        if is_poor is False or (not is_small and found.is_sure):
            return "clear"
        return "breach" if is_poor and is_small else "within"

    def _finding(self, found: TunerEvaluation, verdict: Verdict, *, is_poor: bool | None) -> str:
        who = subject(found.model_name, found.model_version, found.segment)
        when, name = span(found.window_start_ms, found.window_end_ms), metric_name(found.metric)
        value = "unknown" if found.value is None else figure(found.value)
        in_force = figure(found.threshold)
        other = in_force if found.best is None else f"{figure(found.best)} instead of {in_force}"
        improvement = found.improvement or 0.0
        gain = f" by {share(improvement)}" if improvement < _NO_LIMIT else ""
        if verdict == "clear":
            if is_poor is False:
                return f"Performance of {who} is not poor any more: {name} was {value} over {when}"
            return f"Threshold {other} would have improved {name} of {who}{gain} over {when}"
        if found.best is None:
            best = f"the one in force, {other}, is the best"
        else:
            best = f"the best, {other},{gain}"
        if found.misses_goal:
            why = "which misses the goal of the tuner"
        elif self.worse_than is not None:
            side = "below" if found.higher_is_better else "above"
            why = f"{side} {figure(self.worse_than)}"
        else:
            why = "and performance fell"
        return (
            f"No threshold would have improved {name} of {who} by {share(self.improvement)} over "
            f"{when}: {best}; it was {value}, {why}"
        )


_NO_LIMIT = float("inf")
