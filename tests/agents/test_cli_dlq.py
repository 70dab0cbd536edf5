"""`driftline dlq` without a broker: output folders, and wrong calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.agents.cli.program import driftline
from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import parse_config


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output of a replay that rejected three rows."""
    log = tmp_path / "log"
    log.mkdir()
    (log / "predictions.jsonl").write_bytes(b'{\n{"prediction_id":"a"}\n\xff\n')
    (log / "ground-truth.jsonl").touch()
    replay(log, tmp_path / "out", parse_config(""))
    return tmp_path / "out"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(driftline, ["dlq", *map(str, arguments)])


def test_letters_of_a_folder_are_counted_and_shown(out: Path) -> None:
    rows = json.loads(run("list", "--out", out, "--json").output)
    assert {(row["topic"], row["reason"], row["count"]) for row in rows} == {
        ("predictions", "not_json", 1),
        ("predictions", "missing_field", 1),
        ("predictions", "encoding", 1),
    }
    (place,) = (row["example"] for row in rows if row["reason"] == "encoding")
    assert "value:     \\xff\n" in run("show", place, "--out", out).output
    (one,) = json.loads(
        run("show", "predictions", "--reason", "not_json", "--out", out, "--json").output
    )
    assert one["value"] == {"base64": "ew=="}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "metrics"), "'metrics' has no dead letters; the topics are predictions,"),
        (("show", "predictions:x"), "is not TOPIC[:PARTITION[:OFFSET[-OFFSET]]]"),
        (("show", "predictions:0:5-2"), "the first offset is after the last one"),
        (("retry",), "Missing argument 'TOPIC"),
        (("retry", "window-partials"), "workers write that topic"),
        (("list", "--reason", "bad"), "'bad' is none of not_json,"),
        (("list", "--out", ".", "--since", "2026-11-21T10:00:00Z"), "has no times"),
        (("list", "--out", "nowhere"), "there is no output folder nowhere"),
    ],
)
def test_a_wrong_call_says_what_was_needed(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_no_letter_at_a_place_is_an_error(out: Path) -> None:
    result = run("show", "predictions:5", "--out", out)
    assert (result.exit_code, "no dead letter of predictions matches" in result.output) == (2, True)
