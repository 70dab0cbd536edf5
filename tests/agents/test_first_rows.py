"""What `replay` says before the run about the first rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import driftline
from driftline.agents.input_check.first_rows import FIRST_ROWS
from driftline.schemas.times import DAY_MS, MINUTE_MS

BEGIN_MS = 20_458 * DAY_MS  # 2026-01-05
CONFIG = {
    "run": {"park": "1d"},
    "defaults": {
        "windows": ["1h"],
        "detection_window": "1h",
        "maturity": ["1h"],
        "label_horizon": "1d",
        "correction_horizon": "1d",
    },
}
Row = dict[str, Any]


def pairs(n: int, label: Any = ("yes", "no"), **fields: Any) -> tuple[list[Row], list[Row]]:
    """Predictions at one minute, and truths a minute after them; `label` of the truths in turn."""
    times = [BEGIN_MS + i * MINUTE_MS for i in range(n)]
    model = {"model_name": "m", "model_version": "1"}
    return (
        [
            {"prediction_id": f"p{i}", "timestamp": at_ms, "score": i / n} | model | fields
            for i, at_ms in enumerate(times)
        ],
        [
            {"prediction_id": f"p{i}", "timestamp": at_ms + MINUTE_MS, "label": label[i % 2]}
            for i, at_ms in enumerate(times)
        ],
    )


def notes_of(predictions: list[Row], truths: list[Row], config: Any = CONFIG) -> list[str]:
    told: list[list[str]] = []
    driftline.replay(predictions, truths, config, noted=lambda notes: told.append(list(notes)))
    (notes,) = told
    return notes


def test_nothing_is_said_of_a_log_that_is_understood() -> None:
    assert notes_of(*pairs(60)) == []
    assert notes_of([], []) == []


def test_unknown_positive_label() -> None:
    predictions, truths = pairs(60, ("good", "bad"))
    assert notes_of(predictions, truths) == [
        "in the first rows, m: figures that need labels are withheld: positive label unknown; "
        'set positive_label (see "Labels" in docs/inputs.md)'
    ]
    assert (
        notes_of(predictions, truths, CONFIG | {"models": {"m": {"positive_label": "bad"}}}) == []
    )


def test_scores_of_predicted_labels_say_which_is_positive() -> None:
    predictions, truths = pairs(60, ("good", "bad"))
    for row in predictions:
        row["prediction"] = "bad" if row["score"] >= 0.5 else "good"
    assert notes_of(predictions, truths) == []
    for row in predictions:
        del row["score"]
    (note,) = notes_of(predictions, truths)
    assert 'which of "bad", "good" is positive is not known' in note


def test_ids_that_do_not_meet() -> None:
    predictions, truths = pairs(60)
    for row in truths:
        row["prediction_id"] = row["prediction_id"].upper()
    # The last truth is known after the last prediction.
    assert notes_of(predictions, truths) == [
        "of the first 59 truths none has a prediction among the first 60, though they were known "
        'by then; their ids are such as "P0", those of predictions such as "p0" '
        '(see "Ids and names" in docs/inputs.md)'
    ]
    assert notes_of(predictions[:15], truths[:15]) == [], "too few to say so"


def test_rejected_rows_above_one_in_a_hundred() -> None:
    predictions, truths = pairs(200)
    predictions[50]["score"] = predictions[60]["score"] = 87.5
    assert notes_of(predictions, truths) == [], "2 of 200 are not more than 1 %"
    predictions[70]["score"] = 87.5
    (note,) = notes_of(predictions, truths)
    assert note.startswith(
        "of the first 200 rows of predictions 3 are rejected as out_of_range, for example "
        'predictions@50: field "score" is 87.5'
    )


def test_order_is_said_before_the_run() -> None:
    predictions, truths = pairs(200)
    (note,) = notes_of(predictions[::-1], truths)
    assert (
        note.startswith("199 of 200 rows of predictions lay up to") or "of predictions lay" in note
    )


def test_only_the_first_rows_of_a_long_log_are_looked_at() -> None:
    predictions, truths = pairs(FIRST_ROWS + 100)
    for row in predictions[FIRST_ROWS:]:
        row["score"] = 87.5
    assert notes_of(predictions, truths) == []


def test_a_resumed_run_does_not_say_it_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    for name, rows in zip(("predictions", "ground-truth"), pairs(60, ("good", "bad")), strict=True):
        (log / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told: list[list[str]] = []
    for _ in range(2):
        driftline.replay(
            log, config=CONFIG, out=tmp_path / "out", noted=lambda notes: told.append(list(notes))
        )
    assert [len(notes) for notes in told] == [1]


@pytest.mark.parametrize("name", ["predictions", "ground_truth"])
def test_a_topic_without_valid_rows(name: str) -> None:
    predictions, truths = pairs(10)
    rows = {"predictions": predictions, "ground_truth": truths}
    rows[name] = [{"timestamp": 5}]
    (note,) = notes_of(rows["predictions"], rows["ground_truth"])
    assert "of the first 1 rows of" in note
