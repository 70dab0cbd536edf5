"""The example of a rule of one's own runs in a copy of the repository.

`test_api.py` runs the notebook, `kafka/test_producer_example.py` the producer.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
RULE = """
[[models.churn.rules]]
name = "flagged_share"
type = "flagged_share"
window = "1d"
maturity = "1d"
above = 0.05
"""


def run(*command: str, path: Path, work: Path) -> str:
    """What a Python command prints with `path` first on the path."""
    environment = os.environ | {"PYTHONPATH": str(path), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_rule_of_ones_own_is_one_file_and_fires_on_the_cells_of_the_window(
    tmp_path: Path,
) -> None:
    repository = tmp_path / "repository"
    for package in ("driftline", "schemas", "streams", "agents"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, repository / package, symlinks=True, ignore=ignored)
    rule = repository / "streams" / "decide" / "rules" / "flagged_share.py"
    shutil.copyfile(EXAMPLES / "own_rule.py", rule)
    run("-m", "doctest", str(rule), path=repository, work=tmp_path)

    cli = ("-m", "driftline.agents.cli")
    run(*cli, "init", "trial", path=repository, work=tmp_path)
    settings = tmp_path / "trial" / "driftline.toml"
    settings.write_text(settings.read_text(encoding="utf-8") + RULE, encoding="utf-8")
    replay = ("replay", "trial/sample-log", "--config", "trial/driftline.toml", "--out", "out")
    run(*cli, *replay, path=repository, work=tmp_path)

    lines = (tmp_path / "out" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    days = {
        (figures["model_version"], figures["complete_at"]): figures
        for figures in map(json.loads, lines)
        if (figures["lane"], figures["segment"], figures["window"], figures["maturity"])
        == ("decisions", "all", "1d", "1d")
    }
    lines = (tmp_path / "out" / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    fired = [
        alert
        for alert in map(json.loads, lines)
        if alert["rule"] == "flagged_share" and alert["status"] == "firing"
    ]
    assert fired
    for alert in fired:
        figures = days[alert["model_version"], alert["at"]]
        assert alert["value"] == (figures["tp"] + figures["fp"]) / figures["n"]
        assert alert["value"] > 0.05
