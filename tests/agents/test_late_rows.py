"""Late rows in the log: every number that decided, in both drivers, and not too many lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.stages.join import JoinProcessor
from driftline.agents.late_rows import INTERVAL_MS, LateRowLog
from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import parse_config
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.join.late_rows import LateRow

CONFIG = parse_config("""
[defaults]
windows = ["1h"]
maturity = ["1h"]
label_horizon = "6h"
correction_horizon = "2h"
park = "8h"
prediction_grace = "10m"
truth_grace = "10m"
[kafka]
input_partitions = 1
partitions = 1
""")
NOW_MS = 1_790_000_000_000
DAY = "2026-01-05T"


def prediction(id_: str, time: str) -> dict[str, Any]:
    return {
        "prediction_id": id_,
        "model_name": "m",
        "model_version": "1",
        "timestamp": f"{DAY}{time}Z",
        "prediction": "yes",
    }


def truth(id_: str, time: str, label: str = "yes", revision: int = 0) -> dict[str, Any]:
    return {
        "prediction_id": id_,
        "timestamp": f"{DAY}{time}Z",
        "label": label,
        "revision": revision,
    }


ROWS = {
    PREDICTIONS: [
        prediction("a", "00:00:00"),
        prediction("b", "05:00:00"),
        prediction("c", "04:00:00"),  # behind 04:50
        prediction("d", "02:00:00"),  # behind 02:50, two hours (the correction horizon) further
        prediction("e", "01:00:00"),  # and another one
        prediction("f", "20:00:00"),
    ],
    GROUND_TRUTH: [
        truth("a", "05:00:00"),
        truth("z", "05:30:00"),  # parked until 13:30
        truth("a", "06:30:00", "no", 1),  # after 06:00, six hours (the label horizon) after "a"
        truth("f", "20:00:00"),
    ],
}
EXPECTED = {
    "late_prediction: predictions[0]@2, prediction_id "
    f'"c": event time {DAY}04:00:00Z, watermark {DAY}05:00:00Z, limit {DAY}04:50:00Z',
    "dropped_prediction: predictions[0]@3, prediction_id "
    f'"d": event time {DAY}02:00:00Z, watermark {DAY}05:00:00Z, limit {DAY}02:50:00Z',
    "late_truth: ground-truth[0]@2, prediction_id "
    f'"a": event time {DAY}06:30:00Z, watermark {DAY}06:30:00Z, limit {DAY}06:00:00Z',
    # Its row came before the entry expired: the entry does not hold the offset.
    "unmatched_truth: ground-truth[0], prediction_id "
    f'"z": event time {DAY}05:30:00Z, frontier {DAY}19:50:00Z, limit {DAY}13:30:00Z',
}


def in_process(folder: Path) -> None:
    log = folder / "log"
    log.mkdir()
    for topic, rows in ROWS.items():
        lines = (json.dumps(row) + "\n" for row in rows)
        (log / f"{topic}.jsonl").write_text("".join(lines), encoding="utf-8")
    replay(log, folder / "out", CONFIG, partitions=1, clock=lambda: NOW_MS)


def on_kafka(folder: Path) -> None:
    processor = JoinProcessor(CONFIG, 0, MemoryState(), clock=lambda: NOW_MS)
    for topic, rows in ROWS.items():
        values = [json.dumps(row).encode() for row in rows]
        processor.take(
            ReceivedRecords(
                topic=topic,
                partition=0,
                offsets=list(range(len(rows))),
                keys=[row["prediction_id"].encode() for row in rows],
                values=values,
                timestamps_ms=[NOW_MS] * len(rows),
                start=0,
                next=len(rows),
            )
        )
    processor.process({topic: len(rows) for topic, rows in ROWS.items()})


@pytest.mark.parametrize("driver", [in_process, on_kafka])
def test_a_late_row_is_logged_with_every_number_that_decided(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, driver: Callable[[Path], None]
) -> None:
    with caplog.at_level(logging.INFO, "driftline.agents.late_rows"):
        driver(tmp_path)
    lines = [
        line.getMessage() for line in caplog.records if line.name == "driftline.agents.late_rows"
    ]
    assert {line.rpartition("Z: ")[0] + "Z" for line in lines} == EXPECTED
    counts = {line.partition(":")[0]: line.rpartition("; ")[2] for line in lines}
    assert counts == {
        "late_prediction": "1 row of this batch",
        "dropped_prediction": "2 rows of this batch",
        "late_truth": "1 row of this batch",
        "unmatched_truth": "1 row of this batch",
    }


def test_a_reason_of_a_partition_is_logged_at_once_and_then_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_ms = NOW_MS
    late_rows = LateRowLog(clock=lambda: now_ms)
    late = LateRow(
        reason="late_prediction",
        count=5,
        topic=PREDICTIONS,
        prediction_id="a",
        offset=7,
        event_ms=0,
        known_ms=0,
        watermark_ms=900_000,
        limit_ms=300_000,
    )

    def lines(partition: int, row: LateRow) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "driftline.agents.late_rows"):
            late_rows.write(partition, [row])
        return [line.getMessage() for line in caplog.records]

    assert len(lines(0, late)) == 1
    assert len(lines(1, late)) == 1
    assert len(lines(0, msgspec.structs.replace(late, reason="dropped_prediction"))) == 1
    now_ms += INTERVAL_MS - 1
    assert lines(0, late) == []
    assert lines(0, late) == []
    now_ms += 1
    (line,) = lines(0, late)
    assert line.endswith("; 5 rows of this batch, 10 more since the last line")
    now_ms += INTERVAL_MS
    (line,) = lines(0, late)
    assert line.endswith("; 5 rows of this batch")
