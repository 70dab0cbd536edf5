"""The demo on a real broker with two workers: it ends with the summary and with commands that show
its topics.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from driftline.agents.demo import run_demo
from driftline.agents.demo.live import APP
from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker.connection import BROKER_VARIABLE, Connection
from driftline.schemas.config import load_config

pytestmark = pytest.mark.kafka

SETTLED = (
    "metrics",
    "histograms",
    "drift",
    "alerts",
    "recommendations",
    "registry",
    "registry-events",
    "registry-effects",
    "reference-profiles",
)


def test_the_sample_through_two_workers_gives_the_figures_of_a_replay(
    broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BROKER_VARIABLE, broker)
    out = tmp_path / "out"
    code = run_demo(out, json_output=False, offline_sample=True, on_kafka=True)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert "What happened to churn 1.4.2" in captured.out
    assert "Kafka and two workers took" in captured.out
    for shown in (
        f"kcat -C -b {broker} -t {APP}.alerts -o beginning",
        f"kafka-console-consumer --bootstrap-server {broker} --topic {APP}.alerts --from-beginning",
        f"kafka-consumer-groups --bootstrap-server {broker} --describe --group {APP}.{APP}-join",
    ):
        assert shown in captured.out

    config = load_config(out / "driftline-kafka.toml")
    replay(out / "output", tmp_path / "replayed", config)
    for topic in SETTLED:
        live, again = (
            sorted((folder / f"{topic}.jsonl").read_bytes().splitlines())
            for folder in (out / "output", tmp_path / "replayed")
        )
        assert live == again, topic

    admin = Connection(config, broker).admin()
    for deleted in admin.delete_topics(
        [name for name in admin.list_topics(timeout=10.0).topics if name.startswith(f"{APP}.")]
    ).values():
        deleted.result()


def test_a_broker_that_is_away_ends_the_demo_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BROKER_VARIABLE, "127.0.0.1:1")
    assert run_demo(tmp_path / "out", json_output=False, offline_sample=True, on_kafka=True) == 2
    assert "broker 127.0.0.1:1: does not answer" in capsys.readouterr().err
