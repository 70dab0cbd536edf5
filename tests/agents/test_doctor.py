"""`driftline doctor`: problems, notes and their remedies."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from driftline.agents.doctor.installation import check_python
from driftline.agents.doctor.state_size import (
    DIMENSION_BYTES,
    ENTRY_BYTES,
    Load,
    estimate_state_size,
    mean_stay_ms,
)
from driftline.schemas.config import parse_config
from driftline.schemas.times import DAY_MS, HOUR_MS


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
