"""Base classes of the alert rules.

A rule is a file of its own in `rules/` with a frozen struct whose tag is its `type` in the
configuration and whose fields are its parameters. It declares what it reads and judges one
measurement at a time; `alert_lifecycle.py` turns judgements into alerts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec

from driftline.schemas.reports import DIMENSIONS
from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig, Window, parse_rung, parse_window
from driftline.schemas.times import DAY_MS, HOUR_MS, parse_duration
from driftline.streams.decide.alert_lifecycle import Run
from driftline.streams.decide.detectors.rate_history import RateHistory
from driftline.streams.decide.false_alarm_budget import part_of
from driftline.streams.decide.judgement import (
    Judgement,
    Measurement,
    Severity,
    Situation,
    judgement_of,
    rows_of,
)
from driftline.streams.decide.level_change import LevelChange
from driftline.streams.decide.metric_info import Lane
from driftline.streams.lanes import ALL

Reads = Literal["metrics", "drift", "alerts", "tuning", "outcomes", "workers", "jobs"]
"""What a rule may judge."""
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]


class InvalidRule(ValueError):
    """A rule with a value that makes no sense for the model; `field` is its key in the table."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Parameters that all rules have.

    Parameters
    ----------
    name
        Name of the alert, unique in a model; the type of the rule by default. A rule with the name
        of a default rule replaces it.
    segment
        "all", "dimension=value", or "dimension=*" for each value separately.
    for_
        `for`: how long a breach lasts before the alert fires: a number of consecutive windows, or a
        duration that consecutive windows cover together.
    cool_down
        Time after an alert was resolved in which it does not fire again.
    runbook_url
        Copied into the alert.
    """

    name: str = ""
    segment: str = ALL
    for_: int | str = msgspec.field(default=1, name="for")
    cool_down: str = "0s"
    runbook_url: str | None = None

    reads: ClassVar[Reads] = "metrics"
    judges_performance: ClassVar[bool] = False
    """Whether a breach of the rule means that performance has moved."""
    accepts: ClassVar[bool] = False
    """Whether a person may accept the level of an alert as a new baseline."""
    reads_labels: ClassVar[bool] = False
    """Whether the rule reads `Situation.label_feed`."""
    concerns: ClassVar[Literal["behavior", "supply", "service", "alerts"]] = "behavior"
    """What its alerts are about: how a model behaves, whether predictions and labels come, how it
    is served, or other alerts.
    """

    grades: ClassVar[Mapping[Severity, str]] = {}
    """By severity, the less severe first, the field that has its level, for rules whose levels
    ascend with the severity.
    """
    clear_field: ClassVar[str] = "clear"
    """The field that has the level at which an alert of such a rule resolves."""

    @property
    def kind(self) -> str:
        """The rule's type."""
        return str(self.__struct_config__.tag)

    @property
    def reads_hours(self) -> bool:
        """Whether the rule reads `Situation.hours`."""
        return False

    def bound(self, config: ModelConfig) -> Self:
        """The rule with the defaults that depend on the model's settings filled in.

        Raises
        ------
        InvalidRule
            If the model has no such window, rung or segment, a value is out of range, or the levels
            of `grades` do not ascend.
        """
        for field, text in (("cool_down", self.cool_down), ("for", self.for_)):
            try:
                if isinstance(text, str):
                    parse_duration(text)
                elif text < 1:
                    raise ValueError(f"{text} windows in a row; needed at least 1")
            except ValueError as error:
                raise InvalidRule(field, str(error)) from error
        graded = [self.clear_field, *self.grades.values()] if self.grades else []
        levels = {field: level for field in graded if (level := getattr(self, field)) is not None}
        if list(levels.values()) != sorted(levels.values()):
            named = [f"{field} {level}" for field, level in levels.items()]
            raise InvalidRule(
                next(iter(self.grades.values())),
                f"{', '.join(named[:-1])} and {named[-1]} have to ascend",
            )
        dimension, equals, _ = self.segment.partition("=")
        about = DIMENSIONS.get(config.subject)
        dimensions = config.segments if about is None else (about,)
        if self.segment != ALL and (not equals or dimension not in dimensions):
            known = ", ".join(f'"{name}=..."' for name in dimensions) or "none"
            raise InvalidRule(
                "segment",
                f'"{self.segment}" is neither "all" nor of a dimension that is kept '
                f"(segments: {known})",
            )
        part = {}
        if "false_alarms" in self.__struct_fields__ and self.budget is None:
            part["false_alarms"] = part_of(self.kind, config)
        return msgspec.structs.replace(self, name=self.name or self.kind, **part)

    @property
    def budget(self) -> float | None:
        """Mean number of false alarms a year that the bound rule may have, over all segments; None
        for a rule without such a budget.
        """
        budget: float | None = getattr(self, "false_alarms", None)
        return budget

    def check_beside(self, rules: Mapping[str, Rule]) -> None:
        """Check the bound rule beside all rules of the model, by name.

        Raises
        ------
        InvalidRule
            If it names one that it cannot read.
        """

    def may_share_cause(self, other: Rule) -> bool:
        """Whether an alert of this rule may join the group of one of the other rule
        (`alert_groups.py`).
        """
        return self.concerns == other.concerns

    @property
    def cool_down_ms(self) -> int:
        """`cool_down` in milliseconds."""
        return parse_duration(self.cool_down)

    def applies_to(self, segment: str) -> bool:
        """Whether the rule judges this segment."""
        if self.segment.endswith("=*"):
            return segment.startswith(self.segment[:-1])
        return segment == self.segment

    def is_long_enough(self, run: Run, end_ms: int) -> bool:
        """Whether a run of windows in breach that lasts to `end_ms` makes the alert fire."""
        if isinstance(self.for_, int):
            return run.windows >= self.for_
        return end_ms - run.since_ms >= parse_duration(self.for_)

    def level_values(self, change: LevelChange) -> dict[str, Any]:
        """By key of the rule's table, the values that a command sets; None takes a value away.

        Raises
        ------
        InvalidRule
            If the rule has no such level.
        """
        values: dict[str, Any] = {}
        if change.below is not None:
            raise InvalidRule(
                "below", f"a rule of type {self.kind} has no level below which it fires"
            )
        if not self.grades and (change.above, change.clear) != (None, None):
            raise InvalidRule(
                "above",
                f"a rule of type {self.kind} has no level that a command can set; change the "
                "configuration",
            )
        if change.above is not None:
            mildest = next(iter(self.grades))
            severity = mildest if change.severity is None else change.severity
            if severity not in self.grades:
                raise InvalidRule(
                    "severity",
                    f"a rule of type {self.kind} has the levels {', '.join(self.grades)}",
                )
            values[self.grades[severity]] = change.above
        elif change.severity is not None and not self.grades:
            values["severity"] = change.severity
        elif change.severity is not None:
            raise InvalidRule("severity", "says which level is set; name the level too (above)")
        if change.clear is not None:
            values[self.clear_field] = change.clear
        return values

    def daily(self) -> tuple[str, ...]:
        """Metrics whose recent daily values the rule reads from its situation."""
        return ()

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """Judge a measurement of the kind that the rule `reads`."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method judge(measurement, situation)"
        )


class MetricRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A rule that reads the figures of one window.

    Parameters
    ----------
    window
        Name of a configured window, "since_deployment" or "last_N". The default is the rule's; of
        several, the smallest that usually holds `min_samples` rows (`fitting_window.py`).
    maturity
        Rung that is judged, in the decisions lane; by default the first one at which 95 % of the
        labels have been known so far.
    min_samples
        Least number of rows of a window that is judged.
    """

    window: str | None = None
    maturity: str | None = None
    min_samples: Count = 100

    def lane(self) -> Lane:
        """The lane that the rule reads."""
        raise NotImplementedError(f"{type(self).__name__} needs a method lane()")

    def default_window(self, config: ModelConfig) -> str | None:
        """Name of the default window; None if the model has none that the rule can read."""
        raise NotImplementedError(f"{type(self).__name__} needs a method default_window(config)")

    def default_windows(self, config: ModelConfig) -> tuple[str, ...]:
        """Names of the windows of which the rule reads the smallest that usually holds enough rows,
        the smallest first; the default window alone, if the rule has no choice.
        """
        window = self.default_window(config)
        return () if window is None else (window,)

    def windows(self, config: ModelConfig) -> tuple[str, ...]:
        """Names of the windows that the bound rule may read, the smallest first."""
        return self.default_windows(config) if self.window is None else (self.window,)

    def bound(self, config: ModelConfig) -> Self:
        """As `Rule.bound`; window and maturity under their canonical names. The window stays None
        where the rule has a choice.
        """
        rule = super().bound(config)
        if self.window is None:
            windows = self.default_windows(config)
            window = windows[0] if len(windows) == 1 else None
        else:
            window = _known_window(self.window, config)
        return msgspec.structs.replace(
            rule, window=window, maturity=_known_rung(self.maturity, self.lane(), config)
        )

    def rows(self, figures: WindowFigures) -> int:
        """Number of rows to compare with `min_samples`."""
        return rows_of(figures)

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """As `judge_figures`; "unclear" for fewer than `min_samples` rows."""
        if not isinstance(measurement, WindowFigures):
            raise TypeError(f"{self.kind}: reads metrics, got {type(measurement).__name__}")
        if self.rows(measurement) < self.min_samples:
            return judgement_of(measurement, "unclear")
        return self.judge_figures(measurement, situation)

    def alert_line(
        self,
        metric: str,
        value: float,
        ci: tuple[float, float] | None,
        usual: tuple[float, float] | None,
    ) -> float | None:
        """The value of a metric beyond which a window like this one is a breach of the mildest
        level; None where the rule has no such line: it reads another metric, or gathers evidence
        over windows.

        Parameters
        ----------
        value, ci
            Of the window.
        usual
            Baseline, and half of the usual range around it; None without a baseline.
        """
        return None

    def judge_figures(self, figures: WindowFigures, situation: Situation) -> Judgement:
        """Judge a window with enough rows."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method judge_figures(figures, situation)"
        )


class SequentialRule(
    MetricRule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """A rule that gathers evidence: it keeps a history of each series, and reads every window of
    its kind, however few rows it has.
    """

    min_samples: Count = 0

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """Judge one window without any before it."""
        if not isinstance(measurement, WindowFigures):
            raise TypeError(f"{self.kind}: reads metrics, got {type(measurement).__name__}")
        _, judged = self.judge_next(measurement, situation, RateHistory())
        return judged or judgement_of(measurement, "unclear")

    def judge_next(
        self, figures: WindowFigures, situation: Situation, history: RateHistory
    ) -> tuple[RateHistory, Judgement | None]:
        """The history with these figures, and a judgement; None if it is not yet time for one."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method judge_next(figures, situation, history)"
        )

    def accepted(self, history: RateHistory) -> RateHistory:
        """The history after a person accepted the level since the open change."""
        raise NotImplementedError(f"{type(self).__name__} needs a method accepted(history)")


def step_of(window: str, config: ModelConfig) -> int | None:
    """Distance from window to window in ms; None for one that is not configured."""
    return next((each.step_ms for each in config.windows if each.name == window), None)


def windows_by_size(config: ModelConfig) -> tuple[str, ...]:
    """All windows, the smallest first."""
    return tuple(window.name for window in sorted(config.windows, key=_size))


def windows_from_a_day(config: ModelConfig) -> tuple[str, ...]:
    """The window of a day and all larger ones, the smallest first."""
    names = windows_by_size(config)
    return names[names.index(window_of_a_day(config)) :]


def smallest_window(config: ModelConfig) -> str:
    """The window with the smallest step; stage 2 announces its empty windows too."""
    return min(config.windows, key=lambda window: (window.step_ms, window.size_ms)).name


def largest_window(config: ModelConfig) -> str:
    """The window with the most rows."""
    return max(config.windows, key=_size).name


def window_of_a_day(config: ModelConfig) -> str:
    """The largest window of at most a day, or the smallest one."""
    short = [window for window in config.windows if window.size_ms <= DAY_MS]
    return max(short, key=_size).name if short else smallest_window(config)


def smallest_tumbling_window(config: ModelConfig) -> str | None:
    """The smallest window that overlaps with no other of its kind; None without one."""
    tumbling = [window for window in config.windows if window.size_ms == window.step_ms]
    return min(tumbling, key=_size).name if tumbling else None


def tumbling_window_of_a_day(config: ModelConfig) -> str | None:
    """The largest tumbling window that divides a day, or the smallest tumbling one; None without
    tumbling windows.
    """
    tumbling = [window for window in config.windows if window.size_ms == window.step_ms]
    parts = [window for window in tumbling if DAY_MS % window.size_ms == 0]
    return max(parts, key=_size).name if parts else smallest_tumbling_window(config)


def window_of_hours(config: ModelConfig) -> str | None:
    """The largest tumbling window that divides an hour; None without one."""
    windows = [
        window
        for window in config.windows
        if window.size_ms == window.step_ms and HOUR_MS % window.size_ms == 0
    ]
    return max(windows, key=_size).name if windows else None


def _size(window: Window) -> tuple[int, int]:
    return window.size_ms, -window.step_ms


def _known_window(text: str, config: ModelConfig) -> str:
    names = [window.name for window in config.windows]
    special = [f"last_{n}" for n in config.last_n] + (
        ["since_deployment"] if config.since_deployment else []
    )
    if text in special:
        return text
    try:
        name = parse_window(text).name
    except ValueError as error:
        raise InvalidRule("window", str(error)) from error
    if name not in names:
        raise InvalidRule(
            "window",
            f'"{text}" is not kept for this model; its windows: {", ".join(names + special)}',
        )
    return name


def _known_rung(text: str | None, lane: Lane, config: ModelConfig) -> str | None:
    if text is None:
        return None
    if lane != "decisions":
        raise InvalidRule("maturity", f"the {lane} lane has no maturity; leave it out")
    try:
        name = parse_rung(text).name
    except ValueError as error:
        raise InvalidRule("maturity", str(error)) from error
    names = [rung.name for rung in config.maturity]
    if name not in names:
        raise InvalidRule(
            "maturity", f'"{text}" is not a rung of this model; its ladder: {", ".join(names)}'
        )
    return name
