"""The ideal of the benchmark counts the same as the pipeline, so that the comparison is fair."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

from tests.bench import jobs
from tests.bench.ideal import Cells, Ideal
from tests.oracle.figures import count
from tests.oracle.joining import join
from tests.oracle.settings import MINUTE, Settings


def test_ideal_of_the_benchmark_has_the_counts_of_the_oracle(tmp_path: Path) -> None:
    jobs.write(tmp_path, "plain", 3_000)
    settings = Settings.from_toml((tmp_path / "driftline.toml").read_text(encoding="utf-8"))
    figures = count(
        join(tmp_path, settings, partitions=jobs.PARTITIONS, now=time.time_ns() // 1_000_000),
        settings,
    )
    predictions: Counter[tuple[str, str, int]] = Counter()
    cells: Cells = Counter()
    expired = 0
    for place, figure in figures.items():
        if place.lane == "decisions":
            predictions[place.model, place.version, place.start] += figure.counts["predictions"]
            for (actual, predicted), n in figure.cells.items():
                cells[place.model, place.version, place.start, actual, predicted] += n
        expired += figure.counts["expired"]
    ideal = Ideal(5 * MINUTE).run(tmp_path)
    assert ideal.predictions == predictions
    assert ideal.cells == cells
    assert ideal.expired == expired
    assert cells.total() == 3_000


def test_both_jobs_have_the_same_predictions(tmp_path: Path) -> None:
    for job in ("plain", "full"):
        jobs.write(tmp_path / job, job, 50)
    ids = {
        job: [row["prediction_id"] for row in _rows(tmp_path / job)] for job in ("plain", "full")
    }
    assert ids["plain"] == ids["full"]
    assert len(ids["plain"]) > 50


def _rows(log: Path) -> list[dict[str, str]]:
    return [
        json.loads(line)
        for line in (log / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    ]
