"""Responses to alerts in a replay: the same bytes for any options, followed from a record, and
shown on the command line.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

import driftline
from driftline.agents.cli.program import driftline as program
from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import load_config
from driftline.schemas.errors import DriftlineError
from tests.agents.response_log import EPISODE, write_response_log
from tests.agents.stopped_runs import run_through_stops


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, bytes]]:
    """Configuration, log and outputs. When the alert fires, the registry is at revision 13: five
    commands, and eight facts that Driftline recorded.
    """
    folder = tmp_path_factory.mktemp("sample")
    config, log = write_response_log(folder)
    return config, log, replayed(log, folder / "out", config)


def clock() -> int:
    return 1_900_000_000_000


def replayed(log: Path, out: Path, config: Path, **options: Any) -> dict[str, bytes]:
    driftline.replay(log, config=config, out=out, **options)
    return written(out)


def written(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.jsonl"))}


def test_an_alert_rolls_back_configuration_and_version_and_says_what_else_it_would_do(
    sample: tuple[Path, Path, dict[str, bytes]],
) -> None:
    _, log, _ = sample
    results = driftline.open(log.parent / "out")
    assert [
        (each.action, each.outcome, each.alert_id, each.params)
        for each in results.actions.structs()
    ] == [
        (
            "rollback_configuration",
            "taken",
            EPISODE,
            {"revision": 14, "after": {"1.4.2": {"threshold": 0.45}}},
        ),
        (
            "rollback_version",
            "taken",
            EPISODE,
            {
                "revision": 15,
                "after": {
                    "1.4.1": {
                        "stage": "production",
                        "deployed_at": "2025-06-05T00:00:00Z",
                        "promoted_by": "driftline",
                    },
                    "1.4.2": {"stage": "staging"},
                },
            },
        ),
        ("clear_cache", "dry_run", EPISODE, {"cache": "features"}),
    ]
    caused = [each for each in results.registry_events.structs() if each.cause == EPISODE]
    assert [(each.event, each.revision, each.requested_by) for each in caused] == [
        ("rollback", 14, "driftline"),
        ("rollback", 15, "driftline"),
    ]
    assert {each.model_version: each.stage for each in results.registry.latest().structs()} == {
        "1.4.1": "production",
        "1.4.2": "staging",
    }


@pytest.mark.parametrize(("partitions", "batch"), [(1, 97), (5, 1_000)])
def test_partitions_and_batches_change_no_byte(
    tmp_path: Path, sample: tuple[Path, Path, dict[str, bytes]], partitions: int, batch: int
) -> None:
    config, log, expected = sample
    options = {"partitions": partitions, "batch": batch}
    assert replayed(log, tmp_path / "out", config, **options) == expected


def test_a_run_stopped_at_many_commits_takes_each_action_once(
    tmp_path: Path, sample: tuple[Path, Path, dict[str, bytes]]
) -> None:
    config, log, expected = sample

    def start(_: Random, reached: Callable[[str], None]) -> None:
        loaded = load_config(config)
        replay(log, tmp_path / "out", loaded, batch=100, clock=clock, reached=reached)

    run_through_stops(start, seed=96)
    assert written(tmp_path / "out") == expected


def test_following_a_record_repeats_its_actions_and_decides_none(
    tmp_path: Path, sample: tuple[Path, Path, dict[str, bytes]]
) -> None:
    config, log, expected = sample
    followed = shutil.copytree(log, tmp_path / "log")
    for topic in ("registry-events", "registry-effects", "reference-profiles", "actions"):
        (followed / f"{topic}.jsonl").write_bytes(expected[f"{topic}.jsonl"])
    assert replayed(followed, tmp_path / "out", config, follow=True) == expected
    (followed / "actions.jsonl").unlink()
    again = replayed(followed, tmp_path / "none", config, follow=True)
    assert again == expected | {"actions.jsonl": b""}


def test_a_rule_that_the_model_lacks_is_rejected_with_its_path(
    tmp_path: Path, sample: tuple[Path, Path, dict[str, bytes]]
) -> None:
    config, log, _ = sample
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(config.read_text().replace('rule = "f1*"', 'rule = "f2*"'))
    with pytest.raises(DriftlineError, match=r'models\.churn\.responses\[1\]\.rule: "f2\*" is no '):
        driftline.replay(log, config=wrong, out=tmp_path / "out")


def test_responses_that_a_model_inherits_may_be_for_rules_of_other_models(
    tmp_path: Path, sample: tuple[Path, Path, dict[str, bytes]]
) -> None:
    _, log, _ = sample
    response = {"rule": "other", "action": "log"}
    rule = {"type": "threshold", "name": "other", "metric": "f1", "below": 0.1}
    own = rule | {"name": "own"}
    created = {"rule": "accuracy_low", "action": "log"}  # by `driftline alerts threshold`
    config = {
        "defaults": {"rules": [rule], "responses": [response]},
        "models": {"churn": {"rules": [own]}, "fraud": {"responses": [created]}},
    }
    driftline.replay(log, config=config, out=tmp_path / "out")


def test_the_command_line_lists_actions_and_shows_them_with_their_alert(
    sample: tuple[Path, Path, dict[str, bytes]],
) -> None:
    _, log, _ = sample
    out = str(log.parent / "out")

    def said(*words: str) -> str:
        result = CliRunner().invoke(program, [*words, "--out", out], env={"COLUMNS": "250"})
        assert result.exit_code == 0, result.output
        return result.stdout

    listed = said("actions", "list")
    assert [line.split("  ")[0] for line in listed.splitlines() if "2025" in line]
    assert all(word in listed for word in ("rollback_version", "dry run", "clear_cache", EPISODE))
    assert "clear_cache" not in said("actions", "list", "--taken")
    assert said("actions", "list", "--model", "other") == f"no action in {out}\n"
    (first, *_) = json.loads(said("actions", "list", "--json"))
    assert (first["action"], first["at"]) == ("rollback_configuration", "2025-06-05T00:00:00Z")
    shown = said("alerts", "show", EPISODE)
    assert "It led to:" in shown
    assert "rollback_version" in shown
    records = json.loads(said("alerts", "show", EPISODE, "--json"))
    assert [record.get("action") for record in records] == [
        None,
        "rollback_configuration",
        "rollback_version",
        "clear_cache",
    ]
    assert "clear_cache: warning alert f1_low" in said("tail", "actions", "--last", "1")
