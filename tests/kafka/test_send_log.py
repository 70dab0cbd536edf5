"""Sending a recorded log: each line once, by key, in order of event time, and back by an export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import murmur2

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.ranges import offset_ranges, read_records
from driftline.agents.kafka.tools.send_log import send_log
from tests.kafka.brokers import Names

pytestmark = pytest.mark.kafka

PREDICTIONS = [
    '{"prediction_id":"a","model_name":"m","model_version":"1","timestamp":"2026-01-05T09:00:00Z","score":0.8}',
    '{"request_id":"b","model":"m","version":"1","ts":"2026-01-05T09:20:00Z","probability":0.1}',
    "no prediction at all",
]
TRUTHS = ['{"prediction_id":"a","label":"yes","timestamp":"2026-01-05T09:10:00Z"}']


def written(folder: Path) -> Path:
    folder.mkdir()
    (folder / "predictions.jsonl").write_text("\n".join(PREDICTIONS) + "\n")
    (folder / "ground-truth.jsonl").write_text("\n".join(TRUTHS) + "\n")
    return folder


def on_topic(names: Names, topic: str) -> list[tuple[int, str]]:
    connection = names.connection()
    parts = offset_ranges(connection, [topic])[topic]
    return sorted(
        (each.partition, each.value.decode())
        for part in parts
        for chunk in read_records(connection, part)
        for each in chunk
    )


def test_every_line_is_sent_once_to_the_partition_of_its_id(names: Names, tmp_path: Path) -> None:
    connection = names.connection()
    topics.create(connection)
    reported: list[tuple[int, int]] = []
    counts = send_log(
        connection,
        written(tmp_path / "log"),
        on_progress=lambda sent, at_ms: reported.append((sent, at_ms)),
    )
    assert counts == {"predictions": 3, "ground-truth": 1}
    found = on_topic(names, "predictions")
    assert sorted(value for _, value in found) == sorted(PREDICTIONS)
    assert {(murmur2(b"a", 8), PREDICTIONS[0]), (murmur2(b"b", 8), PREDICTIONS[1])} <= set(found)
    assert on_topic(names, "ground-truth") == [(murmur2(b"a", 8), TRUTHS[0])]


def test_an_exported_log_is_sent_unchanged(names: Names, tmp_path: Path) -> None:
    config = tmp_path / "driftline.toml"
    config.write_text(names.toml())
    where = ("--config", str(config), "--broker", names.servers)
    topics.create(names.connection())

    def run(*words: str) -> str:
        result = CliRunner().invoke(driftline, [*words, *where])
        assert result.exit_code == 0, result.output
        return result.output

    assert run("feed", str(written(tmp_path / "log"))) == "sent 3 predictions, 1 ground-truth\n"
    run("export", "--out", str(tmp_path / "exported"))
    assert json.loads(run("feed", str(tmp_path / "exported"), "--json", "--rate", "1000")) == {
        "predictions": 3,
        "ground-truth": 1,
        "registry-commands": 0,
        "alert-commands": 0,
    }
    assert sorted(value for _, value in on_topic(names, "predictions")) == sorted(2 * PREDICTIONS)


def test_a_log_out_of_order_is_sent_in_order_of_time(names: Names, tmp_path: Path) -> None:
    # One id, so one partition: the hours 0 to 9 of one host, and between them those of another.
    lines = [
        json.dumps(
            {"prediction_id": "a", "label": hour, "timestamp": f"2026-01-05T{hour:02d}:00:00Z"}
        )
        for hour in range(20)
    ]
    log = written(tmp_path / "log")
    (log / "ground-truth.jsonl").write_text("\n".join(lines[::2] + lines[1::2]))
    config = tmp_path / "driftline.toml"
    config.write_text(names.toml())
    where = ("--config", str(config), "--broker", names.servers)
    topics.create(names.connection())
    sent = CliRunner().invoke(driftline, ["feed", str(log), *where])
    assert sent.exit_code == 0, sent.output
    # Behind the second largest time before it, 16:00, by more than the grace of 10 minutes are
    # 01:00 to 15:00.
    assert sent.stderr == (
        "note: 8 of 20 rows of ground-truth lay up to 15 hours behind rows before them and would "
        "have been late, so the rows were sorted by event time (--keep-order takes the order of "
        'the file as the order of arrival) (see "Order and loss of a recorded log" in '
        "docs/inputs.md)\n"
    )
    assert sent.stdout == "sent 3 predictions, 20 ground-truth\n"
    kept = CliRunner().invoke(driftline, ["feed", str(log), *where, "--keep-order"])
    assert (kept.exit_code, kept.stderr) == (0, "")
    (part,) = {partition for partition, _ in on_topic(names, "ground-truth")}
    connection = names.connection()
    found = [
        each.value.decode()
        for chunk in read_records(
            connection, offset_ranges(connection, ["ground-truth"])["ground-truth"][part]
        )
        for each in chunk
    ]
    assert found == lines + lines[::2] + lines[1::2]


def test_a_folder_without_predictions_is_refused(names: Names, tmp_path: Path) -> None:
    result = CliRunner().invoke(driftline, ["feed", str(tmp_path), "--broker", names.servers])
    assert result.exit_code == 2
    assert "has no predictions.jsonl; name the folder of a recorded log" in result.output


def test_a_missing_topic_is_named(names: Names, tmp_path: Path) -> None:
    config = tmp_path / "driftline.toml"
    config.write_text(names.toml())
    result = CliRunner().invoke(
        driftline,
        [
            "feed",
            str(written(tmp_path / "log")),
            "--config",
            str(config),
            "--broker",
            names.servers,
        ],
    )
    assert result.exit_code == 2
    assert "create it: driftline topics create" in result.output
