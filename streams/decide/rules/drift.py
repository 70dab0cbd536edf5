"""Alert rule: the values of features, scores, predictions or labels have drifted."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from driftline.streams.decide.judgement import (
    SHARES,
    DriftWindow,
    Judgement,
    Measurement,
    Situation,
)
from driftline.streams.decide.rule import Reads, Rule
from driftline.streams.decide.shifted_targets import (
    LEVELS,
    by_target,
    judged_shifts,
    parts_of,
    rank_of,
)
from driftline.streams.decide.wording import listed, span, subject

_MOVED = {
    True: "while performance moved too",
    False: "performance did not move",
    None: "performance is not judged yet",
}


class DriftRule(
    Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="drift"
):
    """Fires when a target has drifted in two consecutive windows: info, or a warning where
    performance has moved too.

    Drift by itself does no harm; it explains a change in performance. Values that are missing, of
    another kind or never seen before are the matter of `data_quality`. All targets of a window
    share one alert. While it is open, a target that joins, or drifts at a worse level than
    announced, is announced by another record of it, after as many windows as the alert itself
    needs.

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

    reads: ClassVar[Reads] = "drift"

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """Judge "breach" while a target is at the level or above it, "unclear" where no test had
        enough data.
        """
        if not isinstance(measurement, DriftWindow):
            raise TypeError(f"{self.kind}: reads drift, got {type(measurement).__name__}")
        start_ms, end_ms = measurement.window_start_ms, measurement.window_end_ms
        judged = [
            shift
            for shift in judged_shifts(measurement, self.targets)
            if shift.method not in SHARES
        ]
        shifted = [shift for shift in judged if rank_of(shift) >= LEVELS.index(self.level)]
        who, when = (
            subject(measurement.model_name, measurement.model_version, measurement.segment),
            span(start_ms, end_ms),
        )
        count = len(by_target(judged))
        parts = parts_of(shifted)
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
