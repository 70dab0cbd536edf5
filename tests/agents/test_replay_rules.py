"""Rules that are off by default, on the sample log: the same bytes for any options and stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import driftline
from driftline.agents.inprocess.replay import replay
from driftline.agents.sample_log import write_sample
from driftline.schemas.config import load_config
from tests.agents.stopped_runs import run_through_stops

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

[[models.churn.rules]]
type = "page_hinkley"
name = "outcomes"
threshold = 10
clear_after = "12h"
segment = "plan=*"
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
        "outcomes",
        "outcomes",
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

    def start(draw: Random, reached: Callable[[str], None]) -> None:
        run(log, tmp_path / "out", config, batch=draw.choice([40, 400]), reached=reached)

    run_through_stops(start, seed=11)
    assert written(tmp_path / "out") == expected


HOUR_MS, BEGIN_MS = 3_600_000, 1_767_571_200_000  # Monday, 2026-01-05
SIX_WEEKS = {
    "windows": ["1h", "1d", "7d/1d"],
    "maturity": ["1h", "1d"],
    "label_horizon": "1d",
    "park": "1d",
    "positive_label": "yes",
    "threshold": 0.4,
    "rules": [
        {"type": "traffic", "name": "odd", "above_usual": 3, "below_usual": 0.3},
        {"type": "tuning_stagnation", "name": "stuck", "worse_than": 0.8},
        {"type": "composite", "name": "both", "any": ["odd", "stuck"], "not": ["no_data"]},
    ],
}


def six_weeks(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A model whose scores hardly know the truth, with 20 predictions an hour by day and 4 by
    night; in the last week 200 in three hours of Tuesday, and none in six of Wednesday.
    """
    rng, predictions, truths = np.random.default_rng(seed), [], []
    last = 5 * 168
    for hour in range(6 * 168):
        n = int(rng.poisson(20 if hour % 24 < 12 else 4))
        n = 200 if last + 26 <= hour < last + 29 else 0 if last + 48 <= hour < last + 54 else n
        for row in range(n):
            at_ms = BEGIN_MS + hour * HOUR_MS + row * (HOUR_MS // n)
            is_positive = rng.random() < 0.3
            score = float(np.clip(rng.normal(0.55 if is_positive else 0.45, 0.2), 0, 1))
            name = {"prediction_id": f"p{len(truths)}"}
            model = {"model_name": "m", "model_version": "1", "score": round(score, 3)}
            predictions.append(name | model | {"timestamp": at_ms})
            label = "yes" if is_positive else "no"
            truths.append(name | {"timestamp": at_ms + 60_000, "label": label})
    return predictions, truths


@pytest.mark.slow
def test_usual_traffic_and_stagnating_tuning_are_judged_on_what_the_stages_compute() -> None:
    events, told = six_weeks(seed=3), []
    for partitions in (4, 1):
        alerts = driftline.replay(*events, config={"defaults": SIX_WEEKS}, partitions=partitions)
        told.append([dict(alert) for alert in alerts.alerts])
    assert told[0] == told[1]
    # The third evaluation of the tuner; the second hour of each change; 6 h of silence.
    assert [(each["rule"], each["change"], each["at"][:13]) for each in told[0]] == [
        ("stuck", "firing", "2026-01-29T01"),
        ("both", "firing", "2026-01-29T01"),
        ("odd", "firing", "2026-02-10T04"),
        ("both", "joined", "2026-02-10T04"),
        ("odd", "resolved", "2026-02-10T06"),
        ("odd", "firing", "2026-02-11T02"),
        ("no_data", "firing", "2026-02-11T06"),
        ("both", "resolved", "2026-02-11T06"),
        ("odd", "resolved", "2026-02-11T07"),
        ("no_data", "resolved", "2026-02-11T07"),
        ("both", "firing", "2026-02-11T07"),
    ]
