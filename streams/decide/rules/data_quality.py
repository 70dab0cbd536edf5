"""Alert rule: values of a feature are missing, of another kind or new."""

from __future__ import annotations

import msgspec

from driftline.schemas.settings import parse_window
from driftline.schemas.times import format_time
from driftline.streams.decide.detectors.share_evidence import (
    Tracks,
    gathered,
    key_of,
    with_window,
)
from driftline.streams.decide.false_alarm_budget import part_of, windows_a_year
from driftline.streams.decide.judgement import (
    SHARES,
    DriftWindow,
    Judgement,
    Severity,
    Situation,
    Verdict,
)
from driftline.streams.decide.rule import Positive
from driftline.streams.decide.share_rule import ShareRule
from driftline.streams.decide.shifted_targets import (
    LEVELS,
    judged_shifts,
    parts_of,
    rank_of,
)
from driftline.streams.decide.wording import listed, span, subject


class DataQualityRule(
    ShareRule,
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
    of false alarms divided by the number of results that are judged in a year. A share that no
    single window proves is judged by the rows of all windows since it began to lean
    (`detectors/share_evidence.py`). A mild or moderate
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

    def judge_next(
        self, window: DriftWindow, situation: Situation, tracks: Tracks
    ) -> tuple[Tracks, Judgement]:
        """Judge "breach" while a share has shifted beyond chance, in the window or in those that
        lean like it, "within" while one may have, "unclear" without a result.
        """
        judged = judged_shifts(window, self.targets)
        shares = [shift for shift in judged if shift.method in SHARES]
        tracks = with_window(tracks, shares, window.window_start_ms, window.window_end_ms)
        limit = self._budget_of_a_window(window, situation) / max(len(shares), 1)
        shifted = [shift for shift in shares if rank_of(shift)]
        sure = [shift for shift in shifted if shift.p_value is not None and shift.p_value <= limit]
        since: dict[str, int] = {}
        for shift in shares:
            track = tracks.get(key_of(shift))
            result = None if track is None or shift in sure else gathered(track, shift)
            if track is None or result is None or result.level not in LEVELS[1:]:
                continue
            if result.p_value is not None and result.p_value <= limit:
                sure.append(
                    msgspec.structs.replace(
                        shift, level=result.level, share=track.hits / track.rows
                    )
                )
                since[shift.target] = min(track.start_ms, since.get(shift.target, track.start_ms))
        parts = parts_of(sure)
        ranks = [part.rank for part in parts.values()]
        verdict: Verdict = "breach" if sure else "within" if shifted else "clear"
        severity: Severity = "error" if LEVELS.index("severe") in ranks else "warning"
        who = subject(window.model_name, window.model_version, window.segment)
        when = span(min([window.window_start_ms, *since.values()]), window.window_end_ms)
        details = {
            "targets": {target: LEVELS[part.rank] for target, part in parts.items()},
            "p_value_limit": limit,
        }
        if since:
            details["gathered_since"] = {
                target: format_time(start_ms) for target, start_ms in since.items()
            }
        return tracks, Judgement(
            verdict=verdict if judged else "unclear",
            window_start_ms=window.window_start_ms,
            window_end_ms=window.window_end_ms,
            at_ms=window.window_end_ms,
            severity=severity,
            finding=_finding(who, when, [part.text for part in parts.values()]),
            window=window.window,
            details=details,
            usual_losses=window.reference_losses,
            parts=parts,
            began_ms=min(since.values(), default=None),
        )

    def _budget_of_a_window(self, window: DriftWindow, situation: Situation) -> float:
        part = part_of(self.kind, situation.config, self.false_alarms)
        step_ms = parse_window(situation.config.detection_window).step_ms
        # Beside each window, the gathered rows are judged once in the length of a window.
        size_ms = window.window_end_ms - window.window_start_ms
        return part / windows_a_year(step_ms, situation.segments) / (1.0 + step_ms / size_ms)


def _finding(who: str, when: str, texts: list[str]) -> str:
    if not texts:
        return f"The features of {who} are as complete as in the reference again over {when}"
    features = "Values of a feature" if len(texts) == 1 else f"Values of {len(texts)} features"
    return f"{features} of {who} are not as in the reference over {when} ({listed(texts)})"
