"""`driftline alerts threshold` on a recorded log, what a replay of it does, and what
`driftline alerts rules` says of it.
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
from driftline.streams.decide.detectors import river_detectors


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(driftline, list(map(str, words)), env={"DRIFTLINE_USER": "ann"})


def replayed(folder: Path, out: str, log: str = "sample-log", *more: str) -> None:
    result = invoke(
        *("replay", folder / log, "--config", folder / "driftline.toml"),
        *("--out", folder / out, *more),
    )
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample log, and its output: F1 was 0.81 on the first day and 0.73 on the second."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder)
    replayed(folder, "out")
    return folder


@pytest.fixture
def folder(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / "copy"))


def threshold(folder: Path, *words: str, at: str = "2025-06-03T12:00:00Z") -> Result:
    places = ("--log", folder / "sample-log", "--out", folder / "out", "--at", at)
    return invoke("alerts", "threshold", *words, *places)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def fired(folder: Path, out: str) -> list[tuple[str, float]]:
    alerts = lines(folder / out / "alerts.jsonl")
    return [(alert["rule"], alert["threshold"]) for alert in alerts if alert["change"] == "firing"]


def test_a_level_of_a_log_is_in_its_replay_from_its_time_on(folder: Path) -> None:
    result = threshold(folder, "churn", "f1", "--below", "0.7", "--reason", "spring sale")
    assert result.exit_code == 0, result.output
    assert "replay the log into a new folder" in result.stdout
    result = threshold(folder, "churn", "throughput", "--above", "0.001", "--severity", "error")
    assert result.exit_code == 0, result.output
    replayed(folder, "again")
    assert fired(folder, "out") == [("f1_low", 0.8)]
    # 0.73 is not below 0.7, and 1,000 predictions a day are 0.0116 a second.
    assert fired(folder, "again") == [("throughput_high", 0.001)]
    changes = [
        (event["requested_by"], event.get("reason"), event["at"])
        for event in lines(folder / "again" / "registry-events.jsonl")
        if event["event"] == "set_rule_level"
    ]
    assert changes == [
        ("ann", "spring sale", "2025-06-03T12:00:00Z"),
        ("ann", None, "2025-06-03T12:00:00Z"),
    ]
    assert len(lines(folder / "again" / "model-rules.jsonl")) == 2
    history = invoke("registry", "history", "--out", folder / "again").stdout
    assert "rules.f1_low.below: 0.8 -> 0.7" in history
    assert "spring sale" in history


def test_a_replay_that_follows_the_registry_has_the_same_alerts(folder: Path) -> None:
    threshold(folder, "churn", "throughput", "--above", "0.001")
    threshold(folder, "churn", "f1", "--below", "0.7")
    back = threshold(folder, "churn", "f1", "--reset", at="2025-06-04T12:00:00Z")
    assert back.exit_code == 0, back.output
    replayed(folder, "again")
    recorded = shutil.copytree(folder / "sample-log", folder / "recorded")
    (recorded / "registry-commands.jsonl").unlink()
    for topic in ("registry-events", "registry-effects", "reference-profiles", "alert-events"):
        shutil.copy(folder / "again" / f"{topic}.jsonl", recorded)
    replayed(folder, "followed", "recorded", "--follow")
    # The level is taken back before the second day is judged.
    assert fired(folder, "followed") == [("throughput_high", 0.001), ("f1_low", 0.8)]
    for topic in ("alerts", "registry-events", "registry-effects", "model-rules", "metrics"):
        name = f"{topic}.jsonl"
        assert (folder / "followed" / name).read_bytes() == (folder / "again" / name).read_bytes()


def test_a_dry_run_says_what_would_change_and_writes_nothing(folder: Path) -> None:
    result = threshold(folder, "churn", "f1", "--below", "0.7", "--clear", "0.75", "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("would change, revision ")
    assert "rules.f1_low.below: 0.8 -> 0.7" in result.stdout
    assert "rules.f1_low.clear: 0.75" in result.stdout
    assert not (folder / "sample-log" / "registry-commands.jsonl").exists()


WRONG = {
    "an unknown model": (["churm", "f1", "--below", "0.7"], "no model churm in "),
    "an unknown rule": (["churn", "f2", "--below", "0.7"], '"f2" is neither a rule (coverage, '),
    "a percentage": (["churn", "f1", "--below", "70"], "70.0 lies outside [0, 1]"),
    "no number": (["churn", "f1", "--below", "nan"], "nan is no level"),
    "both sides": (["churn", "f1", "--below", "0.7", "--above", "0.8"], "exactly one of below"),
    "a window": (["churn", "f1", "--below", "0.7", "--window", "5m"], '"5m" is not kept'),
    "nothing": (["churn", "f1"], "there is nothing to set"),
    "as it is": (["churn", "f1", "--reset"], 'no command has set a level of "f1"'),
    "a severity": (["churn", "f1", "--severity", "bad"], "Invalid value for '--severity'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_ends_with_two_says_why_and_writes_nothing(folder: Path, name: str) -> None:
    words, error = WRONG[name]
    result = threshold(folder, *words)
    assert result.exit_code == 2, result.output
    assert error in result.output
    assert not (folder / "sample-log" / "registry-commands.jsonl").exists()


def test_a_level_needs_a_place(folder: Path) -> None:
    result = invoke("alerts", "threshold", "churn", "f1", "--below", "0.7", "--out", folder / "out")
    assert result.exit_code == 2
    assert "where to? name a broker (--broker) or a recorded log (--log)" in result.output


def test_the_rules_say_where_each_level_comes_from(folder: Path) -> None:
    threshold(folder, "churn", "f1", "--below", "0.7", "--reason", "spring sale")
    threshold(folder, "churn", "throughput", "--above", "0.001", "--for", "2")
    replayed(folder, "again")
    words = ("alerts", "rules", "--out", folder / "again", "--model", "churn")
    rules = {rule["name"]: rule for rule in json.loads(invoke(*words, "--json").stdout)}
    assert {
        name: rule["origin"] for name, rule in rules.items() if rule["type"] == "threshold"
    } == {
        "f1_low": "models.churn.rules[0]",
        "throughput_high": "command",
    }
    assert rules["drift"]["origin"] == "default"
    assert (rules["f1_low"]["below"], rules["throughput_high"]["for"]) == (0.7, 2)
    command = rules["f1_low"]["command"]
    assert command | {"revision": 0} == {
        "values": {"below": 0.7},
        "instead_of": {"below": 0.8},
        "revision": 0,
        "set_by": "ann",
        "set_at": "2025-06-03T12:00:00Z",
        "reason": "spring sale",
    }
    text = invoke(*words).stdout
    assert f"command: below 0.7 (revision {command['revision']}, ann, 2025-06-03 12:00)" in text
    as_configured = invoke(
        "alerts", "rules", "--config", folder / "driftline.toml", "--model", "churn"
    ).stdout
    assert "below 0.8" in as_configured
    assert "command:" not in as_configured


def test_rules_of_a_run_that_need_a_library_which_is_not_installed_here_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = folder / "driftline.toml"
    with config.open("a", encoding="utf-8") as file:
        file.write('\n[[models.churn.rules]]\ntype = "adwin"\nname = "adwin"\n')
    replayed(folder, "with-river")
    monkeypatch.setattr(river_detectors, "find_spec", lambda name: None)
    for words in (("rules", "--model", "churn"), ("threshold", "churn", "f1", "--below", "0.7")):
        more = ("--dry-run",) if words[0] == "threshold" else ()
        result = invoke("alerts", *words, "--out", folder / "with-river", *more)
        assert result.exit_code == 2
        assert '"adwin" needs river, which is not installed: pip install' in result.output
