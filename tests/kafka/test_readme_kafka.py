"""The Kafka blocks of the README work as printed, in one shell from the first block to the
last, but for the port.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from driftline.agents.devbroker.broker import free_port
from driftline.schemas.config import parse_config
from tests.kafka.brokers import need_java, without_broker

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- run on a broker -->\n```sh\n(.*?)```\n", README, re.DOTALL)
SETTINGS = re.findall(r"```toml\n(.*?)```\n", README, re.DOTALL)


@pytest.mark.kafka
def test_the_blocks_show_alerts_lag_and_an_export(tmp_path: Path) -> None:
    need_java()
    if shutil.which("kcat") is None:
        without_broker(
            "the README shows kcat, which is not installed (Debian: apt-get install kcat)"
        )
    bin_folder, port, web = tmp_path / "bin", free_port(), free_port()
    bin_folder.mkdir()
    command = bin_folder / "driftline"
    command.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m driftline.agents.cli "$@"\n'
    )
    command.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("DRIFTLINE_BROKER")
    }
    environment |= {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "DRIFTLINE_BROKER": f"localhost:{port}",
        "DRIFTLINE_BROKER_DATA": str(tmp_path / "broker"),
        "NO_COLOR": "1",
    }
    script = "".join(f"echo '== block'\n{block}" for block in BLOCKS)
    script = (
        script.replace("dev-broker up", f"dev-broker up --port {port}")
        .replace(":9092", f":{port}")
        .replace("6066", str(web))
    )
    # Processes of the shell must not survive a failure.
    script = (
        f"trap '{{ kill $!; driftline dev-broker down; }} >/dev/null 2>&1 || true' EXIT\n{script}"
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    log = work / "worker-1.log"
    assert done.returncode == 0, (
        f"{done.stdout}\n{done.stderr}\n{log.read_text() if log.exists() else ''}"
    )
    _, results, _, shown, ended = done.stdout.split("== block\n")
    assert "Kafka is down" in ended
    logged = [
        json.loads(line)
        for path in (work / "trial" / "sample-log").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert (
        f"the history ends at {max(record['timestamp'] for record in logged)}; every window is "
        "final" in results
    )
    # By kcat with the key before it, by the console consumer the first one, and in the exported
    # log.
    assert re.search(r"^churn/1\.4\.2/\S+\t\{.*f1_low", shown, re.MULTILINE)
    assert re.search(r'^\{.*"status":"firing"', shown, re.MULTILINE)
    assert "Processed a total of" in done.stderr
    lags = re.findall(r"^driftline-join\s+(\S+)\s+\d+\s+(\d+)\s+(\d+)\s+(\d+)", shown, re.MULTILINE)
    assert {topic for topic, *_ in lags} >= {"predictions", "ground-truth"}
    assert {int(end) - int(position) - int(lag) for _, position, end, lag in lags} == {0}
    sent = (work / "trial" / "sample-log" / "predictions.jsonl").read_bytes().count(b"\n")
    assert sum(int(end) for topic, _, end, _ in lags if topic == "predictions") == sent
    assert (work / "exported" / "alerts.jsonl").read_text().count("f1_low")


def test_the_readme_has_kafka_blocks_and_settings() -> None:
    assert len(BLOCKS) == 4
    (settings,) = SETTINGS
    assert parse_config(settings).kafka.client["security.protocol"] == "SASL_SSL"
