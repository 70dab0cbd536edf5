"""`driftline doctor`: problems, notes and their remedies."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from driftline.agents.doctor.channels import check_channels
from driftline.agents.doctor.feature_shares import check_feature_shares
from driftline.agents.doctor.installation import check_python
from driftline.agents.doctor.state_size import (
    DIMENSION_BYTES,
    ENTRY_BYTES,
    Load,
    estimate_state_size,
    mean_stay_ms,
)
from driftline.schemas.config import parse_config
from driftline.schemas.results import Drift
from driftline.schemas.times import DAY_MS, HOUR_MS, format_time
from tests.streams.figures import START_MS, drift


def test_old_python_is_a_problem_and_a_new_one_is_not():
    result = check_python((3, 10, 13))
    assert (result.level, "Python 3.10.13" in result.message) == ("problem", True)
    assert check_python((3, 11, 0)).level == "ok"
    assert check_python().level == "ok"


# size of the state: p predictions a day that stay d days are p * d entries


def test_entry_without_a_truth_stays_until_the_label_horizon():
    settings = parse_config('[defaults]\nlabel_horizon = "14d"').defaults
    assert mean_stay_ms(Load(model_name="m", per_day=1), settings) == 14 * DAY_MS


def test_joined_entry_stays_until_the_end_of_the_correction_horizon():
    settings = parse_config('[defaults]\nlabel_horizon = "14d"\ncorrection_horizon = "2d"').defaults
    assert (
        mean_stay_ms(Load(model_name="m", per_day=1, coverage=1.0, delay_ms=6 * HOUR_MS), settings)
        == 2.25 * DAY_MS
    )
    assert (
        mean_stay_ms(Load(model_name="m", per_day=1, coverage=0.5, delay_ms=6 * HOUR_MS), settings)
        == (14 + 2.25) / 2 * DAY_MS
    )


def test_estimated_entries_are_rate_times_mean_stay():
    config = parse_config('[defaults]\nlabel_horizon = "10d"\nsegments = ["plan", "region"]')
    (result,) = estimate_state_size([Load(model_name="m", per_day=1_000)], config)
    assert "about 10,000 entries" in result.message
    assert f"{10_000 * (ENTRY_BYTES + 2 * DIMENSION_BYTES) / 2**20:,.0f} MiB" in result.message


# the command


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """The sample and its replay."""
    folder = tmp_path_factory.mktemp("trial")
    invoke("init", folder)
    config = folder / "driftline.toml"
    result = invoke("replay", folder / "sample-log", "--config", config, "--out", folder / "out")
    assert result.exit_code == 0, result.output
    return folder


def invoke(*arguments):
    return CliRunner().invoke(driftline, [str(argument) for argument in arguments])


def run_checks(*arguments) -> tuple[int, list[dict[str, str]]]:
    result = invoke("doctor", "--json", *arguments)
    return result.exit_code, json.loads(result.stdout)


def test_healthy_run_has_no_problem(trial):
    code, results = run_checks("--config", trial / "driftline.toml", "--out", trial / "out")
    assert [result for result in results if result["level"] == "problem"] == []
    assert code == 0
    assert {"python", "configuration", "state", "state size", "input"} <= {
        result["check"] for result in results
    }


def test_invalid_configuration_is_a_problem_with_its_place(trial, tmp_path):
    config = tmp_path / "driftline.toml"
    config.write_text("[defaults]\nwindows = ['1x']\n")
    code, results = run_checks("--config", config, "--out", tmp_path / "nowhere")
    assert code == 1
    assert "defaults.windows" in results[-1]["message"]


def shares(target: str, day: int, now: float, level: str, method: str = "missing") -> Drift:
    name = {"missing": "missing", "kind": "other_kind", "unseen": "unseen"}[method] + "_share"
    details = {name: now, f"reference_{name}": 0.0}
    end_ms = START_MS + day * DAY_MS
    return drift(end_ms, target=target, method=method, level=level, details=details)


def test_features_that_are_missing_in_the_newest_judged_window_are_named():
    results = [
        shares("feature:back", 7, 1.0, "severe"),  # has its values again in the window after
        shares("feature:income", 7, 0.2, "moderate"),
        shares("feature:income", 8, 0.3, "severe"),
        shares("feature:\x1bage", 8, 0.05, "mild"),
        shares("feature:plan", 8, 0.001, "none"),
        shares("feature:zip", 8, 0.25, "severe", method="kind"),
        shares("feature:income", 9, 1.0, "insufficient_data"),  # covered in part
    ]
    end = format_time(START_MS + 8 * DAY_MS)
    assert [
        (found.check, found.level, found.message) for found in check_feature_shares(results)
    ] == [
        (
            "features",
            "note",
            f"churn 1.0.0: feature {name} is {words} of the window to {end}, in 0.0% of the "
            f"reference ({level})",
        )
        for name, words, level in (
            ('"income"', "missing in 30.0%", "severe"),
            ('"\\u001bage"', "missing in 5.0%", "mild"),
            ('"zip"', "of another kind in 25.0%", "severe"),
        )
    ]


def test_texts_that_the_reference_never_had_are_named():
    (found,) = check_feature_shares([shares("feature:plan", 7, 0.4, "severe", method="unseen")])
    assert found.message == (
        'churn 1.0.0: feature "plan" has texts that the reference never had in 40.0% of the window '
        f"to {format_time(START_MS + 7 * DAY_MS)}, 0.0% was expected (severe)"
    )


def test_of_many_missing_features_ten_are_named():
    results = [shares(f"feature:f{number}", 7, 1.0, "severe") for number in range(14)]
    *named, last = check_feature_shares(results)
    assert len(named) == 10
    assert last.message == "churn 1.0.0: 4 more findings like these"


def test_run_of_another_configuration_is_noted(trial):
    _, results = run_checks("--out", trial / "out")
    assert any("another configuration" in result["message"] for result in results)


def test_unreadable_state_is_a_problem(trial, tmp_path):
    broken = tmp_path / "out"
    shutil.copytree(trial / "out", broken)
    (broken / "state" / "CURRENT").write_bytes(b"\x00damaged")
    code, results = run_checks("--config", trial / "driftline.toml", "--out", broken)
    assert code == 1
    assert [result["check"] for result in results if result["level"] == "problem"] == ["state"]


def test_state_size_can_be_estimated_from_a_rate_without_a_run(trial, tmp_path):
    _, results = run_checks(
        "--config", trial / "driftline.toml", "--rate", "200/s", "--out", tmp_path / "nowhere"
    )
    (result,) = [result for result in results if result["check"] == "state size"]
    assert "churn: 17,280,000 predictions a day" in result["message"]
    assert "about 34,560,000 entries" in result["message"]  # two days of label horizon


def test_each_channel_is_checked_with_its_secrets_and_none_is_shown(monkeypatch):
    monkeypatch.setenv("CHAT_URL", "https://chat.example.com/s3cret")
    monkeypatch.delenv("NO_URL", raising=False)
    config = parse_config(
        '[notifications.channels.chat]\ntype = "slack"\nurl = { env = "CHAT_URL" }\n'
        '[notifications.channels.other]\ntype = "slack"\nurl = { env = "NO_URL" }\n'
    )
    found = list(check_channels(config))
    assert [result.level for result in found] == ["ok", "problem"]
    assert found[0].message == "channel chat (slack): its settings and secrets can be read"
    assert "notifications.channels.other.url" in found[1].message
    assert "NO_URL is not set" in found[1].message
    assert not any("s3cret" in str(result) for result in found)
