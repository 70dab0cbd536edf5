"""The demo from an empty folder to its summary, on the sample."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

import driftline.agents.demo.run
from driftline.agents.demo import run_demo
from tests.agents.terminal import ROOT, printed_on_a_terminal


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "out"
    assert run_demo(folder, json_output=False, offline_sample=True) == 0
    return folder


def test_demo_on_the_sample_prints_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_demo(tmp_path / "out", json_output=False, offline_sample=True) == 0
    printed = capsys.readouterr().out
    assert "What happened to churn 1.4.2" in printed
    assert "2,000 predictions" in printed
    assert f"driftline alerts list --all --out {tmp_path / 'out' / 'output'}" in printed


def test_summary_on_a_narrow_terminal_is_wrapped_between_words(tmp_path: Path) -> None:
    printed = printed_on_a_terminal(
        ["demo", "--sample", "--no-page", "--out", str(tmp_path / "out")],
        {"TERM": "xterm", "COLUMNS": "60"},
    )
    summary = printed[printed.index("What happened to churn 1.4.2") :].split("\nOutput")[0]
    lines = [line.rstrip("\r") for line in summary.split("\n")]
    sentences = [line for line in lines if "  " not in line.strip()]  # the others are table rows
    assert len(sentences) > 10
    assert max(map(len, sentences)) <= 60


def test_on_a_terminal_the_page_is_served_until_ctrl_c(tmp_path: Path) -> None:
    reader, writer = os.openpty()
    errors = tmp_path / "errors"
    with errors.open("wb") as stderr:
        demo = subprocess.Popen(
            [
                *(sys.executable, "-m", "driftline.agents.cli"),
                *("demo", "--sample", "--out", str(tmp_path / "out")),
            ],
            stdin=writer,
            stdout=writer,
            stderr=stderr,
            env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        )
    os.close(writer)
    try:
        printed, address = b"", None
        while address is None:
            printed += os.read(reader, 65_536)
            address = re.search(rb"The page: (http://127\.0\.0\.1:\d+) ", printed)
        url = address[1].decode()
        with urlopen(url) as page:
            assert b"<!doctype html>" in page.read(200).lower()
        with urlopen(f"{url}/api/models") as answer:
            versions = json.load(answer)["versions"]
        assert [(each["model_name"], each["model_version"]) for each in versions] == [
            ("churn", "1.4.2")
        ]
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=60) == 0
        assert "Traceback" not in errors.read_text()
    finally:
        demo.kill()
        demo.wait()
        os.close(reader)


def test_json_option_prints_one_document_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_demo(tmp_path / "out", json_output=True, offline_sample=True) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert summary["model_name"] == "churn"
    assert summary["production"]["predictions"] == 2_000
    assert [rung["rung"] for rung in summary["maturities"]] == ["1h", "6h", "1d", "2d"]
    assert "sample" in captured.err


def test_earlier_demo_is_replaced(finished: Path) -> None:
    (finished / "left-over").write_text("")
    before = (finished / "output" / "metrics.jsonl").read_bytes()
    assert run_demo(finished, json_output=False, offline_sample=True) == 0
    assert not (finished / "left-over").exists()
    assert (finished / "output" / "metrics.jsonl").read_bytes() == before


def test_folder_with_other_files_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert run_demo(tmp_path, json_output=False, offline_sample=True) == 2
    assert (
        "holds files that are not from a demo; name another folder with --out"
        in capsys.readouterr().err
    )
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_demo_without_the_flights_uses_the_sample_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driftline.agents.demo.run, "data_folder", lambda: None)
    assert run_demo(tmp_path / "out", json_output=False, offline_sample=False) == 0
    assert (
        'the flights are not installed (pip install "driftline[demo]" adds them)'
        in capsys.readouterr().out
    )
