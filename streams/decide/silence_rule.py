"""Base of the alert rules that miss something: predictions, or labels."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import parse_duration
from driftline.streams.decide.judgement import Severity
from driftline.streams.decide.metric_info import Lane
from driftline.streams.decide.rule import Count, InvalidRule, MetricRule, smallest_window


class SilenceRule(
    MetricRule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """A rule that fires after a silence. It reads the windows of the traffic lane, which tell the
    time, however few rows they have.

    Parameters
    ----------
    silence
        Length of the silence; None for the one that follows from earlier ones.
    severity
        Severity of the alert.
    """

    silence: str | None = None
    severity: Severity = "error"
    min_samples: Count = 0

    concerns: ClassVar[Literal["behavior", "supply", "service"]] = "supply"

    def lane(self) -> Lane:
        """The traffic lane."""
        return "traffic"

    def default_window(self, config: ModelConfig) -> str:
        """The smallest window."""
        return smallest_window(config)

    def bound(self, config: ModelConfig) -> Self:
        """As `MetricRule.bound`; checks the duration."""
        self.configured_ms()
        return super().bound(config)

    def configured_ms(self) -> int | None:
        """`silence` in milliseconds.

        Raises
        ------
        InvalidRule
            If it is no duration.
        """
        try:
            return None if self.silence is None else parse_duration(self.silence)
        except ValueError as error:
            raise InvalidRule("silence", str(error)) from error
