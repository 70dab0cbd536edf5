"""Verbs of `driftline models` that change the registry, on a recorded log and its replay.

On a broker they are `tests/kafka/test_alert_acts.py`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from driftline.agents.cli.program import driftline
from driftline.agents.sample_log import write_sample
from tests.agents.test_cli_alert_levels import invoke, lines, replayed

AT = "2025-06-03T{}:00:00Z"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder)
    replayed(folder, "out")
    return folder


@pytest.fixture
def folder(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / "copy"))


def models(folder: Path, *words: str, hour: int = 12, out: str = "out") -> Result:
    places = ("--log", folder / "sample-log", "--out", folder / out, "--at", AT.format(hour))
    return invoke("models", *words, *places)


def accepted(folder: Path, *words: str, **options: Any) -> None:
    result = models(folder, *words, **options)
    assert result.exit_code == 0, result.output


def commands(folder: Path) -> list[dict[str, Any]]:
    path = folder / "sample-log" / "registry-commands.jsonl"
    return lines(path) if path.exists() else []


def test_the_life_of_a_version_in_a_log_is_in_its_replay(folder: Path) -> None:
    (folder / "c.toml").write_text("depth = 3\n[layers]\nwide = [8, 4]\n", encoding="utf-8")
    accepted(
        folder,
        *(
            "register",
            "churn@2.0.0",
            "--threshold",
            "0.4",
            "--type",
            "supervised",
            "--tag",
            "a=b=c",
        ),
        *("--configuration", str(folder / "c.toml"), "--artifact", "s3://m", "--sha256", "AB" * 32),
    )
    accepted(folder, "promote", "churn@1.4.2", "--reason", "the best one", hour=13)
    accepted(folder, "promote", "churn@2.0.0", "--to", "staging", hour=14)
    accepted(folder, "promote", "churn@2.0.0", "--requested-by", "bob", hour=15)
    accepted(folder, "rollback", "churn@2.0.0", "--only", "version", hour=16)
    accepted(folder, "update", "churn@2.0.0", "--owner", "ann", hour=17)
    accepted(folder, "archive", "churn@2.0.0", hour=18)
    accepted(folder, "delete", "churn@2.0.0", "--expected-revision", "13", hour=19)
    replayed(folder, "again")
    events = {
        event["at"]: event
        for event in lines(folder / "again" / "registry-events.jsonl")
        if event["requested_by"] != "driftline"
    }
    assert [event["event"] for event in events.values()] == [
        *("register", "promote", "promote", "promote", "rollback", "update", "archive", "delete"),
    ]
    assert events[AT.format(13)]["reason"] == "the best one"
    assert events[AT.format(15)]["requested_by"] == "bob"
    registered = events[AT.format(12)]["after"]["2.0.0"]
    assert registered == {
        "stage": "development",
        "registered_at": AT.format(12),
        "threshold": 0.4,
        "type": "supervised",
        "tags": {"a": "b=c"},
        "configuration": {"depth": 3, "layers": {"wide": [8, 4]}},
        "artifact": {"location": "s3://m", "sha256": "ab" * 32},
    }
    listed = json.loads(invoke("models", "list", "--out", folder / "again", "--json").stdout)
    assert [(each["model_version"], each["stage"]) for each in listed] == [("1.4.2", "production")]
    accepted(folder, "rollback", "churn@2.0.0", hour=20, out="again")
    accepted(folder, "rollback", "churn", "--to-revision", "5", hour=21, out="again")
    replayed(folder, "back")
    entries = {each["model_version"]: each for each in lines(folder / "back" / "registry.jsonl")}
    assert entries["1.4.2"]["stage"] == "development"
    assert (entries["2.0.0"]["stage"], entries["2.0.0"].get("deleted_at")) == ("archived", None)


def test_a_command_is_tried_on_what_was_in_force_at_its_time(folder: Path) -> None:
    accepted(folder, "promote", "churn@1.4.2", hour=12)
    before = models(folder, "archive", "churn@1.4.2", "--dry-run", hour=11)
    assert before.stdout.endswith("1.4.2 stage: development -> archived\n")
    after = models(folder, "archive", "churn@1.4.2", hour=13)
    assert after.exit_code == 2
    assert "1.4.2 is in production; promote another version first (by the results in" in (
        after.output
    )
    assert len(commands(folder)) == 1


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    words = ("promote", "churn@1.4.2", "--dry-run", "--json")
    (answer,) = json.loads(models(folder, *words).stdout)["answers"]
    assert answer["after"]["1.4.2"]["stage"] == "production"
    assert commands(folder) == []


def test_without_results_a_command_is_added_untried_and_said_to_be(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(
        driftline, ["models", "promote", "churn@1.4.2", "--log", "sample-log", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert "not tried first: there are no results in driftline-out (--out)" in result.stderr
    assert [each["command"] for each in json.loads(result.stdout)["sent"]] == ["promote"]
    assert [each["command"] for each in commands(folder)] == ["promote"]


WRONG = {
    ("promote", "churn"): '"churn" names no version; write NAME@VERSION, such as churn@1.4.2',
    ("promote", "@1"): '"@1" names no version',
    ("promote", "churn@7"): "promote: churn 7 is not registered; registered versions: 1.4.2",
    ("promote", "churn@1.4.2", "--to", "heaven"): "Invalid value for '--to'",
    ("promote", "churn@1.4.2", "--expected-revision", "1"): "expected revision 1, but churn is at",
    ("register", "churn@1.4.2"): "register: churn 1.4.2 is registered since",
    ("register", "churn@3", "--threshold", "40"): "40.0 is not in the range 0<=x<=1",
    ("register", "churn@3", "--tag", "a"): '--tag a: write NAME=VALUE, such as "team=growth"',
    ("register", "churn@3", "--sha256", "ab"): "--sha256 is that of an artifact",
    ("register", "churn@3", "--artifact", "x", "--sha256", "ab"): "has 64 hexadecimal digits",
    ("update", "churn@1.4.2"): "there is nothing to update; name at least one field",
    ("delete", "churn@1.4.2"): "delete: churn 1.4.2 is in development; archive it first",
    ("rollback", "churn"): '"churn" names no version',
    ("rollback", "churn@1.4.2"): "nothing was set for churn 1.4.2 since its registration",
    ("rollback", "churn", "--to-revision", "99"): "to_revision 99 does not lie before it",
    ("rollback", "churn@1", "--to-revision", "1", "--only", "version"): "name one of them",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_wrong_call_ends_with_two_says_why_and_writes_nothing(
    folder: Path, words: tuple[str, ...]
) -> None:
    result = models(folder, *words)
    assert result.exit_code == 2, result.output
    assert WRONG[words] in result.output
    assert commands(folder) == []


@pytest.mark.parametrize("content", ["[1]", "{", "\udcff"])
def test_a_configuration_that_is_no_table_is_refused_with_its_path(
    folder: Path, content: str
) -> None:
    path = folder / "c.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    result = models(folder, "update", "churn@1.4.2", "--configuration", str(path))
    assert (result.exit_code, commands(folder)) == (2, [])
    assert f"driftline: {path}: " in result.output


def test_a_change_needs_a_place(folder: Path) -> None:
    result = invoke("models", "promote", "churn@1.4.2", "--out", folder / "out")
    assert result.exit_code == 2
    assert "where to? name a broker (--broker) or a recorded log (--log)" in result.output
