"""What a live run wrote, through crashes, equals the replay of its exported log: every record that is not provisional."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.sample import write_sample
from tests.kafka.brokers import Names
from tests.kafka.live_run import differences, lines_of, run_live
from tests.simulation import histories

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_sample_through_two_workers_and_three_kills(names: Names, tmp_path: Path) -> None:
    write_sample(tmp_path)
    config = (tmp_path / "driftline.toml").read_text()
    run_live(names, tmp_path / "sample-log", config, tmp_path, kills=3, workers=2, seed=1)
    assert differences(names, tmp_path, config) == {}
    final = [line for line in map(json.loads, lines_of(tmp_path / "export" / "metrics.jsonl")) if line["final"]]
    assert len(final) > 300


@pytest.mark.parametrize("seed", [3, 8])
def test_history_with_every_trouble_through_two_workers_and_kills(names: Names, tmp_path: Path, seed: int) -> None:
    histories.write(tmp_path / "log", seed, everything=True, after_the_end=False)
    config = (tmp_path / "log" / "driftline.toml").read_text()
    run_live(names, tmp_path / "log", config, tmp_path, kills=3, workers=2, seed=seed)
    assert differences(names, tmp_path, config) == {}
