"""Runs of the whole pipeline over a history, undisturbed and in processes that are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from driftline.agents.inprocess.replay import Stages, replay
from driftline.schemas.config import load_config
from driftline.schemas.settings import Config
from driftline.streams import pipeline
from driftline.streams.measure.counts.labels import LabelReport
from driftline.streams.stage import Batch, Record, State
from tests.forks import FORKS


def run(
    log: Path, out: Path, *, partitions: int, batch: int, action: Callable[[], None] | None = None
) -> None:
    """Replay `log` into `out`; `action` is called before each action of the driver, and twice
    around each commit.
    """
    config = load_config(log / "driftline.toml")
    if action is None:
        replay(log, out, config, partitions=partitions, batch=batch, keep_order=True)
    else:
        stages = _interrupted(config, partitions, action)
        replay(
            log,
            out,
            config,
            partitions=partitions,
            batch=batch,
            keep_order=True,
            stages=stages,
            reached=lambda point: action(),
        )


def count_actions(log: Path, out: Path, *, partitions: int, batch: int) -> int:
    """Number of actions of an undisturbed run."""
    actions: list[None] = []
    run(log, out, partitions=partitions, batch=batch, action=lambda: actions.append(None))
    return len(actions)


def run_until_killed(log: Path, out: Path, *, partitions: int, batch: int, at: int) -> bool:
    """Run in a process that is killed with SIGKILL at action number `at`, from 1; False if the run
    ended before.
    """
    child = FORKS.Process(target=_run_and_die, args=(log, out, partitions, batch, at))
    child.start()
    child.join()
    if child.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the run over {log} into {out} ended with exit code {child.exitcode}")
    return child.exitcode != 0


def run_killed_after(log: Path, out: Path, *, partitions: int, batch: int, seconds: float) -> bool:
    """Run in a process that is killed after `seconds`; False if the run ended before."""
    child = FORKS.Process(
        target=run, args=(log, out), kwargs={"partitions": partitions, "batch": batch}
    )
    child.start()
    child.join(timeout=seconds)
    child.kill()
    child.join()
    return child.exitcode != 0


def outputs(out: Path) -> dict[str, bytes]:
    """Bytes of each output file."""
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.jsonl"))}


def _run_and_die(log: Path, out: Path, partitions: int, batch: int, at: int) -> None:
    left = at

    def action() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    run(log, out, partitions=partitions, batch=batch, action=action)


def _interrupted(config: Config, partitions: int, action: Callable[[], None]) -> Stages:
    upstream = [
        _InterruptedUpstream(pipeline.Upstream(config, partition, partitions), action)
        for partition in range(partitions)
    ]
    return Stages(
        upstream, lambda states: _InterruptedDownstream(pipeline.Downstream(config, states), action)
    )


class _InterruptedUpstream:
    """Stage 1 with an action before each batch."""

    def __init__(self, upstream: pipeline.Upstream, action: Callable[[], None]) -> None:
        self._upstream, self._action = upstream, action

    def process(self, batch: Batch, state: State, /) -> pipeline.UpstreamResult:
        self._action()
        return self._upstream.process(batch, state)


class _InterruptedDownstream:
    """Stages 2 to 4 with an action before each call that changes something."""

    def __init__(self, stages: pipeline.Downstream, action: Callable[[], None]) -> None:
        self._stages, self._action = stages, action

    def merge(self, partials: Sequence[Any], /) -> None:
        self._action()
        self._stages.merge(partials)

    def due_after_quiet(self, command_ms: int | None, /) -> int | None:
        return self._stages.due_after_quiet(command_ms)

    def next_ms(self) -> int:
        return self._stages.next_ms()

    def label_reports(self) -> list[LabelReport]:
        return self._stages.label_reports()

    def advance(self, commands: Sequence[Record], decided: Sequence[Record], /) -> list[Record]:
        self._action()
        return self._stages.advance(commands, decided)

    def finish(self, commands: Sequence[Record], decided: Sequence[Record], /) -> list[Record]:
        self._action()
        return self._stages.finish(commands, decided)
