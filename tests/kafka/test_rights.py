"""Rights of the login on a broker with ACLs: a worker names those that it lacks, at its start and
later.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.tools.uncounted import UnreadableTopics, uncounted_on_topics
from driftline.agents.worker import rights
from driftline.agents.worker.rights import GROUP, TOPIC, TRANSACTIONAL_ID, Right
from tests.kafka.guarded import Guarded, wait_for_rights
from tests.kafka.pairs import send_pairs
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka


def _send_invalid(connection: Connection) -> None:
    producer = connection.producer()
    producer.produce(connection.name("predictions"), b"{", "bad")
    assert producer.flush(30) == 0


def test_each_missing_right_is_found_and_nothing_else(guarded: Guarded) -> None:
    ann = guarded.prepared("each")
    for right in rights.needed(ann):
        guarded.revoke(right)
        wait_for_rights(ann, [right])
        guarded.grant([right])
        wait_for_rights(ann, [])


def test_the_listed_rights_are_enough_and_one_taken_away_ends_the_worker_by_name(
    guarded: Guarded, tmp_path: Path
) -> None:
    guarded.prepared("enough")
    worker = WorkerProcess(tmp_path, guarded.toml("enough")).start()
    try:
        worker.until_ready()
        free = guarded.free("enough")
        send_pairs(free, range(200))
        _send_invalid(free)
        worker.until(lambda: 'topic="window-partials"} 0.0' in worker.get("/metrics")[1], "lags")
        assert worker.get("/health/ready")[0] == 200
        lost = Right(TOPIC, "enough.ground-truth", "Read")
        guarded.revoke(lost)
        assert worker.exit_code() == 78
        assert f"lacks rights: {lost}. Grant" in worker.read_log()
        guarded.grant([lost])
        worker.start().until_ready()
        lost = Right(TOPIC, "enough.predictions.dlq", "Write")
        guarded.revoke(lost)
        _send_invalid(free)
        assert worker.exit_code() == 78
        assert f"lacks rights: {lost}. Grant" in worker.read_log()
        assert "Traceback" not in worker.read_log()
    finally:
        worker.kill()


def test_the_start_and_doctor_name_all_missing_rights(guarded: Guarded, tmp_path: Path) -> None:
    ann = guarded.prepared("start")
    group = ann.group("join")
    lost = [
        Right(TOPIC, "start.predictions", "Read"),
        Right(GROUP, group, "Read"),
        Right(TRANSACTIONAL_ID, f"{group}-0", "Write"),
        Right(TRANSACTIONAL_ID, f"{group}-1", "Write"),
        Right(TOPIC, "start.alerts", "Write"),
    ]
    for right in lost:
        guarded.revoke(right)
    wait_for_rights(ann, lost)
    worker = WorkerProcess(tmp_path, guarded.toml("start")).start()
    assert worker.exit_code() == 2
    log = worker.read_log()
    assert "Traceback" not in log
    assert f"{lost[0]}; {lost[1]}; Write on 2 transactional ids {group}-0 to {group}-1" in log
    assert f"; {lost[4]}. Grant them" in log
    config = tmp_path / "w.toml"
    result = CliRunner().invoke(
        driftline, ["doctor", "--json", "--config", str(config), "--out", str(tmp_path / "none")]
    )
    found = [row for row in json.loads(result.stdout) if row["check"] == "rights"]
    assert sorted(row["message"] for row in found) == sorted(
        f"the login ann lacks {right}" for right in lost
    )
    assert all("kafka-acls" in row["remedy"] for row in found)
    assert result.exit_code == 1


def test_a_login_that_may_not_read_dead_letters_is_announced_so_by_doctor(
    guarded: Guarded, tmp_path: Path
) -> None:
    ann = guarded.prepared("unread")
    producer = Producer({"bootstrap.servers": guarded.servers})
    producer.produce("unread.predictions.dlq", b"{", headers={"dlq_reason": b"not_json"})
    assert producer.flush(30.0) == 0
    with pytest.raises(UnreadableTopics, match=r"needs Describe and Read on unread\.predictions"):
        uncounted_on_topics(ann)
    config = tmp_path / "driftline.toml"
    config.write_text(guarded.toml("unread"))
    words = ["doctor", "--json", "--config", str(config), "--out", str(tmp_path / "none")]
    findings = json.loads(CliRunner().invoke(driftline, words).stdout)
    (finding,) = [finding for finding in findings if finding["check"] == "input"]
    assert finding["level"] == "note"
    assert finding["message"].startswith("what was not counted is not known")
