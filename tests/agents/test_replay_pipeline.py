"""The in-process run with the real stages on the sample log: the same bytes for any options."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from driftline.agents.inprocess.replay import ReplaySummary, replay
from driftline.agents.sample_log import write_sample
from driftline.agents.state.rocks import RocksState
from driftline.schemas.config import load_config
from driftline.schemas.settings import Config
from driftline.streams.join import expiry
from tests.agents.stopped_runs import run_through_stops

NOW = 1_900_000_000_000


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path, dict[str, bytes]]:
    """Configuration, log, and the output files of one uninterrupted run."""
    folder = tmp_path_factory.mktemp("sample")
    config_file, log = write_sample(folder)
    config = load_config(config_file)
    run(log, folder / "out", config)
    return config, log, written(folder / "out")


def run(log: Path, out: Path, config: Config, **options: Any) -> ReplaySummary:
    return replay(log, out, config, clock=lambda: NOW, **options)


def written(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.jsonl"))}


def test_the_sample_has_records_in_every_output_topic(
    sample: tuple[Config, Path, dict[str, bytes]],
) -> None:
    _, _, expected = sample
    for topic in (
        "metrics",
        "histograms",
        "drift",
        "alerts",
        "registry-events",
        "registry",
        "registry-effects",
        "reference-profiles",
        "predictions.dlq",
    ):
        assert expected[f"{topic}.jsonl"], topic


@pytest.mark.parametrize(("partitions", "batch"), [(8, 97), (1, 1_000), (2, 313), (7, 2_000)])
def test_output_is_the_same_for_any_partition_count_and_step_size(
    tmp_path: Path, sample: tuple[Config, Path, dict[str, bytes]], partitions: int, batch: int
) -> None:
    config, log, expected = sample
    run(log, tmp_path / "out", config, partitions=partitions, batch=batch)
    assert written(tmp_path / "out") == expected


def test_a_run_stopped_at_many_commits_ends_with_the_same_output(
    tmp_path: Path, sample: tuple[Config, Path, dict[str, bytes]]
) -> None:
    config, log, expected = sample

    def start(draw: Random, reached: Callable[[str], None]) -> None:
        run(log, tmp_path / "out", config, batch=draw.choice([40, 400]), reached=reached)

    run_through_stops(start, seed=11)
    assert written(tmp_path / "out") == expected


def test_a_state_larger_than_its_memory_gives_the_same_output(
    tmp_path: Path, sample: tuple[Config, Path, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, log, expected = sample
    monkeypatch.setitem(RocksState.__init__.__kwdefaults__, "memory_bytes", 20_000)
    run(log, tmp_path / "out", config, batch=200)
    assert written(tmp_path / "out") == expected


def test_entries_that_expire_together_are_deleted_in_slices(
    tmp_path: Path, sample: tuple[Config, Path, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, log, expected = sample
    monkeypatch.setattr(expiry, "MAX_EXPIRED", 1)
    run(log, tmp_path / "out", config, partitions=1, batch=2_000)
    assert written(tmp_path / "out") == expected


def test_following_recorded_registry_events_gives_the_same_output(
    tmp_path: Path, sample: tuple[Config, Path, dict[str, bytes]]
) -> None:
    config, log, expected = sample
    followed = shutil.copytree(log, tmp_path / "log")
    for topic in ("registry-events", "registry-effects", "reference-profiles"):
        (followed / f"{topic}.jsonl").write_bytes(expected[f"{topic}.jsonl"])
    run(followed, tmp_path / "out", config, follow=True, batch=500)
    assert written(tmp_path / "out") == expected
