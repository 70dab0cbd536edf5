"""Reports of a worker and of jobs: their alerts, through a kill, and their replay."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges, read_records
from driftline.agents.kafka.broker.topics import create
from driftline.agents.kafka.broker.wire import partition_of
from driftline.agents.kafka.tools.export import export
from driftline.schemas.reports import JOBS, WORKERS
from driftline.schemas.times import format_time
from tests.kafka.brokers import Names
from tests.kafka.live_run import lines_of
from tests.kafka.test_alert_acts import Console
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka

KAFKA = 'input_partitions = 2\npartitions = 2\nsession_timeout = "6s"\nstatic_member = "one"'
RULE = f"""
[[models.{WORKERS}.rules]]
type = "system"
name = "in_use"
metric = "rss"
warning = 1
for = "1s"
"""
PATIENCE_S = 90.0


def records(connection: Connection, topic: str) -> list[dict[str, Any]]:
    return [
        json.loads(record.value)
        for part in offset_ranges(connection, [topic])[topic]
        for some in read_records(connection, part)
        for record in some
    ]


def wait_for(connection: Connection, topic: str, **fields: Any) -> dict[str, Any]:
    """The first record of a topic with these fields."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        found = [
            each
            for each in records(connection, topic)
            if all(each.get(name) == value for name, value in fields.items())
        ]
        if found:
            return found[0]
        assert time.monotonic() < ends, records(connection, topic)
        time.sleep(0.2)


def send_runs(connection: Connection) -> None:
    """A job that fails three times and one that is overdue after a second, on the partition that
    does not belong to them, as a producer with another partitioner writes them.
    """
    producer = connection.producer()
    runs = [("backup", "failed", {"run_id": str(number)}) for number in range(3)]
    for job, status, more in [*runs, ("tuning", "succeeded", {"interval": "1s"})]:
        timestamp = format_time(time.time_ns() // 1_000_000)
        value = {"job": job, "status": status, "timestamp": timestamp} | more
        producer.produce(
            connection.name("job-runs"),
            json.dumps(value).encode(),
            partition=1 - partition_of(JOBS, 2),
        )
    assert producer.flush(30) == 0


def test_figures_of_a_worker_raise_alerts_through_a_kill_and_a_replay_raises_the_same(
    names: Names, tmp_path: Path
) -> None:
    kafka = f'{KAFKA}\nworker_metrics = "1s"'
    connection = names.connection(RULE, kafka=kafka)
    create(connection)
    config = tmp_path / "live.toml"
    config.write_text(names.toml(RULE, kafka=kafka), encoding="utf-8")
    worker = WorkerProcess(tmp_path, config.read_text()).start()
    try:
        worker.until_ready()
        first = wait_for(connection, "worker-metrics", worker="one")
        assert first["restarts"] == 0
        assert {"cpu_share", "memory_share", "disk_share", "rss_bytes", "lag_records"} <= {*first}
        fired = wait_for(connection, "alerts", rule="in_use", change="firing")
        assert (fired["model_name"], fired["segment"]) == (WORKERS, "worker=one")
        silence = ("--model", WORKERS, "--name", "in_use", "--for", "5s")
        taken = Console(names, config).act("silence", *silence, "--reason", "known")
        assert taken.exit_code == 0, taken.output
        worker.kill()
        send_runs(connection)
        worker.start().until_ready()
        for job in ("backup", "tuning"):
            wait_for(connection, "alerts", rule="failed_job", segment=f"job={job}")
        wait_for(connection, "worker-metrics", restarts=1)
        wait_for(connection, "alerts", rule="in_use", change="unsilenced")
        worker.terminate()
    finally:
        worker.kill()
    jobs = [each for each in records(connection, "alerts") if each["model_name"] == JOBS]
    assert {(each["segment"], each["change"]) for each in jobs} == {
        ("job=backup", "firing"),
        ("job=tuning", "firing"),
    }
    told = [each["change"] for each in records(connection, "alerts") if each["rule"] == "in_use"]
    assert told == ["firing", "silenced", "unsilenced"]
    (part,) = (
        part.partition
        for part in offset_ranges(connection, ["worker-metrics"])["worker-metrics"]
        if part.end > part.start
    )
    assert part == partition_of(WORKERS, 2)
    export(connection, tmp_path / "export")
    settings = names.config(RULE, kafka=kafka)
    replay(tmp_path / "export", tmp_path / "replayed", settings, partitions=2, follow=True)
    for topic in ("alerts", "alert-events"):
        live, again = (lines_of(tmp_path / at / f"{topic}.jsonl") for at in ("export", "replayed"))
        assert again == live
        assert live
