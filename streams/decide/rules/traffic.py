"""Alert rule: too many or too few predictions."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import msgspec

from driftline.schemas.results import WHOLE_SHARE, WindowFigures
from driftline.schemas.settings import ModelConfig, parse_window
from driftline.streams.decide.hourly_traffic import WEEK_MS
from driftline.streams.decide.judgement import (
    Judgement,
    Severity,
    Situation,
    Verdict,
    judgement_of,
)
from driftline.streams.decide.metric_info import Lane, unit_of
from driftline.streams.decide.rule import (
    Count,
    InvalidRule,
    MetricRule,
    Positive,
    smallest_window,
    window_of_hours,
)
from driftline.streams.decide.wording import about, figure, interval, span

_METRIC = "throughput"


class _Limit(NamedTuple):
    """A level of throughput, and what it is, in words."""

    level: float
    is_low: bool
    text: str
    usual: float | None = None


class TrafficRule(
    MetricRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="traffic",
):
    """Fires when there are more or fewer predictions a second than a level, or than is usual at
    that time of the week, with the whole 95 % interval, in two consecutive windows.

    A version from which no predictions are expected is never too low: another one is in production,
    or has the traffic. Neither is a window that data cover in part.

    Parameters
    ----------
    above, below
        Predictions a second.
    above_usual, below_usual
        Multiples of what is usual: the median of the same span of the four weeks before, in UTC,
        give or take its own uncertainty. Judged from the fourth week of a version on, and where
        there usually are predictions.
    margin
        By which share traffic has to be back within a level, for the alert to resolve.
    severity
        Severity of the alert.

    Notes
    -----
    With 3 and 0.3 times the usual, simulated models with 40, 200, 2,000 and 200,000 predictions a
    day, whose days and hours vary by 20 and 30 % (log-normal), had one alert in 8 years; judged by
    single windows, 64.

    Examples
    --------
    >>> rule = TrafficRule(above=1000.0, below_usual=0.3, for_="2m").bound(ModelConfig())
    >>> rule.window, rule.lane()
    ('1h', 'traffic')
    """

    for_: int | str = msgspec.field(default=2, name="for")
    above: Positive | None = None
    below: Positive | None = None
    above_usual: Positive | None = None
    below_usual: Positive | None = None
    margin: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.1
    severity: Severity = "warning"
    min_samples: Count = 0

    concerns: ClassVar[Literal["behavior", "supply", "service"]] = "supply"

    def lane(self) -> Lane:
        """The traffic lane."""
        return "traffic"

    def default_window(self, config: ModelConfig) -> str:
        """The smallest window."""
        return smallest_window(config)

    @property
    def reads_hours(self) -> bool:
        """Whether the rule compares with what is usual."""
        return self.above_usual is not None or self.below_usual is not None

    def bound(self, config: ModelConfig) -> Self:
        """As `MetricRule.bound`; checks the levels."""
        low, high = 1 - self.margin, 1 + self.margin
        if self.above is None and self.below is None and not self.reads_hours:
            raise InvalidRule("above", "needed is one of above, below, above_usual and below_usual")
        if self.above and self.below and self.above * low < self.below * high:
            raise InvalidRule(
                "above",
                f"{self.above:g} is too close to below {self.below:g}: with a margin of "
                f"{self.margin:g} the alert could not resolve",
            )
        if self.above_usual and self.above_usual * low < 1:
            raise InvalidRule(
                "above_usual",
                f"{self.above_usual:g} times the usual; with a margin of {self.margin:g} it has to "
                f"be at least {1 / low:.3g}",
            )
        if self.below_usual and self.below_usual * high > 1:
            raise InvalidRule(
                "below_usual",
                f"{self.below_usual:g} times the usual; with a margin of {self.margin:g} it has to "
                f"be at most {1 / high:.3g}",
            )
        rule = super().bound(config)
        if self.reads_hours:
            self._check_hours(rule.window, config)
        return rule

    def _check_hours(self, window: str | None, config: ModelConfig) -> None:
        field = "below_usual" if self.above_usual is None else "above_usual"
        if window_of_hours(config) is None:
            names = ", ".join(each.name for each in config.windows)
            raise InvalidRule(
                field,
                "what is usual by hour needs a tumbling window that divides an hour; the windows "
                f"of the model: {names}",
            )
        known = {each.name for each in config.windows}
        if window not in known or parse_window(str(window)).size_ms > WEEK_MS:
            raise InvalidRule(
                "window", f'what is usual is known of windows of up to 7 days, not of "{window}"'
            )

    def judge_figures(self, figures: WindowFigures, situation: Situation) -> Judgement:
        """Judge "breach" beyond a level, and "clear" within all of them by the margin."""
        value, ci = figures.metrics.get(_METRIC), figures.ci.get(_METRIC)
        limits = self._limits(figures, situation)
        if value is None or not limits:
            return judgement_of(figures, "unclear")
        low, high = (value, value) if ci is None else ci
        is_part = figures.covered_share < WHOLE_SHARE
        may_be_low = situation.live and not is_part
        broken = [
            limit
            for limit in limits
            if (may_be_low and high < limit.level if limit.is_low else low > limit.level)
        ]
        limit = broken[0] if broken else limits[0]
        verdict: Verdict
        if broken:
            verdict, relation = "breach", limit.text
        elif all(self._is_back(limit, value, situation) for limit in limits):
            verdict = "unclear" if is_part else "clear"
            relation = "again within its limits" if situation.live else "no longer expected"
        else:
            verdict, relation = "within", "near its limits"
        unit = unit_of(_METRIC)
        usual = next((each.usual for each in limits if each.usual is not None), None)
        return msgspec.structs.replace(
            judgement_of(figures, verdict),
            severity=self.severity,
            finding=f"Traffic of {about(figures)} was {figure(value, unit)}{interval(ci, unit)} "
            f"over {span(figures.window_start_ms, figures.window_end_ms)}, {relation}",
            metric=_METRIC,
            value=value,
            threshold=limit.level,
            comparator="<" if limit.is_low else ">",
            n=figures.n_predictions,
            ci=ci,
            details={} if usual is None else {"usual": usual},
        )

    def _is_back(self, limit: _Limit, value: float, situation: Situation) -> bool:
        if limit.is_low:
            return not situation.live or value >= limit.level * (1 + self.margin)
        return value <= limit.level * (1 - self.margin)

    def _limits(self, figures: WindowFigures, situation: Situation) -> list[_Limit]:
        """The levels that are known for a window, the fixed ones first."""
        unit = unit_of(_METRIC)
        limits = [
            _Limit(level, is_low, f"{'below' if is_low else 'above'} {figure(level, unit)}")
            for level, is_low in ((self.above, False), (self.below, True))
            if level is not None
        ]
        start_ms, end_ms = int(figures.window_start_ms), int(figures.window_end_ms)
        hours = situation.hours
        if not self.reads_hours or hours is None:
            return limits
        usual = hours.usual(start_ms, end_ms)
        if usual is None or not usual.median:
            return limits
        seconds = (end_ms - start_ms) / 1000
        rate = usual.median / seconds
        return limits + [
            _Limit(
                times * (usual.low if is_low else usual.high) / seconds,
                is_low,
                f"{'below' if is_low else 'above'} {times:g} times the {figure(rate, unit)} that "
                "are usual at this time of the week",
                rate,
            )
            for times, is_low in ((self.above_usual, False), (self.below_usual, True))
            if times is not None
        ]
