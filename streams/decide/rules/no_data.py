"""A version that has fallen silent."""

from __future__ import annotations

from typing import Self

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import DAY_MS, HOUR_MS, format_duration, parse_duration
from driftline.streams.decide.judgement import Judgement, Severity, Situation, judgement_of
from driftline.streams.decide.metric_info import Lane
from driftline.streams.decide.rule import Count, MetricRule, WrongRule, smallest_window
from driftline.streams.decide.wording import moment, subject

LEARNING_MS = 7 * DAY_MS


class NoData(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="no_data",
):
    """Fires when no prediction has come for longer than is usual.

    Judged where predictions are expected: of the version in production, or of the newest one where
    none is. It needs the empty windows that stage 2 announces.

    Parameters
    ----------
    silence
        How long. By default twice the longest silence so far, at least an hour, and at least a day
        during the first week.
    severity
        Of the alert.

    Examples
    --------
    >>> NoData(silence="2h").bound(ModelConfig()).window
    '1h'
    """

    silence: str | None = None
    severity: Severity = "error"
    min_samples: Count = 0

    def lane(self) -> Lane:
        """Traffic."""
        return "traffic"

    def default_window(self, config: ModelConfig) -> str:
        """The smallest one."""
        return smallest_window(config)

    def bound(self, config: ModelConfig) -> Self:
        """As `MetricRule.bound`; checks the duration."""
        if self.silence is not None:
            try:
                parse_duration(self.silence)
            except ValueError as error:
                raise WrongRule("silence", str(error)) from error
        return super().bound(config)

    def judge_figures(self, seen: WindowFigures, situation: Situation) -> Judgement:
        """Clear in a window with predictions, and where none are expected; breach after too long a
        silence.
        """
        found = judgement_of(seen, "within")
        who, activity = (
            subject(seen.model_name, seen.model_version, seen.segment),
            situation.activity,
        )
        if seen.n_predictions or not situation.live:
            said = (
                f"{who} is being used again"
                if seen.n_predictions
                else f"No predictions are expected of {who} any more"
            )
            return msgspec.structs.replace(found, verdict="clear", said=said, n=seen.n_predictions)
        if activity is None:
            return msgspec.structs.replace(found, verdict="unclear")
        silent_ms = found.window_end_ms - activity.last_ms
        usual_ms = activity.longest_silence_ms
        if self.silence is not None:
            limit_ms = parse_duration(self.silence)
        else:
            learning = found.window_end_ms - activity.first_ms < LEARNING_MS
            limit_ms = max(2 * usual_ms, DAY_MS if learning else HOUR_MS)
        before = (
            f"the longest silence before was {format_duration(usual_ms)}"
            if usual_ms
            else "it had not been silent before"
        )
        return msgspec.structs.replace(
            found,
            verdict="breach" if silent_ms >= limit_ms else "within",
            severity=self.severity,
            said=f"No prediction of {who} from {moment(activity.last_ms)} to {moment(found.window_end_ms)}, {format_duration(silent_ms)}; "
            f"{before}",
            metric="silence_ms",
            value=float(silent_ms),
            threshold=float(limit_ms),
            comparator=">=",
            n=0,
        )
