"""What an alert rule is.

A rule is a file of its own in `rules/` with a frozen struct whose tag is its `type` in the
configuration and whose fields are its parameters. It says what it reads and judges one measurement
at a time; how judgements become an alert is `life.py`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig, Window, parse_rung, parse_window
from driftline.schemas.times import DAY_MS, parse_duration
from driftline.streams.decide.alert_lifecycle import Run
from driftline.streams.decide.judgement import (
    Judgement,
    Measurement,
    Situation,
    judgement_of,
    rows_of,
)
from driftline.streams.decide.metric_info import Lane
from driftline.streams.lanes import ALL

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]


class WrongRule(ValueError):
    """A rule that can be read but not carried out; `field` is where in its table."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What all rules have.

    Parameters
    ----------
    name
        Of the alert; one per model. By default the rule's type. A rule with the name of a built-in
        one takes its place.
    segment
        "all", "dimension=value", or "dimension=*" for every value by itself.
    for_
        `for`: how long the breach has to last before the alert fires: a number of windows in a row,
        or a duration that the windows in a row cover together.
    cool_down
        Time after an alert was resolved in which it does not fire again.
    runbook_url
        Goes with the alert.
    """

    name: str = ""
    segment: str = ALL
    for_: int | str = msgspec.field(default=1, name="for")
    cool_down: str = "0s"
    runbook_url: str | None = None

    reads: ClassVar[Literal["metrics", "drift"]] = "metrics"
    judges_performance: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        """The tag."""
        return str(self.__struct_config__.tag)

    def bound(self, config: ModelConfig) -> Self:
        """The rule with everything filled in that depends on the model's settings.

        Raises
        ------
        WrongRule
            If the settings have no such window, rung or segment, or a value makes no sense.
        """
        for field, text in (("cool_down", self.cool_down), ("for", self.for_)):
            try:
                if isinstance(text, str):
                    parse_duration(text)
                elif text < 1:
                    raise ValueError(f"{text} windows in a row; needed at least 1")
            except ValueError as error:
                raise WrongRule(field, str(error)) from error
        dimension, equals, _ = self.segment.partition("=")
        if self.segment != ALL and (not equals or dimension not in config.segments):
            known = ", ".join(f'"{name}=..."' for name in config.segments) or "none"
            raise WrongRule(
                "segment",
                f'"{self.segment}" is neither "all" nor of a dimension that is kept (segments: {known})',
            )
        return msgspec.structs.replace(self, name=self.name or self.kind)

    @property
    def cool_down_ms(self) -> int:
        """`cool_down` in milliseconds."""
        return parse_duration(self.cool_down)

    def applies_to(self, segment: str) -> bool:
        """Whether the rule watches this segment."""
        if self.segment.endswith("=*"):
            return segment.startswith(self.segment[:-1])
        return segment == self.segment

    def held(self, run: Run, end_ms: int) -> bool:
        """Whether a run of windows in breach that lasts to `end_ms` is long enough to fire."""
        if isinstance(self.for_, int):
            return run.windows >= self.for_
        return end_ms - run.since_ms >= parse_duration(self.for_)

    def daily(self) -> tuple[str, ...]:
        """Metrics whose recent daily values the rule wants in its situation."""
        return ()

    def judge(self, seen: Measurement, situation: Situation) -> Judgement:
        """What the rule says about a measurement of what it `reads`."""
        raise NotImplementedError(f"{type(self).__name__} needs a method judge(seen, situation)")


class MetricRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A rule that reads the figures of one window.

    Parameters
    ----------
    window
        Name of a configured window, "since_deployment" or "last_N". By default one that suits the
        rule.
    maturity
        Rung that is judged, in the decisions lane. By default the first one at which, by
        experience, 95 % of the labels are known.
    min_samples
        A window with fewer rows says nothing.
    """

    window: str | None = None
    maturity: str | None = None
    min_samples: Count = 100

    def lane(self) -> Lane:
        """The lane whose windows it reads."""
        raise NotImplementedError(f"{type(self).__name__} needs a method lane()")

    def default_window(self, config: ModelConfig) -> str:
        """Name of the window where the rule names none."""
        raise NotImplementedError(f"{type(self).__name__} needs a method default_window(config)")

    def bound(self, config: ModelConfig) -> Self:
        """As `Rule.bound`; window and maturity under their one name."""
        rule = super().bound(config)
        window = (
            self.default_window(config)
            if self.window is None
            else _known_window(self.window, config)
        )
        return msgspec.structs.replace(
            rule, window=window, maturity=_known_rung(self.maturity, self.lane(), config)
        )

    def rows(self, seen: WindowFigures) -> int:
        """What `min_samples` counts."""
        return rows_of(seen)

    def judge(self, seen: Measurement, situation: Situation) -> Judgement:
        """As `judge_figures`; unclear for fewer than `min_samples` rows."""
        if not isinstance(seen, WindowFigures):
            raise TypeError(f"{self.kind}: reads metrics, got {type(seen).__name__}")
        if self.rows(seen) < self.min_samples:
            return judgement_of(seen, "unclear")
        return self.judge_figures(seen, situation)

    def judge_figures(self, seen: WindowFigures, situation: Situation) -> Judgement:
        """What the rule says about a window with enough rows."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method judge_figures(seen, situation)"
        )


def smallest_window(config: ModelConfig) -> str:
    """The window that tells soonest: the one with the smallest step.

    Stage 2 announces its empty windows.
    """
    return min(config.windows, key=lambda window: (window.step_ms, window.size_ms)).name


def largest_window(config: ModelConfig) -> str:
    """The window that tells most surely."""
    return max(config.windows, key=_size).name


def window_of_a_day(config: ModelConfig) -> str:
    """The largest window of at most a day, or the smallest one."""
    short = [window for window in config.windows if window.size_ms <= DAY_MS]
    return max(short, key=_size).name if short else smallest_window(config)


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
        raise WrongRule("window", str(error)) from error
    if name not in names:
        raise WrongRule(
            "window",
            f'"{text}" is not kept for this model; its windows: {", ".join(names + special)}',
        )
    return name


def _known_rung(text: str | None, lane: Lane, config: ModelConfig) -> str | None:
    if text is None:
        return None
    if lane != "decisions":
        raise WrongRule("maturity", f"the {lane} lane has no maturity; leave it out")
    try:
        name = parse_rung(text).name
    except ValueError as error:
        raise WrongRule("maturity", str(error)) from error
    names = [rung.name for rung in config.maturity]
    if name not in names:
        raise WrongRule(
            "maturity", f'"{text}" is no rung of this model; its ladder: {", ".join(names)}'
        )
    return name
