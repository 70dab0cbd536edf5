"""Reading the open windows at random moments changes no byte of the output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from driftline.agents.inprocess.replay import Stages, replay
from driftline.schemas.config import load_config
from driftline.schemas.results import WindowFigures
from driftline.streams import pipeline
from driftline.streams.measure.counts.labels import LabelReport
from driftline.streams.stage import Record
from tests.simulation import runs
from tests.simulation.histories import write


class ReadAtRandom:
    """Stages 2 to 4 whose open windows are read before and after any of their calls."""

    def __init__(self, stages: pipeline.Downstream, random: Random, shown: list[Record]) -> None:
        self._stages, self._random, self._shown = stages, random, shown

    def read(self) -> None:
        if self._random.random() < 0.2:
            self._shown += self._stages.provisional()

    def merge(self, partials: Sequence[Any], /) -> None:
        self.read()
        self._stages.merge(partials)
        self.read()

    def due_after_quiet(self, command_ms: int | None, /) -> int | None:
        self.read()
        return self._stages.due_after_quiet(command_ms)

    def next_ms(self) -> int:
        return self._stages.next_ms()

    def advance(self, commands: Sequence[Record], decided: Sequence[Record], /) -> list[Record]:
        self.read()
        return self._stages.advance(commands, decided)

    def label_reports(self) -> list[LabelReport]:
        return self._stages.label_reports()

    def finish(self, commands: Sequence[Record], decided: Sequence[Record], /) -> list[Record]:
        return self._stages.finish(commands, decided)


@pytest.mark.parametrize("seed", [400, 401, 403, 405])
def test_reading_open_windows_at_random_moments_changes_no_byte(tmp_path: Path, seed: int) -> None:
    log, random = tmp_path / "log", Random(seed)
    write(log, seed, everything=True)
    config, partitions, batch = (
        load_config(log / "driftline.toml"),
        random.choice((1, 4, 7)),
        random.randint(5, 60),
    )
    shown: list[Record] = []
    stages = Stages(
        [pipeline.Upstream(config, partition, partitions) for partition in range(partitions)],
        lambda states: ReadAtRandom(
            pipeline.Downstream(config, states, provisional=True), random, shown
        ),
    )
    replay(
        log,
        tmp_path / "read",
        config,
        partitions=partitions,
        batch=batch,
        keep_order=True,
        stages=stages,
    )
    runs.run(log, tmp_path / "unread", partitions=partitions, batch=batch)
    assert runs.outputs(tmp_path / "read") == runs.outputs(tmp_path / "unread"), f"history {seed}"
    assert all(
        isinstance(record.value, WindowFigures) and record.value.provisional for record in shown
    )
    assert shown or not (tmp_path / "unread" / "metrics.jsonl").stat().st_size
