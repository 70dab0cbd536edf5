"""Settings of the oracle, from the text of `driftline.toml`, with durations in milliseconds."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import gcd
from typing import Any

SECOND, MINUTE, HOUR, DAY, WEEK = 1_000, 60_000, 3_600_000, 86_400_000, 604_800_000
UNITS = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}


def duration(text: str) -> int:
    """Milliseconds of "90s", "10m", "6h", "30d"."""
    number = text.rstrip("msdhw")
    return int(number) * UNITS[text[len(number) :]]


def name_of(ms: int) -> str:
    """The duration in its largest exact unit up to days: "1d", never "24h"."""
    units = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1}
    return next(f"{ms // size}{unit}" for unit, size in units.items() if ms % size == 0)


@dataclass(frozen=True)
class ModelSettings:
    """Settings of one model; durations as texts of the file."""

    windows: tuple[str, ...] = ("1h", "1d", "7d/1d")
    label_horizon: str = "30d"
    correction_horizon: str = "7d"
    maturity: tuple[str, ...] = ("1h", "6h", "1d", "3d", "7d")
    segments: tuple[str, ...] = ()
    positive_label: str | None = None
    labels: tuple[str, ...] | None = None
    threshold: float = 0.5

    @cached_property
    def rungs(self) -> list[tuple[str, int]]:
        """Name and length of each rung of the ladder; the label horizon is the last one."""
        horizon = duration(self.label_horizon)
        below = sorted(ms for ms in map(duration, self.maturity) if ms < horizon)
        return [(name_of(ms), ms) for ms in (*below, horizon)]

    def rungs_of(self, size: int) -> list[tuple[str, int]]:
        """The rungs at which a window is emitted: for windows below 1 hour, those up to the first
        rung of at least 1 hour.
        """
        if size >= HOUR:
            return self.rungs
        short = [rung for rung in self.rungs if rung[1] < HOUR]
        return self.rungs[: len(short) + 1]

    @cached_property
    def window_sizes(self) -> list[tuple[str, int, int]]:
        """Name, size and step of each window."""
        sized = []
        for name in self.windows:
            size, _, step = name.partition("/")
            canonical = name_of(duration(size)) + (
                f"/{name_of(duration(step))}" if step and duration(step) != duration(size) else ""
            )
            sized.append((canonical, duration(size), duration(step or size)))
        return sized

    @cached_property
    def smallest_window(self) -> tuple[str, int, int]:
        """Name, size and step of the window with the smallest step."""
        return min(self.window_sizes, key=lambda sized: (sized[2], sized[1]))

    @cached_property
    def histogram_window(self) -> str:
        """Name of the window with score histograms: the smallest of at least a day that does not
        slide, otherwise the longest.
        """
        days = [(size, name) for name, size, step in self.window_sizes if DAY <= size == step]
        longest = max(self.window_sizes, key=lambda sized: sized[1])[0]
        return min(days)[1] if days else longest

    @cached_property
    def unit(self) -> int:
        """The longest time of which all window sizes and steps are multiples."""
        return gcd(*(ms for _, size, step in self.window_sizes for ms in (size, step)))

    @cached_property
    def horizons(self) -> tuple[int, int]:
        """Label horizon and correction horizon."""
        return duration(self.label_horizon), duration(self.correction_horizon)


@dataclass(frozen=True)
class Settings:
    """Settings of the stream and of its models."""

    prediction_grace: int = MINUTE
    truth_grace: int = 10 * MINUTE
    park: int = 30 * DAY
    defaults: ModelSettings = ModelSettings()
    models: dict[str, ModelSettings] = field(default_factory=dict)

    def of(self, model: str) -> ModelSettings:
        return self.models.get(model, self.defaults)

    def horizons(self, model: str) -> tuple[int, int]:
        """Label horizon and correction horizon."""
        return self.of(model).horizons

    @cached_property
    def pane(self) -> int:
        """The greatest length of whole minutes, at most an hour, of which every window size and
        step is a multiple.
        """
        models = (self.defaults, *self.models.values())
        common = gcd(*(model.unit for model in models))
        return max(minutes * MINUTE for minutes in range(1, 61) if common % (minutes * MINUTE) == 0)

    def end_of_time(self, last: int) -> int:
        """Event time up to which windows are announced after a log that ended at `last`: every
        entry has expired, and the windows of that time are over.
        """
        models = (self.defaults, *self.models.values())
        horizons = [max(each) for each in zip(*(model.horizons for model in models), strict=True)]
        window = max(size + step for model in models for _, size, step in model.window_sizes)
        return last + max(self.park, sum(horizons)) + window + 2 * self.pane

    @classmethod
    def from_toml(cls, text: str) -> Settings:
        tables = tomllib.loads(text)
        shared = {**tables.get("run", {}), **tables.get("defaults", {})}
        defaults = _model(ModelSettings(), shared)
        return cls(
            prediction_grace=duration(shared.get("prediction_grace", "1m")),
            truth_grace=duration(shared.get("truth_grace", "10m")),
            park=duration(shared.get("park", "30d")),
            defaults=defaults,
            models={
                name: _model(defaults, table) for name, table in tables.get("models", {}).items()
            },
        )


def _model(base: ModelSettings, table: dict[str, Any]) -> ModelSettings:
    values = {f.name: table.get(f.name, getattr(base, f.name)) for f in fields(ModelSettings)}
    return ModelSettings(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
    )
