"""Features that are left out of predictions: counted in a replay, once, however it is cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import driftline


def write_log(folder: Path, n: int) -> Path:
    """A log of n predictions, of which every third has an embedding, and their truths."""
    folder.mkdir()
    with (folder / "predictions.jsonl").open("w") as predictions:
        for i in range(n):
            features = {"age": i % 7, **({"vector": [0.1, i]} if i % 3 == 0 else {})}
            event = {
                "prediction_id": i,
                "model_name": "m",
                "model_version": 3,
                "timestamp": 1_795_255_200_000 + i * 60_000,
                "score": (i % 10) / 10,
                "features": features,
            }
            predictions.write(json.dumps(event) + "\n")
    with (folder / "ground-truth.jsonl").open("w") as truths:
        for i in range(n):
            truth = {
                "prediction_id": i,
                "label": i % 2,
                "timestamp": 1_795_255_200_000 + i * 60_000,
            }
            truths.write(json.dumps(truth) + "\n")
    return folder


@pytest.mark.parametrize("batch", [7, 10_000])
def test_predictions_count_without_their_nested_features(tmp_path: Path, batch: int) -> None:
    log = write_log(tmp_path / "log", 50)
    summary = driftline.replay(log, out=tmp_path / "out", batch=batch).summary
    assert summary is not None
    assert summary.rejected == {}
    (left_out,) = [rows for rows in summary.uncounted if rows.reason == "left_out_feature"]
    assert (left_out.topic, left_out.rows, left_out.is_rejected) == ("predictions", 17, False)
    assert left_out.example == 'predictions@0: field "features": "vector" is an array'
