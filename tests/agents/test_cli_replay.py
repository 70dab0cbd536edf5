"""`driftline replay` from the command line, and the reading verbs on its output."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from driftline.agents.sample_log import DAYS, PER_DAY, write_sample
from tests.agents.terminal import printed_on_a_terminal

ROOT = Path(__file__).resolve().parents[2]


def invoke(*arguments):
    return CliRunner().invoke(driftline, [str(argument) for argument in arguments])


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.jsonl"))}


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """The sample, and the output of its replay as the command `init` recommends it."""
    folder = tmp_path_factory.mktemp("trial")
    write_sample(folder)
    result = invoke(
        "replay",
        folder / "sample-log",
        "--config",
        folder / "driftline.toml",
        "--out",
        folder / "out",
        "--json",
    )
    assert result.exit_code == 0, result.output
    (folder / "summary.json").write_text(result.stdout)
    return folder


def test_json_summary_counts_lines_read_rejected_and_written(trial):
    summary = json.loads((trial / "summary.json").read_text())
    assert summary["lines"]["predictions"] == DAYS * PER_DAY + 2  # one is sent twice, one is broken
    assert summary["rejected"] == {"predictions": {"out_of_range": 1}}
    for topic, count in summary["written"].items():
        assert len((trial / "out" / f"{topic}.jsonl").read_bytes().splitlines()) == count


def test_rows_that_do_not_count_are_in_a_table_and_with_verbose_in_the_log(trial, tmp_path):
    words = ["replay", trial / "sample-log", "--config", trial / "driftline.toml"]
    loud = invoke(*words, "--out", tmp_path / "loud", "--verbose")
    quiet = invoke(*words, "--out", tmp_path / "quiet")
    assert quiet.stderr == ""
    assert "not counted, or not everywhere:" in quiet.stdout
    assert "out_of_range" in quiet.stdout
    assert "duplicate_prediction" in quiet.stdout
    (rejected,) = [line for line in loud.stderr.splitlines() if line.startswith("rejected")]
    assert rejected.startswith("rejected (out_of_range): predictions@")
    assert "duplicate_prediction: predictions[" in loud.stderr
    assert files(tmp_path / "loud") == files(tmp_path / "quiet")


def test_second_call_says_that_the_run_is_complete_and_changes_nothing(trial):
    before = files(trial / "out")
    result = invoke(
        "replay", trial / "sample-log", "--config", trial / "driftline.toml", "--out", trial / "out"
    )
    assert result.exit_code == 0
    assert "is complete already" in result.output
    assert files(trial / "out") == before


def test_log_with_only_invalid_rows_ends_with_one_and_names_the_dead_letter_files(
    tmp_path,
):
    log = tmp_path / "log"
    log.mkdir()
    (log / "predictions.jsonl").write_text('{"prediction_id": "a"}\nnonsense\n')
    (log / "ground-truth.jsonl").write_text('{"prediction_id": "a", "label": "yes"}\n')
    done = invoke("replay", log, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "rejected 1 missing_field, 1 not_json" in done.stdout
    assert (
        f"every row was rejected; the reasons are in {tmp_path / 'out'}/*.dlq.jsonl" in done.stderr
    )
    again = invoke("replay", log, "--out", tmp_path / "out")
    assert (again.exit_code, "is complete already" in again.stdout) == (1, True)
    (log / "ground-truth.jsonl").write_text(
        '{"prediction_id": "a", "label": "yes", "timestamp": "2026-01-05T09:00:00Z"}\n'
    )
    assert invoke("replay", log, "--out", tmp_path / "one", "--allow-loss").exit_code == 0
    for topic in ("predictions", "ground-truth"):
        (log / f"{topic}.jsonl").write_text("")
    assert invoke("replay", log, "--out", tmp_path / "none").exit_code == 0, (
        "an empty log has no rejected rows"
    )


def test_other_configuration_on_the_same_folder_is_an_error_that_says_what_to_do(trial, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text('[defaults]\nlabel_horizon = "3d"\n')
    result = invoke("replay", trial / "sample-log", "--config", other, "--out", trial / "out")
    assert result.exit_code == 2
    assert "choose another --out" in result.output


def test_batch_size_does_not_change_the_output(trial, tmp_path):
    result = invoke(
        "replay",
        trial / "sample-log",
        "--config",
        trial / "driftline.toml",
        "--out",
        tmp_path / "out",
        "--batch",
        97,
    )
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "out") == files(trial / "out")


def test_degradation_on_the_second_day_lowers_f1_and_fires_an_alert(trial):
    records = json.loads(
        invoke("performance", "summary", "--window", "1d", "--out", trial / "out", "--json").stdout
    )
    assert [record["window_start"] for record in records] == ["2025-06-03T00:00:00Z"]
    assert records[0]["metrics"]["f1"] < 0.8
    alerts = json.loads(invoke("alerts", "list", "--all", "--out", trial / "out", "--json").stdout)
    assert "f1_low" in {alert["rule"] for alert in alerts}


def test_models_list_counts_every_prediction_once(trial):
    (row,) = json.loads(invoke("models", "list", "--out", trial / "out", "--json").stdout)
    assert (row["model_name"], row["n_predictions"]) == ("churn", DAYS * PER_DAY)


def test_interrupted_replay_ends_with_130_and_resumes_to_the_same_output(trial, tmp_path):
    command = [
        sys.executable,
        "-m",
        "driftline.agents.cli",
        "replay",
        str(trial / "sample-log"),
        "--config",
        str(trial / "driftline.toml"),
    ]
    command += ["--out", str(tmp_path / "out"), "--batch", "5"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    metrics = tmp_path / "out" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        pass  # until it has written something
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.decode().strip() == "driftline: interrupted"
    assert files(tmp_path / "out") != files(trial / "out")
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "resumed an earlier run" in done.stdout
    assert files(tmp_path / "out") == files(trial / "out")


def test_progress_is_shown_on_a_terminal_and_not_in_a_pipe(trial, tmp_path):
    arguments = [
        "replay",
        str(trial / "sample-log"),
        "--config",
        str(trial / "driftline.toml"),
        "--out",
    ]
    assert "closing windows" in printed_on_a_terminal(
        [*arguments, str(tmp_path / "a")], {"TERM": "xterm"}
    )
    assert "closing windows" not in invoke(*arguments, tmp_path / "b").output


# tables

ROWS = [
    {"id": "a1", "when": "2026-01-05T09:00:00Z", "p": "0.9", "y_true": "yes", "kind": "churn"},
    {"id": "a2", "when": "2026-01-05T09:10:00Z", "p": "0.2", "y_true": "yes", "kind": "churn"},
    {"id": "a3", "when": "2026-01-05T09:20:00Z", "p": "0.1", "y_true": "no", "kind": "churn"},
    {"id": "a4", "when": "2026-01-05T09:30:00Z", "p": "0.7", "y_true": "", "kind": "churn"},
]
FIELDS = {
    "prediction_id": "id",
    "timestamp": "when",
    "score": "p",
    "label": "y_true",
    "model_name": "kind",
    "model_version": "=1",
}
MAPPING = [word for field, column in FIELDS.items() for word in ("--map", f"{field}={column}")]


def confusion(out: Path) -> tuple[int, int, int, int, int]:
    (record,) = json.loads(
        invoke("performance", "summary", "--window", "1h", "--out", out, "--json").stdout
    )
    return record["n_predictions"], record["tn"], record["fp"], record["fn"], record["tp"]


def test_csv_with_a_mapping_of_columns(tmp_path):
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)
    result = invoke("replay", table, *MAPPING, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert confusion(tmp_path / "out") == (
        4,
        1,
        0,
        1,
        1,
    )  # by hand: a3 is tn, a2 fn, a1 tp, a4 has no truth


def test_parquet_with_a_mapping_of_columns(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [row | {"p": float(row["p"]), "y_true": row["y_true"] or None} for row in ROWS]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "table.parquet")
    result = invoke("replay", tmp_path / "table.parquet", *MAPPING, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert confusion(tmp_path / "out") == (4, 1, 0, 1, 1)


def test_alerts_on_a_narrow_terminal_are_paragraphs_with_the_whole_sentence(trial):
    narrow = printed_on_a_terminal(
        ["alerts", "list", "--all", "--out", str(trial / "out")], {"TERM": "xterm", "COLUMNS": "80"}
    )
    assert "Rule: f1_low" in narrow
    assert "Why: F1 of churn 1.4.2" in narrow
    wide = printed_on_a_terminal(
        ["alerts", "list", "--all", "--out", str(trial / "out")],
        {"TERM": "xterm", "COLUMNS": "200"},
    )
    assert "Rule: f1_low" not in wide


def test_invalid_input_creates_no_output_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    assert invoke("replay", tmp_path / "empty", "--out", tmp_path / "out").exit_code == 2
    assert not (tmp_path / "out").exists()


def test_unknown_metric_is_an_error_that_lists_the_metrics(trial):
    result = invoke("performance", "summary", "--out", trial / "out", "--metric", "f7")
    assert result.exit_code == 2
    assert 'no figure has a metric "f7"; there are accuracy,' in result.output


def test_output_folder_can_be_used_after_a_call_with_an_invalid_mapping(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("id,when,p,y_true,kind\na1,2026-01-05T09:00:00Z,0.9,yes,churn\n")
    wrong = [word.replace("score=p", "score=prob") for word in MAPPING]
    assert invoke("replay", table, *wrong, "--out", tmp_path / "out").exit_code == 2
    result = invoke("replay", table, *MAPPING, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert confusion(tmp_path / "out") == (1, 0, 0, 0, 1)


def test_table_without_a_mapped_column_ends_with_two(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("id,p\na1,0.9\n")
    result = invoke(
        "replay",
        table,
        "--map",
        "prediction_id=id",
        "--map",
        "score=prob",
        "--out",
        tmp_path / "out",
    )
    assert result.exit_code == 2
    assert "prob" in result.output
