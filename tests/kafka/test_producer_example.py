"""The example of a producer sends events that meet on their topics and are joined."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import driftline
from driftline.agents.kafka.broker.topics import create
from driftline.agents.kafka.tools.export import export
from tests.kafka.brokers import Names

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.kafka


def test_events_of_the_producer_are_accepted_and_joined(names: Names, tmp_path: Path) -> None:
    connection = names.connection(kafka="input_partitions = 3\npartitions = 2")
    create(connection)
    command = [sys.executable, str(ROOT / "examples" / "producer.py"), names.servers, names.prefix]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"sent 200 predictions to {names.prefix}predictions\n"

    export(connection, tmp_path / "log")
    truths = (tmp_path / "log" / "ground-truth.jsonl").read_bytes().count(b"\n")
    assert 150 < truths < 200
    results = driftline.replay(tmp_path / "log", config={"defaults": {"windows": ["1d"]}})
    day = results.metrics.where(lane="decisions", segment="all", window="1d", final=True).records()
    assert sum(figures["n_predictions"] for figures in day) == 200
    assert sum(figures["n"] for figures in day) == truths
