"""`driftline serve` as a person calls it: what it refuses, what it survives, and how it ends."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.agents.cli.program import driftline
from driftline.agents.output_folder import LOG_FILE
from driftline.agents.serve.tables import to_csv
from tests.agents.serve.serving import Api, served


def called(*arguments: str) -> Result:
    return CliRunner().invoke(driftline, ["serve", *arguments])


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org"])
def test_an_address_that_others_reach_is_refused_until_there_are_tokens(
    folder: Path, host: str
) -> None:
    result = called("--out", str(folder), "--host", host)
    assert result.exit_code == 2
    assert "token does not exist yet" in result.stderr
    assert "ssh -L" in result.stderr


def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = called("--out", str(folder), "--port", f"{other.getsockname()[1]}")
    assert result.exit_code == 2
    assert "--port" in result.stderr


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "there is no output folder" in called("--out", str(tmp_path / "nowhere")).stderr
    result = called("--out", str(tmp_path))
    assert result.exit_code == 2
    assert "is not the output of a run" in result.stderr


def test_without_the_extra_it_says_what_to_install(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "litestar.py").write_text("raise ImportError('no litestar')", encoding="utf-8")
    root = Path(__file__).resolve().parents[3]
    result = subprocess.run(
        [sys.executable, "-m", "driftline.agents.cli", "serve", "--out", str(folder)],
        env={"PYTHONPATH": f"{tmp_path}:{root}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert 'pip install "driftline[serve]"' in result.stderr
    assert "Traceback" not in result.stderr


def test_it_goes_on_while_the_folder_is_away_and_reads_the_one_that_comes_back(
    folder: Path, tmp_path: Path
) -> None:
    with served("--out", str(folder)) as api:
        wait_for(api, "ok")
        before = api.get("/alerts")
        folder.rename(tmp_path / "moved")
        wait_for(api, "away")
        health = api.get("/health")
        assert "there is no output folder" in health["source"]["problem"]
        assert health["source"]["since"] > health["source"]["checked_at"]
        assert api.get("/alerts") == before
        assert api.get("/metrics", model="churn", metric="f1")["n"]
        # Another run comes in its place, without alerts.
        shutil.copytree(tmp_path / "moved", folder, ignore=shutil.ignore_patterns("read-model*"))
        (folder / "alerts.jsonl").write_bytes(b"")
        wait_for(api, "ok")
        assert api.get("/alerts")["alerts"] == []
        assert api.get("/overview")["n_alerts"] == 0


def test_an_empty_run_has_answers_that_say_so(tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).write_text("{}", encoding="utf-8")
    with served("--out", str(tmp_path)) as api:
        wait_for(api, "ok")
        assert api.get("/overview")["rows"] == []
        assert api.get("/models")["versions"] == []
        found = api.ask("/api/metrics", {"model": "churn"})
        assert found.status == 404
        assert "wait for the first figures" in found.json["remedy"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_code_0(folder: Path, number: signal.Signals) -> None:
    with served("--out", str(folder)) as api:
        api.get("/health")
        api.process.send_signal(number)
        assert api.process.wait(timeout=30) == 0


HOSTILE = ("=cmd|'/c calc'!A1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_that_a_spreadsheet_would_run_is_inert_in_a_table(text: str) -> None:
    assert to_csv((["a"], [[text]])).decode().lstrip('a\r\n"').startswith("'")


def test_names_of_all_kinds_are_shown_and_found(folder: Path, tmp_path: Path) -> None:
    name = 'fraud/cards 100%& <script>"\u202e🦙'
    for path in folder.glob("*.jsonl"):
        text = path.read_text(encoding="utf-8")
        escaped = name.replace('"', '\\"')
        path.write_text(text.replace('"churn"', f'"{escaped}"'), encoding="utf-8")
    with served("--out", str(folder)) as api:
        wait_for(api, "ok")
        assert [each["model_name"] for each in api.get("/models")["versions"]] == [name]
        assert api.get("/metrics", model=name, metric="f1")["series"]["model_name"] == name
        assert api.get("/overview")["rows"][0]["model_name"] == name
        assert api.get("/registry", model=name)["entries"][0]["model_name"] == name


def wait_for(api: Api, status: str) -> None:
    while api.get("/health")["status"] != status:
        time.sleep(0.05)
