"""Stage 1 alone over a recorded log, run by the in-process driver: sum of its partials by pane."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from driftline.agents.inprocess.replay import Stages, replay
from driftline.schemas.config import load_config
from driftline.streams.lanes import (
    CELLS,
    COUNT,
    COUNTERS,
    LANE_NAMES,
    PREDICTED_NEGATIVE,
    PREDICTED_POSITIVE,
)
from driftline.streams.measure.counts.labels import LabelReport
from driftline.streams.partial import Partial
from driftline.streams.pipeline import Upstream
from tests.oracle.figures import NEGATIVE, POSITIVE, Figure, Place
from tests.oracle.settings import Settings

BY_SCORE = {PREDICTED_POSITIVE: POSITIVE, PREDICTED_NEGATIVE: NEGATIVE}


class Sum:
    """Replacement of stages 2 to 4 that adds partials up and emits nothing."""

    def __init__(self) -> None:
        self.partials: list[Partial] = []

    def merge(self, partials: Sequence[Any]) -> None:
        self.partials += [partial for partial in partials if isinstance(partial, Partial)]

    def due_after_quiet(self, command_ms: int | None) -> None:
        return None

    def next_ms(self) -> int:
        return 0

    def advance(self, commands: Sequence[Any], decided: Sequence[Any]) -> list[Any]:
        return []

    def label_reports(self) -> list[LabelReport]:
        return []

    def finish(self, commands: Sequence[Any], decided: Sequence[Any]) -> list[Any]:
        return []

    def figures(self, settings: Settings) -> dict[Place, Figure]:
        """Counts by pane; in the decisions lane cumulated over the rungs."""
        figures: dict[Place, Figure] = {}
        for partial in self.partials:
            columns = (
                partial.counts[name].tolist()
                for name in ("lane", "pane", "series", "rung", "measure", "a", "b", "count")
            )
            for lane, pane, series, rung, measure, a, b, amount in zip(*columns, strict=True):
                ladder = [name for name, _ in settings.of(partial.series[series][0]).rungs]
                for name in ladder[rung:] if LANE_NAMES[lane] == "decisions" else ["-"]:
                    place = Place(*partial.series[series], LANE_NAMES[lane], "pane", name, pane)
                    figure = figures.setdefault(place, Figure())
                    if measure == COUNT:
                        figure.counts[COUNTERS[b]] += amount
                    elif measure == CELLS:
                        figure.cells[partial.labels[a], BY_SCORE.get(b) or partial.labels[b]] += (
                            amount
                        )
        return figures


def run(log: Path, out: Path, *, partitions: int, batch: int) -> dict[Place, Figure]:
    """Counts of stage 1 over the log, by pane."""
    config = load_config(log / "driftline.toml")
    total = Sum()
    stages = Stages(
        [Upstream(config, partition, partitions) for partition in range(partitions)],
        lambda states: total,
    )
    replay(log, out, config, partitions=partitions, batch=batch, keep_order=True, stages=stages)
    return total.figures(Settings.from_toml((log / "driftline.toml").read_text(encoding="utf-8")))
