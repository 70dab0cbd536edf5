"""Alert rule: a version whose labels stopped while its predictions go on."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.times import format_duration
from driftline.streams.decide.judgement import Judgement, Situation, judgement_of
from driftline.streams.decide.silence_rule import SilenceRule
from driftline.streams.decide.wording import moment, subject


class NoLabelsRule(
    SilenceRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="no_labels",
):
    """Fires when no label of a version has become known for longer than usual, while its
    predictions go on.

    A label counts when it becomes known. The rule judges in windows with predictions, after the
    first label, and never follows the end of a recorded log. After an outage of predictions,
    labels are expected again once 95 % of them are usually known.

    Parameters
    ----------
    silence
        Time without labels. By default twice the longest usual one, plus the 95 % quantile of the
        delay or a third such time, whichever is shorter; at least the label horizon while labels
        have been seen for less than four weeks. A silence that raised an alert is usual once
        another one follows within four weeks. `make bench-statistics` measures false alarms.
    severity
        Severity of the alert.

    Examples
    --------
    >>> from driftline.schemas.settings import ModelConfig
    >>> NoLabelsRule(silence="2d").bound(ModelConfig()).window
    '1h'
    """

    reads_labels: ClassVar[bool] = True

    def judge_figures(self, figures: WindowFigures, situation: Situation) -> Judgement:
        """Judge "clear" soon after labels or where none are expected, "breach" after a silence that
        is too long.
        """
        plain = judgement_of(figures, "within")
        who = subject(figures.model_name, figures.model_version, figures.segment)
        feed = situation.label_feed
        if feed is None or feed.activity is None:
            return msgspec.structs.replace(plain, verdict="unclear")
        if not situation.live:
            finding = f"No labels of {who} are expected any more"
            return msgspec.structs.replace(plain, verdict="clear", finding=finding)
        window_ms = plain.window_end_ms - plain.window_start_ms
        last_ms, usual_ms = feed.activity.last_ms, feed.activity.usual_ms
        silent_ms = situation.labels_upto_ms - last_ms
        if silent_ms <= usual_ms + window_ms:
            finding = f"Labels of {who} become known again"
            return msgspec.structs.replace(plain, verdict="clear", finding=finding)
        limit_ms = self.configured_ms()
        if limit_ms is None:
            limit_ms = feed.limit_ms(feed.activity, window_ms, situation.config.label_horizon_ms)
        expected_ms = last_ms
        if situation.activity is not None and situation.activity.resumed_ms >= 0:
            expected_ms = max(last_ms, situation.activity.resumed_ms + (feed.delay_ms or 0))
        is_long = situation.labels_upto_ms - expected_ms >= limit_ms
        before = (
            f"the longest usual time without was {format_duration(usual_ms)}"
            if usual_ms
            else "they usually come in every window"
        )
        return msgspec.structs.replace(
            plain,
            verdict="breach" if figures.n_predictions and is_long else "within",
            severity=self.severity,
            finding=f"No label of {who} became known from {moment(last_ms)} to "
            f"{moment(situation.labels_upto_ms)}, {format_duration(silent_ms)}, while predictions "
            f"went on; {before}",
            metric="label_silence_ms",
            value=float(silent_ms),
            threshold=float(limit_ms),
            comparator=">=",
            n=0,
        )
