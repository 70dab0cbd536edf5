"""Drawn logs whose features go missing or change their kind: drift records have the shares and the
covered part of windows that the oracle counts row by row.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.oracle.drift import DriftOracle
from tests.oracle.joining import join
from tests.oracle.settings import Settings
from tests.seeds import quick_and_slow
from tests.simulation import runs

HOUR = 3_600_000
BEGIN = 1_767_571_200_000  # 2026-01-05T00:00:00Z
HOURS, PER_HOUR = 96, 40
Records = list[dict[str, Any]]


def write_log(folder: Path, seed: int) -> None:
    """Four days of a model: a second version begins and the first one ends at drawn times, and the
    rates of missing values and other kinds of each feature change at a drawn hour.
    """
    random = Random(seed)
    windows = random.choice((["6h"], ["1d/6h"], ["3h/90m"], ["12h/4h", "1d"]))
    (folder / "driftline.toml").write_text(
        f'[defaults]\nwindows = {json.dumps(windows)}\nmaturity = ["1h"]\nlabel_horizon = "6h"\n'
        'correction_horizon = "1h"\npark = "6h"\nreference = "1d"\nsegments = ["plan"]\n'
        "last_n = []\nsince_deployment = false\n",
        encoding="utf-8",
    )
    rates = {
        name: [random.choice((0.0, 0.0, 0.05, 0.3, 1.0)) for _ in range(4)]
        for name in ("amount", "country", "age")
    }
    changed = {name: random.randrange(26, 80) for name in rates}
    second, first_ends = random.uniform(20, 60), random.uniform(50, HOURS)
    end = random.uniform(72, HOURS)
    predictions = []
    for number in range(HOURS * PER_HOUR):
        hour = number / PER_HOUR
        if hour > end or 30 < hour < 30 + seed % 5:
            continue
        versions = [v for v, runs_ in (("1", hour < first_ends), ("2", hour > second)) if runs_]
        if not versions:
            continue
        features: dict[str, Any] = {}
        for name, of_name in rates.items():
            missing, other = of_name[:2] if hour < changed[name] else of_name[2:]
            is_text = (name == "country") != (random.random() < other * 0.9)
            if random.random() < missing * 0.98:
                features |= random.choice(({}, {name: None}))
            else:
                drawn = random.randrange(1, 90)
                features[name] = f"v{drawn % 7}" if is_text else drawn
        predictions.append(
            {
                "prediction_id": f"p{number}",
                "model_name": "m",
                "model_version": random.choice(versions),
                "timestamp": BEGIN + int(hour * HOUR),
                "prediction": "yes",
                "segment": {"plan": random.choice(("free", "pro"))},
                "features": features,
            }
        )
    for name, events in (("predictions", predictions), ("ground-truth", [])):
        text = "".join(json.dumps(event) + "\n" for event in events)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def run(folder: Path, seed: int, *, partitions: int) -> tuple[Records, DriftOracle]:
    folder.mkdir()
    write_log(folder, seed)
    runs.run(folder, folder / "out", partitions=partitions, batch=1_000)
    settings = Settings.from_toml((folder / "driftline.toml").read_text(encoding="utf-8"))
    joined = join(folder, settings, partitions=partitions, now=time.time_ns() // 1_000_000)
    lines = (folder / "out" / "drift.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines], DriftOracle(joined, settings)


@pytest.mark.parametrize("seed", quick_and_slow(range(20), 4))
def test_shares_and_covered_part_are_those_of_the_oracle(tmp_path: Path, seed: int) -> None:
    records, oracle = run(tmp_path / "log", seed, partitions=1 + seed % 3)
    assert oracle.differences(records) == [], f"seed {seed}"
    assert any(record["level"] != "insufficient_data" for record in records), f"seed {seed}"


def other_share(records: Records) -> None:
    judged(records, "missing")["details"]["missing_share"] += 0.001


def other_statistic(records: Records) -> None:
    judged(records, "missing")["statistic"] += 0.001


def lost_result(records: Records) -> None:
    records.remove(judged(records, "missing"))


def lost_kind(records: Records) -> None:
    records.remove(judged(records, "kind"))


def other_rows(records: Records) -> None:
    judged(records, "kind")["n_current"] -= 1


def all_covered(records: Records) -> None:
    next(record for record in records if 0 < record["covered_share"] < 1)["covered_share"] = 1.0


def verdict_on_a_part(records: Records) -> None:
    next(record for record in records if record["covered_share"] < 0.9)["level"] = "severe"


def judged(records: Records, method: str) -> dict[str, Any]:
    return next(r for r in records if r["method"] == method and r["statistic"] is not None)


def test_faults_that_are_planted_are_found(tmp_path: Path) -> None:
    records, oracle = run(tmp_path / "log", 1, partitions=2)
    faults: tuple[Callable[[Records], None], ...] = (
        other_share,
        other_statistic,
        lost_result,
        lost_kind,
        other_rows,
        all_covered,
        verdict_on_a_part,
    )
    text = json.dumps(records)
    for fault in faults:
        wrong = json.loads(text)
        fault(wrong)
        assert oracle.differences(wrong), fault.__name__
