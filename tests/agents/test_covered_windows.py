"""Windows at the beginning and at the end of a log say which share of them data cover."""

from __future__ import annotations

import json
from pathlib import Path

import driftline

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_767_225_600_000  # 2026-01-01T00:00:00Z
CONFIG = {
    "defaults": {
        "windows": ["2d/1d"],
        "maturity": ["1h"],
        "label_horizon": "1h",
        "correction_horizon": "1h",
        "last_n": [],
    },
    "run": {"park": "1d"},
}


def test_windows_that_reach_over_the_ends_of_a_log_are_covered_in_part(tmp_path: Path) -> None:
    hours = range(84)  # three days and a half
    answers = {hour: "yes" if hour % 2 else "no" for hour in hours}
    predictions = [
        {
            "prediction_id": f"p{hour}",
            "model_name": "m",
            "model_version": "1",
            "timestamp": START + hour * HOUR,
            "prediction": answers[hour],
        }
        for hour in hours
    ]
    truths = [
        {
            "prediction_id": f"p{hour}",
            "timestamp": START + hour * HOUR + 1,
            "label": answers[hour],
        }
        for hour in hours
    ]
    results = driftline.replay(predictions, truths, config=CONFIG, out=tmp_path / "out")
    by_hand = [(1, 24, 0.5), (2, 48, 1.0), (3, 48, 1.0), (4, 36, 0.75), (5, 12, 0.25)]
    for lane in ("traffic", "decisions"):
        figures = results.metrics.where(lane=lane, window="2d/1d").structs()
        assert [
            ((each.window_end_ms - START) // DAY, each.n_predictions, each.covered_share)
            for each in figures
            if each.n_predictions
        ] == by_hand
    lines = map(json.loads, (tmp_path / "out" / "metrics.jsonl").read_text().splitlines())
    named = sorted(each["covered_share"] for each in lines if "covered_share" in each)
    assert named == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
