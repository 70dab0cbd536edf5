"""`driftline alerts`: people's acts on a recorded log, and what a replay of it shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from driftline.agents.cli.program import driftline
from driftline.agents.sample_log import write_sample

FINGERPRINT = "7fbc7a5cddfe7039"


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(driftline, list(map(str, words)), env={"DRIFTLINE_USER": "ann"})


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample log and its output, in which f1_low fires on 2025-06-05 and stays."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder)
    replayed(folder)
    return folder


@pytest.fixture
def folder(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / "copy"))


def replayed(folder: Path, out: str = "out") -> None:
    result = invoke(
        *("replay", folder / "sample-log", "--config", folder / "driftline.toml"),
        *("--out", folder / out),
    )
    assert result.exit_code == 0, result.output


def act(folder: Path, verb: str, *words: str, hour: int = 1) -> Result:
    at = f"2025-06-05T{hour:02d}:00:00Z"
    return invoke("alerts", verb, *words, "--log", folder / "sample-log", "--at", at)


def document(folder: Path, *words: str, out: str = "again") -> Any:
    return json.loads(invoke("alerts", *words, "--json", "--out", folder / out).stdout)


def test_an_acknowledgement_and_a_silence_of_a_log_are_in_its_replay(folder: Path) -> None:
    taken = act(folder, "ack", FINGERPRINT[:3], "--out", f"{folder / 'out'}", "--reason", "on it")
    assert taken.exit_code == 0, taken.output
    quiet = act(folder, "silence", "--model", "churn", "--name", "f1*", "--for", "2h", "--id", "q")
    assert quiet.exit_code == 0, quiet.output
    assert "replay the log into a new folder" in quiet.stdout
    replayed(folder, "again")
    records = document(folder, "show", FINGERPRINT)
    assert [(each["change"], each["status"]) for each in records] == [
        ("firing", "firing"),
        ("acknowledged", "acknowledged"),
        ("silenced", "silenced"),
        ("unsilenced", "acknowledged"),
    ]
    assert records[1]["acknowledged"] == {
        "by": "ann",
        "at": "2025-06-05T01:00:00Z",
        "reason": "on it",
    }
    assert records[2]["silenced_by"] == ["q"]
    (row,) = document(folder, "list")
    assert row["status"] == "acknowledged"
    assert "acknowledged (ann)" in invoke("alerts", "list", "--out", folder / "again").stdout
    (silence,) = document(folder, "silences")
    assert (silence["id"], silence["ends_at"]) == ("q", "2025-06-05T03:00:00Z")


def test_what_is_taken_back_is_no_longer_there(folder: Path) -> None:
    act(folder, "silence", "--model", "churn", "--for", "9d", "--id", "q")
    act(folder, "ack", FINGERPRINT, "--out", f"{folder / 'out'}")
    act(folder, "unsilence", "q", "--model", "churn", hour=2)
    act(folder, "unack", FINGERPRINT, "--out", f"{folder / 'out'}", hour=2)
    replayed(folder, "again")
    assert [each["change"] for each in document(folder, "show", FINGERPRINT)] == [
        "firing",
        "silenced",
        "acknowledged",
        "unsilenced",
        "unacknowledged",
    ]
    assert document(folder, "silences") == []
    (row,) = document(folder, "list")
    assert (row["status"], "acknowledged" in row) == ("firing", False)


def test_a_rejected_command_is_in_the_answers_with_its_reason(folder: Path) -> None:
    act(folder, "accept", FINGERPRINT, "--out", f"{folder / 'out'}")
    replayed(folder, "again")
    (answer,) = map(json.loads, (folder / "again" / "alert-events.jsonl").read_text().splitlines())
    assert (answer["event"], answer["command"], answer["requested_by"]) == (
        "rejected",
        "accept",
        "ann",
    )
    assert "f1_low does not compare with a baseline" in answer["error"]
    assert [each["change"] for each in document(folder, "show", FINGERPRINT)] == ["firing"]


WRONG = {
    "an unknown alert": (["ack", "beef"], "no alert beef is open in "),
    "no place": (["silence", "--model", "churn", "--for", "1h"], "where to? name a broker"),
    "no end": (["silence", "--model", "churn"], "needs either ends_at or duration (--for,"),
    "an end before the start": (
        [
            *("silence", "--model", "churn", "--from", "2025-01-02T00:00:00Z"),
            *("--until", "2025-01-01T00:00:00Z"),
        ],
        "which is not after its start",
    ),
    "no time": (["silence", "--model", "churn", "--for", "1h", "--at", "now"], "--at"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_ends_with_two_and_says_why(folder: Path, name: str) -> None:
    words, error = WRONG[name]
    out = ["--out", f"{folder / 'out'}"] if words[0] == "ack" else []
    result = invoke("alerts", *words, *out)
    assert result.exit_code == 2
    assert error in result.output


def test_a_beginning_that_several_open_alerts_have_is_refused(folder: Path) -> None:
    path = folder / "out" / "alerts.jsonl"
    other = path.read_text().replace(FINGERPRINT, "7fb0000000000000")
    path.write_text(path.read_text() + other)
    result = act(folder, "ack", "7fb", "--out", f"{folder / 'out'}")
    assert result.exit_code == 2
    assert "7fb is the beginning of 2 open alerts" in result.output
    result = invoke("alerts", "show", "7fb", "--out", folder / "out")
    assert result.exit_code == 2
    assert "7fb is the beginning of 2 alerts" in result.output


def test_an_exported_log_takes_no_commands(folder: Path) -> None:
    path = folder / "sample-log" / "alert-commands.jsonl"
    path.write_text('{"partition": 0, "offset": 0, "value": {}}\n')
    result = act(folder, "silence", "--model", "churn", "--for", "1h")
    assert result.exit_code == 2
    assert "is an export of a broker" in result.output


def test_the_rules_of_a_model_are_listed_with_windows_and_parameters(folder: Path) -> None:
    words = ["alerts", "rules", "--config", folder / "driftline.toml", "--model", "churn"]
    rules = {rule["name"]: rule for rule in json.loads(invoke(*words, "--json").stdout)}
    assert (rules["f1_low"]["window"], rules["f1_low"]["below"]) == ("1d", 0.8)
    assert rules["coverage"]["maturity"] == "first complete"
    assert "maturity" not in {key for key, value in rules["no_data"].items() if value is not None}
    assert "below 0.8" in invoke(*words).stdout
