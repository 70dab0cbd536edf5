"""Rows with a wrong time in a recorded log: the others count, and the wrong ones are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import parse_config
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS

BEGIN = 20_458 * DAY_MS  # 2026-01-05
NOW = BEGIN + 400 * DAY_MS
CONFIG = parse_config(
    '[defaults]\nwindows = ["1d"]\nmaturity = ["1h"]\nlabel_horizon = "1d"\n'
    'correction_horizon = "1d"\npark = "1d"\n'
)
Event = dict[str, Any]
Rows = tuple[list[Event], list[Event]]


def prediction(id_: str, time_ms: int) -> Event:
    names = {"model_name": "m", "model_version": "1", "prediction": "yes"}
    return {"prediction_id": id_, "timestamp": time_ms, **names}


def truth(id_: str, time_ms: int) -> Event:
    return {"prediction_id": id_, "timestamp": time_ms, "label": "yes"}


def regular(days: int = 10) -> Rows:
    """Twenty predictions a day, each with its truth ten minutes later."""
    times = [BEGIN + day * DAY_MS + i * HOUR_MS for day in range(days) for i in range(20)]
    return (
        [prediction(f"p{i}", time_ms) for i, time_ms in enumerate(times)],
        [truth(f"p{i}", time_ms + 10 * MINUTE_MS) for i, time_ms in enumerate(times)],
    )


def first_prediction(rows: Rows) -> None:
    rows[0].insert(0, prediction("wrong0", BEGIN + 200 * DAY_MS))


def last_prediction(rows: Rows) -> None:
    rows[0].append(prediction("wrong0", BEGIN + 200 * DAY_MS))


def five_predictions(rows: Rows) -> None:
    rows[0][80:80] = [prediction(f"wrong{i}", BEGIN + (100 + i) * DAY_MS) for i in range(5)]


def one_truth(rows: Rows) -> None:
    rows[1].insert(50, truth("wrong0", BEGIN + 200 * DAY_MS))


def fast_host(rows: Rows) -> None:
    for i in range(10):
        rows[0].insert(10 + 15 * i, prediction(f"wrong{i}", rows[0][9 + 15 * i]["timestamp"]))
        rows[0][10 + 15 * i]["timestamp"] += 30 * DAY_MS


def run(folder: Path, rows: Rows, partitions: int) -> tuple[dict[tuple[str, str], int], list[int]]:
    """Rows that do not count by topic and reason, and n of each day's last figure with labels."""
    folder.mkdir()
    for name, events in zip(("predictions", "ground-truth"), rows, strict=True):
        lines = (json.dumps(event) + "\n" for event in events)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    summary = replay(
        folder, folder / "out", CONFIG, partitions=partitions, clock=lambda: NOW, keep_order=True
    )
    figures = map(json.loads, (folder / "out" / "metrics.jsonl").read_text().splitlines())
    labelled = [
        each["n"]
        for each in figures
        if each["window"] == "1d" and each["lane"] == "decisions" and each["maturity"] == "1d"
    ]
    uncounted = {(each.topic, each.reason): each.rows for each in summary.uncounted}
    return uncounted, labelled


@pytest.mark.parametrize("partitions", [1, 8])
@pytest.mark.parametrize(
    ("damage", "topic", "reason", "wrong"),
    [
        (first_prediction, "predictions", "misdated_prediction", 1),
        (last_prediction, "predictions", "misdated_prediction", 1),
        (five_predictions, "predictions", "misdated_prediction", 5),
        (fast_host, "predictions", "misdated_prediction", 10),
        (one_truth, "ground-truth", "misdated_truth", 1),
    ],
)
def test_misdated_rows_are_named_and_all_others_count(
    tmp_path: Path,
    damage: Callable[[Rows], None],
    topic: str,
    reason: str,
    wrong: int,
    partitions: int,
) -> None:
    rows = regular()
    damage(rows)
    uncounted, labelled = run(tmp_path / "log", rows, partitions)
    assert uncounted[topic, reason] == wrong
    assert not {name for _, name in uncounted} - {reason, "expired_prediction", "unmatched_truth"}
    assert [n for n in labelled if n] == [20] * 10


def test_a_log_with_gaps_has_no_misdated_rows(tmp_path: Path) -> None:
    rows = regular(20)
    days = [BEGIN + day * DAY_MS for day in (*range(5), *range(7, 12), 19)]
    predictions = [event for event in rows[0] if event["timestamp"] // DAY_MS * DAY_MS in days]
    ids = {event["prediction_id"] for event in predictions}
    kept = predictions, [event for event in rows[1] if event["prediction_id"] in ids]
    uncounted, labelled = run(tmp_path / "log", kept, 8)
    assert uncounted == {}
    assert [n for n in labelled if n] == [20] * 11


def test_days_without_labels_before_a_gap_of_months_do_not_stop_the_run(tmp_path: Path) -> None:
    predictions, truths = regular(6)
    later = [event | {"prediction_id": f"later-{event['prediction_id']}"} for event in predictions]
    for event in later:
        event["timestamp"] += 90 * DAY_MS
    # Two days without a label, two with labels, two without.
    labelled_ids = {event["prediction_id"] for event in predictions[40:80]}
    truths = [event for event in truths if event["prediction_id"] in labelled_ids]
    late_truths = [truth(event["prediction_id"], event["timestamp"] + 1) for event in later]
    uncounted, labelled = run(tmp_path / "log", (predictions + later, truths + late_truths), 1)
    assert uncounted == {("predictions", "expired_prediction"): 80}
    assert [n for n in labelled if n] == [20] * 8
