"""The end of a recorded log in one topic is no silence of a model, a gap inside the log is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import parse_config
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, format_time

START_MS = 1_767_225_600_000
CONFIG = parse_config(
    '[defaults]\nwindows = ["1h"]\nmaturity = ["1h", "7d"]\nlabel_horizon = "14d"\n'
    "default_rules = false\n"
    'rules = [{ name = "silent", type = "no_data", silence = "6h" }]'
)


def write_log(folder: Path, prediction_hours: list[int], truth_delay_ms: int) -> Path:
    """A prediction in each of the hours, and the truth of each after a delay."""
    folder.mkdir()
    predictions, truths = [], []
    for hour in prediction_hours:
        at_ms = START_MS + hour * HOUR_MS + MINUTE_MS
        name = {"prediction_id": f"p{hour}"}
        model = {"model_name": "churn", "model_version": "1", "prediction": "yes"}
        predictions.append(name | model | {"timestamp": format_time(at_ms)})
        truths.append(name | {"label": "yes", "timestamp": format_time(at_ms + truth_delay_ms)})
    for topic, rows in (("predictions", predictions), ("ground-truth", truths)):
        (folder / f"{topic}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def records(out: Path, topic: str) -> list[dict[str, Any]]:
    path = out / f"{topic}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("batch", [1, 7, 10_000])
@pytest.mark.parametrize("partitions", [1, 8])
def test_predictions_that_end_while_truths_go_on_raise_no_alert(
    tmp_path: Path, partitions: int, batch: int
) -> None:
    #   predictions  hours 0 to 47; truths 3 days later, hours 72 to 119
    log = write_log(tmp_path / "log", list(range(48)), 3 * DAY_MS)
    replay(log, tmp_path / "out", CONFIG, partitions=partitions, batch=batch)
    assert records(tmp_path / "out", "alerts") == []
    traffic = [r for r in records(tmp_path / "out", "metrics") if r["lane"] == "traffic"]
    assert sum(r["n_predictions"] for r in traffic) == 48
    assert max(r["window_end"] for r in traffic) == format_time(START_MS + 48 * HOUR_MS)
    labelled = [
        r
        for r in records(tmp_path / "out", "metrics")
        if (r["window"], r["maturity"]) == ("1h", "7d")
    ]
    assert sum(r["n"] for r in labelled) == 48, "the truths after the end still count"


def test_a_gap_between_two_predictions_of_a_log_raises_an_alert_and_resolves_it(
    tmp_path: Path,
) -> None:
    #   predictions  hours 0 to 23, none for 12 hours, hours 36 to 47
    log = write_log(tmp_path / "log", [*range(24), *range(36, 48)], 3 * DAY_MS)
    replay(log, tmp_path / "out", CONFIG, partitions=2)
    firing, resolved = records(tmp_path / "out", "alerts")
    assert (firing["status"], firing["rule"], firing["value"]) == (
        "firing",
        "silent",
        6.0 * HOUR_MS,
    )
    assert resolved["status"] == "resolved"


def test_ticks_of_a_log_without_further_predictions_are_silence(tmp_path: Path) -> None:
    # A tick states that event time went on without a record.
    log = write_log(tmp_path / "log", list(range(24)), 0)
    ticks = [{"timestamp": format_time(START_MS + hour * HOUR_MS)} for hour in range(24, 48)]
    (log / "ticks.jsonl").write_text("".join(json.dumps(tick) + "\n" for tick in ticks))
    replay(log, tmp_path / "out", CONFIG, partitions=2)
    (firing,) = records(tmp_path / "out", "alerts")
    assert (firing["status"], firing["rule"]) == ("firing", "silent")
