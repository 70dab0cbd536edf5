"""Labels that stop while predictions go on are an alert; the end of a recorded log is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import parse_config
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, format_time, parse_time

START_MS = 1_767_225_600_000
CONFIG = parse_config("""
[defaults]
windows = ["6h"]
maturity = ["6h", "7d"]
last_n = []
since_deployment = false
metrics = ["delay_p95"]
default_rules = false
rules = [{ name = "no_labels", type = "no_labels" }]
""")
DELAY_MS = 3 * DAY_MS


def write_log(
    folder: Path, *, prediction_days: int, label_days: int, resume_day: int | None = None
) -> Path:
    """A prediction every three hours; the label of each becomes known at 2 o'clock at night, three
    to four days later, until `label_days`, and again from `resume_day` on.
    """
    folder.mkdir()
    predictions, truths = [], []
    for hour in range(0, 24 * prediction_days, 3):
        at_ms = START_MS + hour * HOUR_MS + MINUTE_MS
        name = {"prediction_id": f"p{hour}"}
        label = "yes" if hour % 3 else "no"
        model = {"model_name": "churn", "model_version": "1", "prediction": label}
        predictions.append(name | model | {"timestamp": format_time(at_ms)})
        night_ms = -(-(at_ms + DELAY_MS - 2 * HOUR_MS) // DAY_MS) * DAY_MS + 2 * HOUR_MS
        day = (night_ms - START_MS) / DAY_MS
        if day < label_days or (resume_day is not None and day >= resume_day):
            truths.append(
                (night_ms, name | {"label": label, "timestamp": format_time(night_ms + MINUTE_MS)})
            )
    truths.sort(key=lambda row: row[0])
    for topic, rows in (("predictions", predictions), ("ground-truth", [row for _, row in truths])):
        (folder / f"{topic}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def alerts(out: Path) -> list[dict[str, Any]]:
    path = out / "alerts.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [alert for alert in map(json.loads, lines) if alert["rule"] == "no_labels"]


def test_a_stop_of_nightly_labels_fires_after_three_nights_and_resolves_with_the_next_labels(
    tmp_path: Path,
) -> None:
    #   labels every night from day 4 to day 39, and from day 50 on; the usual silence is 18 hours
    log = write_log(tmp_path / "log", prediction_days=55, label_days=40, resume_day=50)
    replay(log, tmp_path / "out", CONFIG, partitions=1)
    firing, resolved = alerts(tmp_path / "out")
    assert (firing["status"], firing["severity"]) == ("firing", "error")
    last_ms = START_MS + 39 * DAY_MS + 6 * HOUR_MS
    # Three times (18 + 6) hours after the last labels; those of the last window do not count yet.
    assert parse_time(firing["at"]) == last_ms + 78 * HOUR_MS
    assert firing["summary"] == (
        "No label of churn 1 became known from 2026-02-09 06:00 to 2026-02-12 06:00, 3d, "
        "while predictions went on; the longest usual time without was 18h."
    )
    assert resolved["status"] == "resolved"
    assert parse_time(resolved["at"]) == START_MS + 50 * DAY_MS + 12 * HOUR_MS
    replay(log, tmp_path / "other", CONFIG, partitions=3, batch=7)
    same = [(tmp_path / out / "alerts.jsonl").read_bytes() for out in ("out", "other")]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("prediction_days", "label_days"),
    [
        pytest.param(40, 99, id="labels go on after the last prediction"),
        pytest.param(40, 41, id="labels end with the log"),
        pytest.param(40, 0, id="no labels at all"),
    ],
)
def test_the_end_of_a_log_and_a_model_without_labels_raise_no_alert(
    tmp_path: Path, prediction_days: int, label_days: int
) -> None:
    log = write_log(
        tmp_path / "log", prediction_days=prediction_days, label_days=label_days, resume_day=None
    )
    replay(log, tmp_path / "out", CONFIG, partitions=2)
    assert alerts(tmp_path / "out") == []


def test_labels_that_stop_within_four_weeks_fire_after_the_label_horizon(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", prediction_days=50, label_days=10)
    replay(log, tmp_path / "out", CONFIG, partitions=1)
    (firing,) = alerts(tmp_path / "out")
    last_ms = START_MS + 9 * DAY_MS + 6 * HOUR_MS
    assert parse_time(firing["at"]) == last_ms + 30 * DAY_MS + 6 * HOUR_MS
