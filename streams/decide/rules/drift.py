"""Alert rule: the distribution of features, scores, predictions or labels has drifted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

from driftline.streams.decide.judgement import (
    DriftWindow,
    Judgement,
    Measurement,
    Part,
    Shift,
    Situation,
)
from driftline.streams.decide.rule import Rule
from driftline.streams.decide.wording import listed, share, span, subject

LEVELS = ("none", "mild", "moderate", "severe")
_MOVED = {
    True: "while performance moved too",
    False: "performance did not move",
    None: "performance is not judged yet",
}
_SHARES = {"missing": "missing", "kind": "of another kind", "unseen": "never seen before"}


class DriftRule(
    Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="drift"
):
    """Fires when a target has drifted in two consecutive windows: info, or a warning where
    performance has moved too.

    Drift by itself does no harm; it explains a change in performance. All targets of a window share
    one alert. While it is open, a target that joins, or drifts at a worse level than announced, is
    announced by another record of it, after as many windows as the alert itself needs.

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
        parts = {
            target: Part(LEVELS.index(shifts[0].level), _text(target, shifts))
            for target, shifts in _by_target(shifted).items()
        }
        if parts:
            finding = (
                f"{len(parts)} of {count} targets of {who} drifted over {when} "
                f"({listed([part.text for part in parts.values()])}); "
                f"{_MOVED[situation.performance_moved]}"
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
                "targets": {target: LEVELS[part.rank] for target, part in parts.items()},
            },
            usual_losses=measurement.reference_losses,
            parts=parts,
        )


def _by_target(shifts: Sequence[Shift]) -> dict[str, list[Shift]]:
    """The results of each target, the worst first; targets by falling level, then by name."""
    of_target: dict[str, list[Shift]] = {}
    for shift in sorted(shifts, key=lambda shift: (-LEVELS.index(shift.level), shift.target)):
        of_target.setdefault(shift.target, []).append(shift)
    return of_target


def _text(target: str, shifts: Sequence[Shift]) -> str:
    """A target with its level, and with the shares that moved."""
    shares = " and ".join(
        f"{share(shift.share)} {_SHARES[shift.method]} instead of {share(shift.reference_share)}"
        for shift in shifts
        if shift.share is not None and shift.reference_share is not None
    )
    text = f"{target.removeprefix('feature:')} {shifts[0].level}"
    return f"{text}: {shares}" if shares else text
