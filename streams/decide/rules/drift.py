"""Alert rule: the distribution of features, scores, predictions or labels has drifted."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from driftline.streams.decide.judgement import DriftWindow, Judgement, Measurement, Shift, Situation
from driftline.streams.decide.rule import Rule
from driftline.streams.decide.wording import span, subject

LEVELS = ("none", "mild", "moderate", "severe")
_NAMED = 5


class DriftRule(
    Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="drift"
):
    """Fires when a target has drifted in two consecutive windows: info, or a warning where
    performance has moved too.

    Drift by itself does no harm; it explains a change in performance. All targets of a window share
    one alert.

    Parameters
    ----------
    level
        Least level that counts.
    targets
        Targets to judge, such as "feature:age" or "score"; all by default.

    Examples
    --------
    >>> from driftline.schemas.settings import ModelConfig
    >>> DriftRule(level="severe", targets=("score",)).bound(ModelConfig()).name
    'drift'
    """

    for_: int | str = msgspec.field(default=2, name="for")
    level: Literal["mild", "moderate", "severe"] = "moderate"
    targets: tuple[str, ...] = ()

    reads: ClassVar[Literal["metrics", "drift"]] = "drift"

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """Judge "breach" while a target is at the level or above it, "unclear" where no test had
        enough data.
        """
        if not isinstance(measurement, DriftWindow):
            raise TypeError(f"{self.kind}: reads drift, got {type(measurement).__name__}")
        start_ms, end_ms = measurement.window_start_ms, measurement.window_end_ms
        judged = [
            shift
            for shift in measurement.shifts
            if shift.level in LEVELS and (not self.targets or shift.target in self.targets)
        ]
        shifted = [
            shift for shift in judged if LEVELS.index(shift.level) >= LEVELS.index(self.level)
        ]
        who, when = (
            subject(measurement.model_name, measurement.model_version, measurement.segment),
            span(start_ms, end_ms),
        )
        count = len(_by_target(judged))
        if shifted:
            moved = (
                "while performance moved too"
                if situation.performance_moved
                else "performance did not move"
            )
            finding = (
                f"{len(_by_target(shifted))} of {count} targets of {who} drifted over {when} "
                f"({_listed(shifted)}); {moved}"
            )
        else:
            finding = f"No target of {who} drifted over {when} any more ({count} tested)"
        return Judgement(
            verdict="breach" if shifted else "clear" if judged else "unclear",
            window_start_ms=start_ms,
            window_end_ms=end_ms,
            at_ms=end_ms,
            severity="warning" if situation.performance_moved else "info",
            finding=finding,
            window=measurement.window,
            details={
                "targets": {target: shift.level for target, shift in _by_target(shifted).items()}
            },
            usual_losses=measurement.reference_losses,
        )


def _by_target(shifts: list[Shift]) -> dict[str, Shift]:
    """The worst result of each target, by falling level, then by name."""
    worst: dict[str, Shift] = {}
    for shift in shifts:
        before = worst.get(shift.target)
        if before is None or LEVELS.index(shift.level) > LEVELS.index(before.level):
            worst[shift.target] = shift
    return dict(sorted(worst.items(), key=lambda item: (-LEVELS.index(item[1].level), item[0])))


def _listed(shifts: list[Shift]) -> str:
    named = [
        f"{target.removeprefix('feature:')} {shift.level}"
        for target, shift in _by_target(shifts).items()
    ]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more
