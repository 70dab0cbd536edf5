"""Alert rule: values of a feature are missing, of another kind or new."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from driftline.schemas.settings import parse_window
from driftline.streams.decide.false_alarm_budget import part_of, windows_a_year
from driftline.streams.decide.judgement import (
    SHARES,
    DriftWindow,
    Judgement,
    Measurement,
    Severity,
    Situation,
    Verdict,
)
from driftline.streams.decide.rule import Positive, Reads, Rule
from driftline.streams.decide.shifted_targets import (
    LEVELS,
    judged_shifts,
    parts_of,
    rank_of,
)
from driftline.streams.decide.wording import listed, span, subject


class DataQualityRule(
    Rule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="data_quality",
):
    """Fires when another share of a feature than in the reference is missing, of another kind
    (texts among numbers), or was never seen before, in two consecutive windows.

    Such a change is a fault of the feed more often than one of the world, and a small one does
    harm: so a mild shift counts (from 0 to 1 %, from 1 to 4 %), if its p-value is below the budget
    of false alarms divided by the number of results that are judged in a year. A mild or moderate
    shift is a warning, a severe one (from 0 to 15 %) an error. All features of a window share one
    alert. While it is open, a feature that joins, or shifts at a worse level than announced, is
    announced by another record of it.

    Parameters
    ----------
    false_alarms
        Budget: mean number of windows a year with a false shift, over all features and segments; by
        default its part of `false_alarms_per_year`.
    targets
        Features to judge, such as "feature:age"; all by default.

    Examples
    --------
    >>> from driftline.schemas.settings import ModelConfig
    >>> DataQualityRule(targets=("feature:age",)).bound(ModelConfig()).name
    'data_quality'
    """

    for_: int | str = msgspec.field(default=2, name="for")
    false_alarms: Positive | None = None
    targets: tuple[str, ...] = ()

    reads: ClassVar[Reads] = "drift"

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """Judge "breach" while a share has shifted beyond chance, "within" while one may have,
        "unclear" without a result.
        """
        if not isinstance(measurement, DriftWindow):
            raise TypeError(f"{self.kind}: reads drift, got {type(measurement).__name__}")
        judged = judged_shifts(measurement, self.targets)
        shares = [shift for shift in judged if shift.method in SHARES]
        limit = self._budget_of_a_window(situation) / max(len(shares), 1)
        shifted = [shift for shift in shares if rank_of(shift)]
        sure = [shift for shift in shifted if shift.p_value is not None and shift.p_value <= limit]
        parts = parts_of(sure)
        ranks = [part.rank for part in parts.values()]
        verdict: Verdict = "breach" if sure else "within" if shifted else "clear"
        severity: Severity = "error" if LEVELS.index("severe") in ranks else "warning"
        who = subject(measurement.model_name, measurement.model_version, measurement.segment)
        when = span(measurement.window_start_ms, measurement.window_end_ms)
        return Judgement(
            verdict=verdict if judged else "unclear",
            window_start_ms=measurement.window_start_ms,
            window_end_ms=measurement.window_end_ms,
            at_ms=measurement.window_end_ms,
            severity=severity,
            finding=_finding(who, when, [part.text for part in parts.values()]),
            window=measurement.window,
            details={
                "targets": {target: LEVELS[part.rank] for target, part in parts.items()},
                "p_value_limit": limit,
            },
            usual_losses=measurement.reference_losses,
            parts=parts,
        )

    def _budget_of_a_window(self, situation: Situation) -> float:
        part = part_of(self.kind, situation.config, self.false_alarms)
        step_ms = parse_window(situation.config.detection_window).step_ms
        return part / windows_a_year(step_ms, situation.segments)


def _finding(who: str, when: str, texts: list[str]) -> str:
    if not texts:
        return f"The features of {who} are as complete as in the reference again over {when}"
    features = "Values of a feature" if len(texts) == 1 else f"Values of {len(texts)} features"
    return f"{features} of {who} are not as in the reference over {when} ({listed(texts)})"
