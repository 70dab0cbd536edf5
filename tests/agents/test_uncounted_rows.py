"""Rows that do not count: in the log with every number that decided, in both drivers, and not in
too many lines; totals with an example; warnings where they are many.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.stages.join import JoinProcessor
from driftline.agents.kafka.task.uncounted import FEW_ROWS, RECENT_MINUTES, WorkerTally
from driftline.agents.state.dict_state import MemoryState
from driftline.agents.uncounted_rows import (
    INTERVAL_MS,
    JOIN_REASONS,
    BatchTally,
    Uncounted,
    UncountedLog,
    of_row,
)
from driftline.schemas.config import parse_config
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams import watermark
from driftline.streams.join.uncounted_rows import Reason, UncountedRow

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
        prediction("f", "20:00:00"),
        prediction("f", "20:00:01"),  # conflicts with the one before
        {"model_name": "m"},
    ],
    GROUND_TRUTH: [
        truth("a", "05:00:00"),
        truth("z", "05:30:00"),  # parked until 13:30
        truth("a", "06:30:00", "no", 1),  # after 06:00, six hours (the label horizon) after "a"
        truth("f", "20:00:00"),
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
    "expired_prediction: predictions[0], prediction_id "
    f'"c": event time {DAY}04:00:00Z, frontier {DAY}19:50:00Z, limit {DAY}10:00:00Z',
    "duplicate_prediction: predictions[0]@6, prediction_id "
    f'"f": event time {DAY}20:00:00Z, watermark {DAY}20:00:00Z',
    "duplicate_truth: ground-truth[0]@4, prediction_id "
    f'"f": event time {DAY}20:00:00Z, watermark {DAY}20:00:00Z',
}
RULES = ' (see "Times" in docs/inputs.md)'
REJECTED = {
    'rejected (conflict): predictions@7: prediction_id "f" of m 1 came before with other content',
    'rejected (missing_field): predictions@8: field "prediction_id" is missing',
}


def in_process(folder: Path) -> None:
    log = folder / "log"
    log.mkdir()
    for topic, rows in ROWS.items():
        lines = (json.dumps(row) + "\n" for row in rows)
        (log / f"{topic}.jsonl").write_text("".join(lines), encoding="utf-8")
    replay(log, folder / "out", CONFIG, partitions=1, keep_order=True, clock=lambda: NOW_MS)


def on_kafka(folder: Path) -> None:
    processor = JoinProcessor(CONFIG, 0, MemoryState(), clock=lambda: NOW_MS)
    for topic, rows in ROWS.items():
        values = [json.dumps(row).encode() for row in rows]
        processor.take(
            ReceivedRecords(
                topic=topic,
                partition=0,
                offsets=list(range(len(rows))),
                keys=[str(row.get("prediction_id")).encode() for row in rows],
                values=values,
                timestamps_ms=[NOW_MS] * len(rows),
                start=0,
                next=len(rows),
            )
        )
    processor.process({topic: len(rows) for topic, rows in ROWS.items()})
    UncountedLog(clock=lambda: NOW_MS).write(0, processor.tally().uncounted)
    assert processor.tally() == BatchTally(), "each row is reported once"


@pytest.mark.parametrize("driver", [in_process, on_kafka])
def test_a_late_row_is_logged_with_every_number_that_decided(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    driver: Callable[[Path], None],
) -> None:
    # A log this small has no witnesses for its jumps.
    monkeypatch.setattr(watermark, "JUMP_MS", NOW_MS)
    with caplog.at_level(logging.INFO, "driftline.agents.uncounted_rows"):
        driver(tmp_path)
    lines = [
        line.getMessage()
        for line in caplog.records
        if line.name == "driftline.agents.uncounted_rows"
    ]
    rejected = [line for line in lines if line.startswith("rejected")]
    accepted = [line for line in lines if line not in rejected]
    assert {line.rpartition("Z: ")[0] + "Z" for line in accepted} == EXPECTED
    place = "predictions[0]@" if driver is on_kafka else "predictions@"
    assert {line.partition(";")[0].replace(place, "predictions@") for line in rejected} == REJECTED
    assert all(place in line for line in rejected)
    assert all(line.endswith(" in docs/inputs.md)") for line in lines)
    without_rules = [line.rpartition(' (see "')[0] for line in lines]
    counts = {line.partition(":")[0]: line.rpartition("; ")[2] for line in without_rules}
    assert counts == {
        "late_prediction": "1 row of this batch",
        "dropped_prediction": "2 rows of this batch",
        "late_truth": "1 row of this batch",
        "unmatched_truth": "1 row of this batch",
        "expired_prediction": "2 rows of this batch",
        "duplicate_prediction": "1 row of this batch",
        "duplicate_truth": "1 row of this batch",
        "rejected (conflict)": "1 row of this batch",
        "rejected (missing_field)": "1 row of this batch",
    }


def test_a_reason_of_a_partition_is_logged_at_once_and_then_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_ms = NOW_MS
    uncounted_log = UncountedLog(clock=lambda: now_ms)
    late = UncountedRow(
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

    def lines(partition: int, row: UncountedRow) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "driftline.agents.uncounted_rows"):
            uncounted_log.write(partition, [of_row(partition, row)])
        return [line.getMessage() for line in caplog.records]

    assert len(lines(0, late)) == 1
    assert len(lines(1, late)) == 1
    assert len(lines(0, msgspec.structs.replace(late, reason="dropped_prediction"))) == 1
    now_ms += INTERVAL_MS - 1
    assert lines(0, late) == []
    assert lines(0, late) == []
    now_ms += 1
    (line,) = lines(0, late)
    assert line.endswith("; 5 rows of this batch, 10 more since the last line" + RULES)
    now_ms += INTERVAL_MS
    (line,) = lines(0, late)
    assert line.endswith("; 5 rows of this batch" + RULES)


def test_a_replay_sums_uncounted_rows_up_with_an_example_and_a_remedy(tmp_path: Path) -> None:
    in_process(tmp_path)
    summary = replay(
        tmp_path / "log",
        tmp_path / "out",
        CONFIG,
        partitions=1,
        keep_order=True,
        clock=lambda: NOW_MS,
    )
    assert summary.already_finished, "the totals are part of the checkpoint"
    rows = {(total.topic, total.reason): total.rows for total in summary.uncounted}
    assert rows == {
        (PREDICTIONS, "late_prediction"): 1,
        (PREDICTIONS, "dropped_prediction"): 2,
        (PREDICTIONS, "duplicate_prediction"): 1,
        (PREDICTIONS, "expired_prediction"): 2,
        (PREDICTIONS, "conflict"): 1,
        (PREDICTIONS, "missing_field"): 1,
        (GROUND_TRUTH, "late_truth"): 1,
        (GROUND_TRUTH, "duplicate_truth"): 1,
        (GROUND_TRUTH, "unmatched_truth"): 1,
    }
    late = next(total for total in summary.uncounted if total.reason == "late_truth")
    assert late.example.startswith('ground-truth[0]@2, prediction_id "a"')
    assert late.remedy == (
        'lengthen label_horizon or correction_horizon if that is usual (see "Times" in '
        "docs/inputs.md)"
    )


def test_every_reason_of_stage_1_belongs_to_one_topic() -> None:
    of_topics = [reason for reasons in JOIN_REASONS.values() for reason in reasons]
    assert sorted(of_topics) == sorted(get_args(Reason))


def test_a_topic_of_which_much_is_lost_is_a_warning_for_ten_minutes() -> None:
    now_ms = NOW_MS
    tally = WorkerTally(clock=lambda: now_ms)

    def commit(reason: str, rows: int, received: int) -> list[str]:
        lost = Uncounted(topic=PREDICTIONS, reason=reason, rows=rows, example="predictions[0]@1")
        tally.add(0, BatchTally({PREDICTIONS: received}, [lost]))
        return tally.warnings()

    assert commit("not_json", FEW_ROWS - 1, 100) == [], "too few for a verdict"
    assert commit("duplicate_prediction", 200, 200) == [], "nothing is lost"
    assert commit("not_json", 1, 100) == [], "20 of 400 rows are the limit"
    (warning,) = commit("too_far_ahead", 5, 5)
    assert warning.startswith(
        "predictions: 25 of 405 rows in the last 10 minutes do not count, or not everywhere "
        "(20 not_json, 5 too_far_ahead)"
    )
    now_ms += RECENT_MINUTES * 60_000
    assert tally.warnings() == []
    assert [total.rows for total in tally.listed()] == [200, 20, 5]
