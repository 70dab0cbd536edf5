"""`driftline check` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.agents.cli.program import driftline
from driftline.agents.sample_log import write_sample

TOML = """
[run]
park = "1d"
[defaults]
windows = ["1h"]
detection_window = "1h"
maturity = ["1h"]
label_horizon = "1d"
correction_horizon = "1d"
"""
ESCAPE = "\x1b[31mred"


def invoke(*arguments: object, columns: str = "80") -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner(env={"COLUMNS": columns}).invoke(driftline, words)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Twenty pairs of a model with an escape sequence in its name; labels good and bad."""
    folder = tmp_path / "log"
    folder.mkdir()
    predictions, truths = [], []
    for i in range(20):
        at = f"2026-01-05T{i:02d}:00:00Z"
        fields = {"model_name": ESCAPE, "model_version": "1", "score": i / 20, "timestamp": at}
        predictions.append({"prediction_id": f"p{i}", "features": {ESCAPE: i}} | fields)
        label = "bad" if i > 9 else "good"
        truths.append({"prediction_id": f"p{i}", "timestamp": at, "label": label})
    for name, rows in (("predictions", predictions), ("ground-truth", truths)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "driftline.toml").write_text(TOML)
    return folder


def test_text_says_what_is_to_be_set_within_80_columns_and_without_escapes(log: Path) -> None:
    done = invoke("check", log, "--config", log.parent / "driftline.toml")
    assert done.exit_code == 1
    assert max(map(len, done.output.splitlines())) <= 80
    assert "\x1b" not in done.output
    text = " ".join(done.output.split())
    assert "predictions 20 rows, 20 accepted; 2026-01-05 00:00 to 2026-01-05 19:00" in text
    assert "\\x1b[31mred" in text
    assert 'labels "bad" (text; 10 truths), "good" (text; 10 truths)' in text
    assert "output 0 with a label, 20 with a score from 0 to 0.95" in text
    assert "truths 20 rows have met one (100.0 %)" in text
    assert "set positive_label" in text
    assert text.endswith(
        'to be set or mended: 1 (see "Look before the first run" in docs/inputs.md)'
    )


def test_a_log_that_is_understood_ends_with_0(log: Path) -> None:
    config = log.parent / "known.toml"
    config.write_text(TOML + 'positive_label = "bad"\n')
    done = invoke("check", log, "--config", config)
    assert done.exit_code == 0, done.output
    assert done.output.endswith("nothing to be set or mended\n")


def test_json_is_one_document_and_has_the_same_exit_code(log: Path) -> None:
    done = invoke("check", log, "--config", log.parent / "driftline.toml", "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert [topic["lines"] for topic in document["topics"]] == [20, 20]
    assert document["models"][0]["positive_label"] is None
    assert {finding["level"] for finding in document["findings"]} == {"problem", "note"}


def test_columns_of_a_table_are_printed_first_and_mapped(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    rows = "".join(f"a{i},2026-01-05 {i}:00,0.{i},{i % 2},yes\n" for i in range(10, 20))
    table.write_text(f"id,when,p,y,x\n{rows}")
    words = ["check", table]
    for pair in ("prediction_id=id", "timestamp=when", "score=p", "label=y", "model_name==m"):
        words += ["--map", pair]
    done = invoke(*words, "--map", "model_version==1", "--drop", "x")
    assert done.exit_code == 0, done.output
    assert done.output.startswith('columns of t.csv (see "Tables" in docs/inputs.md):')
    assert "left out" in done.output
    assert done.output.index("left out") < done.output.index("10 rows, 10 accepted")


def test_the_sample_has_one_line_to_be_mended(tmp_path: Path) -> None:
    config, log = write_sample(tmp_path)
    done = invoke("check", log, "--config", config, columns="200")
    assert done.exit_code == 1
    assert "predictions: 1 of 2,002 rows will be rejected as out_of_range" in done.output
    assert 'the positive label is "yes" (configured)' in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name either LOG, or --broker"),
        (["LOG", "--broker", "127.0.0.1:1"], "name either LOG, or --broker"),
        (["LOG", "--rows", "5"], "--rows is about a broker"),
        (["LOG", "--map", "label=y"], "is no table"),
        (["--broker", "127.0.0.1:1", "--drop", "a"], "are about a LOG"),
    ],
)
def test_wrong_calls_end_with_2(log: Path, words: list[str], message: str) -> None:
    done = invoke("check", *(str(log) if word == "LOG" else word for word in words))
    assert done.exit_code == 2
    assert message in done.output


def test_an_unreadable_table_ends_with_2_and_the_way_out(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b\n1,2\n")
    done = invoke("check", table)
    assert done.exit_code == 2
    assert "--map" in done.output
