"""Detectors on single outcomes read them in one order, whatever the partitions and batches."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from tests.simulation import runs
from tests.simulation.histories import write

# Histories with a rule that reads outcomes, and with detections.
SEEDS = (301, 305, 307)


@pytest.mark.parametrize("seed", SEEDS)
def test_detections_do_not_depend_on_partitions_and_batches(tmp_path: Path, seed: int) -> None:
    random, log = Random(seed), tmp_path / "log"
    write(log, seed, late=False, everything=True)
    found = []
    for partitions in (1, 2, 7):
        out = tmp_path / f"out-{partitions}"
        runs.run(log, out, partitions=partitions, batch=random.randint(5, 200))
        lines = map(json.loads, (out / "alerts.jsonl").read_bytes().splitlines())
        found.append([alert for alert in lines if alert["rule"] == "outcomes"])
    assert found[0], f"history {seed} has no detection"
    assert found[1] == found[0]
    assert found[2] == found[0]
