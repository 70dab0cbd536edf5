"""Records whose keys keep predictions and truths apart, on a real broker: metrics, health and log
of a worker, `driftline finish` and `driftline doctor` name them, with the share of pairs that meet.

The case: 200 predictions over two days on four partitions, each with a truth 10 minutes later,
sent in the order of time and flushed every 40 records. Only the keys differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Message

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.schemas.times import DAY_MS, MINUTE_MS, format_time, parse_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from tests.kafka.brokers import Names
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka

PAIRS = 200
SETTINGS = """
run.clock = "data"
defaults.windows = ["1d"]
defaults.maturity = ["1d"]
defaults.label_horizon = "1d"
"""
KAFKA = "input_partitions = 4\npartitions = 2"
BEGIN_MS = parse_time("2026-01-05T00:00:00Z")

Key = Callable[[int], str | None]


def by_id(number: int) -> str | None:
    return f"p{number}"


def none(_: int) -> str | None:
    return None


def customer(number: int) -> str | None:
    return f"customer-{number % 37}"


def send(connection: Connection, prediction_key: Key, truth_key: Key) -> int:
    """Send the case; returns how many pairs share a partition, according to the producer."""
    placed: dict[str, dict[str, int]] = {PREDICTIONS: {}, GROUND_TRUTH: {}}

    def note(topic: str, id_: str) -> Callable[[Any, Message], None]:
        return lambda _, message: placed[topic].update({id_: message.partition() or 0})

    events: list[tuple[int, str, str | None, dict[str, Any]]] = []
    for number in range(PAIRS):
        at_ms, id_ = BEGIN_MS + number * 2 * DAY_MS // PAIRS, f"p{number}"
        prediction = {
            "prediction_id": id_,
            "model_name": "m",
            "model_version": "1",
            "timestamp": format_time(at_ms),
            "score": 0.8,
            "prediction": number % 3 == 0,
        }
        truth = {
            "prediction_id": id_,
            "timestamp": format_time(at_ms + 10 * MINUTE_MS),
            "label": number % 2,
        }
        events.append((at_ms, PREDICTIONS, prediction_key(number), prediction))
        events.append((at_ms + 10 * MINUTE_MS, GROUND_TRUTH, truth_key(number), truth))
    producer = connection.producer()
    for sent, (_, topic, key, row) in enumerate(sorted(events, key=lambda event: event[0])):
        producer.produce(
            connection.name(connection.source(topic)),
            json.dumps(row),
            key,
            on_delivery=note(topic, str(row["prediction_id"])),
        )
        if sent % 40 == 39:
            producer.flush(30)
    assert producer.flush(30) == 0
    return sum(
        placed[GROUND_TRUTH][id_] == partition for id_, partition in placed[PREDICTIONS].items()
    )


CASES: dict[str, tuple[Key, Key, dict[tuple[str, str], int]]] = {
    "ids on both sides": (by_id, by_id, {}),
    "no keys": (
        none,
        none,
        {(PREDICTIONS, "null_key"): PAIRS, (GROUND_TRUTH, "null_key"): PAIRS},
    ),
    "predictions without key": (none, by_id, {(PREDICTIONS, "null_key"): PAIRS}),
    "predictions keyed by customer": (
        customer,
        by_id,
        {(PREDICTIONS, "foreign_key"): PAIRS},
    ),
    "both keyed by customer": (
        customer,
        customer,
        {(PREDICTIONS, "foreign_key"): PAIRS, (GROUND_TRUTH, "foreign_key"): PAIRS},
    ),
}
WORDS = {"null_key": "have no key", "foreign_key": "have a key that is not their prediction id"}


@pytest.mark.parametrize("case", CASES)
def test_wrong_keys_are_told_by_worker_finish_and_doctor(
    names: Names, tmp_path: Path, case: str
) -> None:
    prediction_key, truth_key, expected = CASES[case]
    connection = names.connection(SETTINGS, kafka=KAFKA)
    topics.create(connection)
    meeting = send(connection, prediction_key, truth_key)
    all_meet = prediction_key is truth_key and prediction_key is not none
    assert (meeting == PAIRS) == all_meet
    toml = names.toml(SETTINGS, kafka=KAFKA)
    config = tmp_path / "case.toml"
    config.write_text(toml)
    worker = WorkerProcess(tmp_path, toml).start()
    try:
        worker.until_ready()
        finished = CliRunner().invoke(driftline, ["finish", "--config", str(config)])
        assert finished.exit_code == 0, finished.output
        ready, metrics, log = worker.readiness(), worker.get("/metrics")[1], worker.read_log()
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
    keys = {
        place: rows for place, rows in counted.items() if place[1] in ("null_key", "foreign_key")
    }
    assert {place: rows for place, rows in keys.items() if rows} == expected
    assert counted[GROUND_TRUTH, "unmatched_truth"] == PAIRS - meeting
    listed = {(row["topic"], row["reason"]): row for row in ready["not_counted"]}
    code, findings = doctor(config, tmp_path)
    output = " ".join(finished.output.split())
    for (topic, reason), rows in expected.items():
        assert listed[topic, reason]["rows"] == rows
        assert ', prediction_id "p' in listed[topic, reason]["example"]
        assert re.search(
            rf"WARNING .*{reason}: {topic}\[\d\]@\d+, prediction_id .*Send the pred", log
        )
        assert any(
            warning.startswith(f"{topic}: {PAIRS} of {PAIRS} rows") and reason in warning
            for warning in ready["warnings"]
        )
        words = f"of the newest {PAIRS} records of {topic}, {PAIRS} (100.0%) {WORDS[reason]}"
        assert words in output
        assert any(finding["message"].startswith(words) for finding in findings)
    messages = [finding["message"] for finding in findings]
    if not expected:
        assert messages == [
            "the newest 400 records of predictions and ground-truth have their prediction ids as "
            "keys"
        ]
    elif all_meet:
        assert messages[-1] == f"all {PAIRS} pairs among them can be joined"
    else:
        assert messages[-1] == (
            f"of {PAIRS} pairs among them, {meeting} ({meeting / PAIRS:.1%}) can be joined: the "
            "others are on different partitions"
        )
    levels = {finding["level"] for finding in findings}
    assert levels == ({"ok"} if not expected else {"note"} if all_meet else {"problem"})
    if not all_meet:
        assert code == 1
        assert all("send the prediction id as the key" in each["remedy"] for each in findings)


def doctor(config: Path, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """Exit code of doctor, and its findings about keys."""
    words = ["doctor", "--json", "--config", str(config), "--out", str(folder / "none")]
    done = CliRunner().invoke(driftline, words)
    findings = json.loads(done.stdout)
    return done.exit_code, [finding for finding in findings if finding["check"] == "keys"]
