"""Registry commands and decisions of a recorded log, in the in-process run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.registry_log import (
    RecordedCommands,
    RecordedDecisions,
    unfollowed_note,
)
from driftline.schemas.config import parse_config
from driftline.schemas.times import HOUR_MS, format_time

START_MS = 1_770_000_000_000 // HOUR_MS * HOUR_MS
CONFIG = parse_config(
    '[defaults]\nwindows = ["1h"]\nmaturity = ["1h"]\nlabel_horizon = "1h"\nreference = "2h"\n'
    "last_n = []\nsince_deployment = false\n"
)
VERSION = {"model_name": "churn", "model_version": "1.0.0"}


def command(name: str, at_ms: int, **params: Any) -> dict[str, Any]:
    return VERSION | {
        "command_id": f"{name}/{at_ms}",
        "command": name,
        "timestamp": format_time(at_ms),
        "requested_by": "ada",
        "params": params,
    }


def run(
    folder: Path, commands: Sequence[Mapping[str, Any]], *, threshold: float | None = None
) -> Path:
    """Replay four hours of predictions with score 0.6, each of them right; returns the output."""
    times_ms = range(START_MS, START_MS + 4 * HOUR_MS, HOUR_MS // 10)
    topics = {
        "predictions": [
            VERSION
            | {"prediction_id": str(at_ms), "timestamp": format_time(at_ms), "score": 0.6}
            | ({} if threshold is None else {"threshold": threshold})
            for at_ms in times_ms
        ],
        "ground-truth": [
            {"prediction_id": str(at_ms), "timestamp": format_time(at_ms + 1_000), "label": label}
            for at_ms, label in zip(times_ms, [1, 0] * 20, strict=True)
        ],
        "registry-commands": commands,
    }
    log = folder / "log"
    log.mkdir(parents=True)
    for topic, values in topics.items():
        lines = [json.dumps(value) + "\n" for value in values]
        (log / f"{topic}.jsonl").write_text("".join(lines), encoding="utf-8")
    replay(log, folder / "out", CONFIG, partitions=2, clock=lambda: 1_900_000_000_000)
    return folder / "out"


def records(out: Path, topic: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"{topic}.jsonl").read_bytes().splitlines()]


def matrices(out: Path) -> list[Any]:
    return [record["matrix"] for record in records(out, "metrics") if "matrix" in record]


def followed(out: Path) -> RecordedDecisions:
    """The decisions of an output folder, without reports."""
    nothing = RecordedCommands({}, {}, latest_ms=0, write_rejected=lambda topic, portion: None)
    return RecordedDecisions(out, nothing)


def test_set_threshold_changes_no_count_until_predictions_carry_the_new_threshold(
    tmp_path: Path,
) -> None:
    commands = [
        command("register", START_MS - HOUR_MS),
        command("set_threshold", START_MS - HOUR_MS + 1, threshold=0.9),
    ]
    before = run(tmp_path / "before", [])
    commanded = run(tmp_path / "commanded", commands)
    served = run(tmp_path / "served", commands, threshold=0.9)
    assert records(commanded, "registry")[-1]["threshold"] == 0.9
    assert matrices(commanded) == matrices(before) != []
    assert matrices(served) != matrices(before)


def test_following_a_log_without_a_profile_that_an_event_names_says_which(tmp_path: Path) -> None:
    out = run(tmp_path, [])
    (profile,) = records(out, "reference-profiles")
    (out / "reference-profiles.jsonl").write_bytes(b"")
    with pytest.raises(LogError) as error:
        followed(out).before(None)
    assert f"has no profile {profile['reference_id']!r} of churn" in str(error.value)
    assert "reference-profiles.jsonl" in str(error.value)
    assert "export it again" in str(error.value)


def test_following_a_log_without_one_of_the_events_names_the_revisions(tmp_path: Path) -> None:
    out = run(tmp_path, [])
    events = (out / "registry-events.jsonl").read_bytes().splitlines(keepends=True)
    (out / "registry-events.jsonl").write_bytes(b"".join(events[:1] + events[2:]))
    with pytest.raises(LogError, match="after revision 1 comes 3; the log has a hole"):
        followed(out).before(None)


def test_profile_is_written_once_however_often_its_version_changes(tmp_path: Path) -> None:
    changes = [
        command("set_threshold", START_MS + 3 * HOUR_MS + number, threshold=0.5 + number / 100)
        for number in range(20)
    ]
    out = run(tmp_path, [command("register", START_MS - HOUR_MS), *changes])
    (profile,) = records(out, "reference-profiles")
    assert profile["profile"]["n"] == 20
    named = [entry for entry in records(out, "registry") if "reference_id" in entry]
    assert len(named) > 20
    assert {entry["reference_id"] for entry in named} == {profile["reference_id"]}
    assert all("profile" not in json.dumps(entry) for entry in named)


def test_a_replay_that_follows_no_registry_effects_of_the_log_says_so(tmp_path: Path) -> None:
    out = run(tmp_path, [command("register", START_MS - HOUR_MS)])
    count = len(records(out, "registry-effects"))
    assert count > 2
    recorded = tmp_path / "recorded"
    shutil.copytree(tmp_path / "log", recorded)
    for topic in ("registry-events", "registry-effects", "reference-profiles"):
        shutil.copy(out / f"{topic}.jsonl", recorded)

    def notes(log: Path, name: str, *, follow: bool) -> list[str]:
        summary = replay(
            log, tmp_path / name, CONFIG, follow=follow, clock=lambda: 1_900_000_000_000
        )
        return [note for note in summary.notes if "registry effects" in note]

    assert notes(recorded, "executed", follow=False) == [
        f"{count} registry effects of the recorded run were not followed: this run executed the "
        "commands at their times; --follow (in Python: follow=True) puts each in force where the "
        "recorded run did"
    ]
    assert notes(recorded, "followed", follow=True) == []
    assert notes(tmp_path / "log", "plain", follow=False) == []


def test_a_dry_run_that_is_followed_leads_to_its_event_alone(tmp_path: Path) -> None:
    tried = [
        command("register", START_MS - HOUR_MS),
        command("promote", START_MS + HOUR_MS) | {"dry_run": True},
        command("register", START_MS + 2 * HOUR_MS) | {"dry_run": True, "model_version": "2.0.0"},
    ]
    out = run(tmp_path, tried)
    recorded = tmp_path / "recorded"
    shutil.copytree(tmp_path / "log", recorded)
    (recorded / "registry-commands.jsonl").unlink()
    for topic in ("registry-events", "registry-effects", "reference-profiles"):
        shutil.copy(out / f"{topic}.jsonl", recorded)
    replay(recorded, tmp_path / "again", CONFIG, follow=True, clock=lambda: 1_900_000_000_000)
    assert sum(event.get("dry_run", False) for event in records(out, "registry-events")) == 2
    for topic in ("registry", "registry-events"):
        assert records(tmp_path / "again", topic) == records(out, topic)


def effect(model_name: str, **more: Any) -> str:
    fields = {"model_name": model_name, "revision": 1, "frontier": "2026-01-01T00:00:00Z"}
    return json.dumps(fields | more) + "\n"


def test_changed_rules_that_a_replay_does_not_follow_are_named_by_model(tmp_path: Path) -> None:
    path = tmp_path / "registry-effects.jsonl"
    assert unfollowed_note(path) is None
    # Of the whole program, not of a model: an export has none, and a replay follows none.
    path.write_text(effect("", settings={"a": 1}), encoding="utf-8")
    assert unfollowed_note(path) is None
    changed = [effect(name, settings={}, settings_before={}) for name in "bcad"]
    path.write_text("".join([effect("churn"), *changed]), encoding="utf-8")
    assert unfollowed_note(path) == (
        "5 registry effects of the recorded run were not followed: this run executed the commands "
        "at their times and used the given rules, tuner and policy, which were changed for a, b, c "
        "and 1 more, throughout; --follow (in Python: follow=True) puts each in force where the "
        "recorded run did"
    )
    path.write_text("{", encoding="utf-8")
    assert "is no RegistryEffect" in (unfollowed_note(path) or "")
