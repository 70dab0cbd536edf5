"""Alert rule: a version without predictions."""

from __future__ import annotations

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.times import format_duration
from driftline.streams.decide.activity import silence_limit_ms
from driftline.streams.decide.judgement import Judgement, Situation, judgement_of
from driftline.streams.decide.silence_rule import SilenceRule
from driftline.streams.decide.wording import moment, subject


class NoDataRule(
    SilenceRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="no_data",
):
    """Fires when a version has had no prediction for longer than usual.

    Judges the version in production, or the one with the latest traffic where none is. It reads the
    empty windows that stage 2 announces, none of which follow the end of a recorded log. From 48
    windows of silence on they become fewer, so an alert is late by a 24th of the silence at most.

    Parameters
    ----------
    silence
        Length of the silence. By default twice the longest usual one and a window, at least an
        hour; three times in the first four weeks, and at least three days in the first week. A
        silence that raised an alert is usual once another one follows within four weeks. `make
        bench-statistics` measures false alarms.
    severity
        Severity of the alert.

    Examples
    --------
    >>> from driftline.schemas.settings import ModelConfig
    >>> NoDataRule(silence="2h").bound(ModelConfig()).window
    '1h'
    """

    def judge_figures(self, figures: WindowFigures, situation: Situation) -> Judgement:
        """Judge "clear" with predictions or where none are expected, "breach" after a silence that
        is too long.
        """
        plain = judgement_of(figures, "within")
        who = subject(figures.model_name, figures.model_version, figures.segment)
        activity = situation.activity
        if figures.n_predictions or not situation.live:
            finding = (
                f"{who} is being used again"
                if figures.n_predictions
                else f"No predictions are expected of {who} any more"
            )
            return msgspec.structs.replace(
                plain, verdict="clear", finding=finding, n=figures.n_predictions
            )
        if activity is None:
            return msgspec.structs.replace(plain, verdict="unclear")
        silent_ms = plain.window_end_ms - activity.last_ms
        usual_ms = activity.usual_ms
        limit_ms = self.configured_ms()
        if limit_ms is None:
            limit_ms = silence_limit_ms(activity, plain.window_end_ms - plain.window_start_ms)
        before = (
            f"the longest usual silence was {format_duration(usual_ms)}"
            if usual_ms
            else "it is not usually silent"
        )
        return msgspec.structs.replace(
            plain,
            verdict="breach" if silent_ms >= limit_ms else "within",
            severity=self.severity,
            finding=f"No prediction of {who} from {moment(activity.last_ms)} to "
            f"{moment(plain.window_end_ms)}, {format_duration(silent_ms)}; {before}",
            metric="silence_ms",
            value=float(silent_ms),
            threshold=float(limit_ms),
            comparator=">=",
            n=0,
        )
