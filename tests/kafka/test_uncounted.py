"""Rows that do not count are named by topic and reason: by the metrics, the health and the log of a
worker, by `driftline finish`, and by `driftline doctor`, which asks no worker.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.tools.uncounted import uncounted_on_topics
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, REGISTRY_COMMANDS
from tests.kafka.brokers import Names
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka

DAY = "2026-03-01T"
SETTINGS = """
defaults.windows = ["1h"]
defaults.maturity = ["1h"]
defaults.label_horizon = "6h"
defaults.correction_horizon = "2h"
run.clock = "data"
run.park = "8h"
run.prediction_grace = "10m"
run.truth_grace = "10m"
"""
# One partition, so that the order of the rows is the order of their offsets.
KAFKA = 'input_partitions = 1\npartitions = 1\ncommit_interval = "20ms"'
EXPECTED = {
    (PREDICTIONS, "late_prediction"): 1,
    (PREDICTIONS, "dropped_prediction"): 1,
    (PREDICTIONS, "duplicate_prediction"): 1,
    (PREDICTIONS, "expired_prediction"): 1 + 8,
    (PREDICTIONS, "conflict"): 1,
    (PREDICTIONS, "not_json"): 30,
    (GROUND_TRUTH, "late_truth"): 1,
    (GROUND_TRUTH, "duplicate_truth"): 1,
    (GROUND_TRUTH, "unmatched_truth"): 1,
    (GROUND_TRUTH, "missing_field"): 1,
    (REGISTRY_COMMANDS, "not_json"): 1,
}


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


ROWS: list[tuple[str, str, dict[str, Any] | bytes]] = [
    (PREDICTIONS, "a", prediction("a", "00:00:00")),
    (PREDICTIONS, "b", prediction("b", "05:00:00")),
    # Ten rows of different ids move the watermark.
    *[(PREDICTIONS, f"w{i}", prediction(f"w{i}", "05:00:00")) for i in range(8)],
    (PREDICTIONS, "c", prediction("c", "04:00:00")),  # late
    (PREDICTIONS, "d", prediction("d", "02:00:00")),  # dropped
    (PREDICTIONS, "b", prediction("b", "05:00:00")),  # duplicate
    (PREDICTIONS, "b", prediction("b", "05:00:01")),  # conflict
    *[(PREDICTIONS, "x", b"{")] * 30,
    (GROUND_TRUTH, "a", truth("a", "05:00:00")),
    (GROUND_TRUTH, "b", truth("b", "05:30:00")),
    (GROUND_TRUTH, "b", truth("b", "05:30:00")),  # duplicate
    (GROUND_TRUTH, "z", truth("z", "05:30:00")),  # unmatched
    (GROUND_TRUTH, "a", truth("a", "06:30:00", "no", 1)),  # late
    (GROUND_TRUTH, "y", {"timestamp": f"{DAY}06:00:00Z", "label": "yes"}),
    (REGISTRY_COMMANDS, "m", b"{"),
]


def test_what_is_not_counted_is_named_by_worker_finish_and_doctor(
    names: Names, tmp_path: Path
) -> None:
    connection = names.connection(SETTINGS, kafka=KAFKA)
    topics.create(connection)
    toml = names.toml(SETTINGS, kafka=KAFKA)
    config = tmp_path / "finish.toml"
    config.write_text(toml)
    producer = connection.producer()
    for topic, key, row in ROWS:
        value = row if isinstance(row, bytes) else json.dumps(row).encode()
        producer.produce(names.prefix + topic, value, key=key.encode(), partition=0)
    assert producer.flush(30.0) == 0

    worker = WorkerProcess(tmp_path, toml, "--broker", names.servers).start()
    try:
        worker.until_ready()
        finished = CliRunner().invoke(
            driftline, ["finish", "--config", str(config), "--broker", names.servers]
        )
        assert finished.exit_code == 0, finished.output
        ready, metrics = worker.readiness(), worker.get("/metrics")[1]
        log = worker.read_log()
    finally:
        worker.kill()

    counted = {
        (match["topic"], match["reason"]): int(float(match["rows"]))
        for match in re.finditer(
            r'driftline_uncounted_rows_total\{reason="(?P<reason>\w+)",topic="(?P<topic>[\w-]+)"\} '
            r"(?P<rows>\S+)",
            metrics,
        )
    }
    assert {place: rows for place, rows in counted.items() if rows} == EXPECTED
    assert counted[PREDICTIONS, "too_far_ahead"] == 0, "a counter exists before its first row"

    listed = {(row["topic"], row["reason"]): row for row in ready["not_counted"]}
    assert {place: row["rows"] for place, row in listed.items()} == EXPECTED
    late = listed[GROUND_TRUTH, "late_truth"]
    assert late["example"].startswith('ground-truth[0]@4, prediction_id "a": event time')
    assert ready["status"] == "ready", "lost rows are a warning"
    (warning,) = ready["warnings"]
    assert warning.startswith("predictions: 33 of 44 rows in the last 10 minutes do not count")
    assert "rejected (not_json): predictions[0]@14: the value is not JSON" in log
    assert 'late_prediction: predictions[0]@10, prediction_id "c"' in log

    found = uncounted_on_topics(connection)
    assert {(total.topic, total.reason): total.rows for total in found.totals} == EXPECTED
    assert found.notes == []
    assert "late_truth" in finished.output
    assert "lengthen label_horizon" in finished.output
    assert uncounted_on_topics(connection, newest=10).notes[0] == (
        "of predictions.dlq, the newest 10 records of each partition were read"
    )

    words = ["doctor", "--json", "--config", str(config), "--out", str(tmp_path / "none")]
    results = CliRunner().invoke(driftline, [*words, "--broker", names.servers])
    inputs = [result for result in json.loads(results.stdout) if result["check"] == "input"]
    assert len(inputs) == len(EXPECTED)
    assert inputs[0]["level"] == "problem"
    assert inputs[0]["message"].startswith(
        "30 rows of predictions not counted, or not everywhere: not_json, for example "
        "predictions[0]@"
    )
    notes = [result["message"] for result in inputs if result["level"] == "note"]
    assert len(notes) == len(EXPECTED) - 1, "a few rows are no problem"
