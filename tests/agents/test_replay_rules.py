"""Rules that are off by default, on the sample log: the same bytes for any options and stops."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.agents.sample_log import write_sample
from driftline.schemas.config import load_config

RULES = """
[[models.churn.rules]]
type = "threshold"
name = "f1_now"
metric = "f1"
window = "6h"
maturity = "1h"
below = 0.80
min_samples = 50

[[models.churn.rules]]
type = "traffic"
name = "too_busy"
above = 0.009                          # 1,000 a day are 0.0116 a second
window = "6h"
for = 1

[[models.churn.rules]]
type = "traffic"
name = "too_quiet"
below = 0.02
segment = "plan=*"
window = "6h"
for = 1

[[models.churn.rules]]
type = "composite"
name = "busy_and_wrong"
all = ["too_busy", "f1_now"]
not = ["no_labels"]
for = "3h"
severity = "critical"

[[models.churn.rules]]
type = "composite"
name = "anything"
any = ["busy_and_wrong", "too_quiet", "f1_low"]
"""
NOW = 1_900_000_000_000
Sample = tuple[Path, Path, dict[str, bytes]]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Configuration, log, and the output files of one uninterrupted run."""
    folder = tmp_path_factory.mktemp("rules")
    config_file, log = write_sample(folder)
    config_file.write_text(config_file.read_text(encoding="utf-8") + RULES, encoding="utf-8")
    run(log, folder / "out", config_file)
    return config_file, log, written(folder / "out")


def run(log: Path, out: Path, config: Path, **options: Any) -> None:
    replay(log, out, load_config(config), clock=lambda: NOW, **options)


def written(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.jsonl"))}


def test_each_of_the_rules_fires_and_a_composite_after_its_parts(sample: Sample) -> None:
    alerts = list(map(json.loads, sample[2]["alerts.jsonl"].splitlines()))
    fired = [alert["rule"] for alert in alerts if alert["change"] == "firing"]
    assert fired == [
        "too_busy",
        "too_quiet",
        "too_quiet",
        "anything",
        "f1_now",
        "busy_and_wrong",
        "f1_low",
    ]
    joined = [alert["details"]["joined"] for alert in alerts if alert["change"] == "joined"]
    assert joined == [["busy_and_wrong"], ["f1_low"]]


@pytest.mark.parametrize(("partitions", "batch"), [(1, 1_000), (7, 313)])
def test_output_is_the_same_for_any_partition_count_and_step_size(
    tmp_path: Path, sample: Sample, partitions: int, batch: int
) -> None:
    config, log, expected = sample
    run(log, tmp_path / "out", config, partitions=partitions, batch=batch)
    assert written(tmp_path / "out") == expected


def test_a_run_stopped_at_many_commits_ends_with_the_same_output(
    tmp_path: Path, sample: Sample
) -> None:
    config, log, expected = sample
    draw, stops = random.Random(11), 0

    class Stop(Exception):
        pass

    def reached(point: str) -> None:
        nonlocal stops
        if draw.random() < 0.15:
            stops += 1
            raise Stop(point)

    while True:
        try:
            run(log, tmp_path / "out", config, batch=draw.choice([40, 400]), reached=reached)
            break
        except Stop:
            continue
    assert stops > 10
    assert written(tmp_path / "out") == expected
