"""The command line: help, exit codes, interruption, and verbs without an output folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "driftline.agents.cli"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
HEAVY = ("numpy", "rocksdict", "rich", "pyarrow", "pandas", "msgspec", "xxhash")


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=120,
        check=False,
        **options,
    )


def verbs(group: click.Group = driftline, path: tuple[str, ...] = ()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, (*path, name))
        else:
            yield (*path, name)


def test_unknown_metric_in_the_configuration_is_an_error_with_its_place(tmp_path):
    (tmp_path / "c.toml").write_text('[models.churn]\nmetrics = ["f7"]\n')
    done = invoke("doctor", "--config", tmp_path / "c.toml")
    assert done.exit_code == 1
    message = " ".join(done.output.split())
    assert 'c.toml: models.churn.metrics: "f7" is no metric; known are accuracy' in message


VERBS = list(verbs())
READING = [
    path
    for path in VERBS
    if path[0]
    in (
        "status",
        "daily-summary",
        "models",
        "performance",
        "drift",
        "labels",
        "quality",
        "alerts",
        "registry",
        "doctor",
    )
]


def invoke(*arguments):
    return CliRunner().invoke(driftline, [str(argument) for argument in arguments])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_error_of_the_operating_system_is_one_line_and_exit_code_two(tmp_path):
    for name in ("file", "predictions.jsonl", "ground-truth.jsonl"):
        (tmp_path / name).touch()
    for command, place in (
        (["init", "file/trial"], "file/trial/sample-log"),
        (["replay", ".", "--out", "file/out"], "file/out"),
    ):
        done = run(*command, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (2, f"driftline: {place}: Not a directory\n")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("driftline: No space left on device; free some space")
    assert "Traceback" not in done.stderr


def test_replay_on_a_full_disk_ends_with_one_line_and_resumes_once_there_is_space(tmp_path):
    assert run("init", "trial", cwd=tmp_path).returncode == 0
    replay = [
        *COMMAND,
        "replay",
        "trial/sample-log",
        "--config",
        "trial/driftline.toml",
        "--batch",
        "200",
        "--out",
    ]
    options = {
        "cwd": tmp_path,
        "env": ENVIRONMENT,
        "capture_output": True,
        "text": True,
        "check": False,
    }
    for kib in (1, 50, 300):  # a limit on the file size stands for a disk that fills up later
        done = subprocess.run(
            ["bash", "-c", f'ulimit -f {kib}; exec "$@"', "-", *replay, f"out-{kib}"], **options
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"driftline: out-{kib}/")
    assert subprocess.run([*replay, "out"], **options).returncode == 0
    assert subprocess.run([*replay, "out-300"], **options).returncode == 0
    for path in (tmp_path / "out").glob("*.jsonl"):
        assert (tmp_path / "out-300" / path.name).read_bytes() == path.read_bytes()


def test_help_imports_no_heavy_library():
    code = (
        "import sys, driftline.agents.cli.program; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_help_of_every_verb_has_an_example_with_that_verb(path):
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    example = result.output.partition("Example:\n")[2]
    assert f"driftline {' '.join(path)}" in example


@pytest.mark.parametrize(
    "path",
    READING,
    ids=" ".join,
)
def test_reading_verb_has_a_json_option(path):
    assert "--json" in invoke(*path, "--help").output


def test_wrong_call_ends_with_two():
    for arguments in (
        ["nonsense"],
        ["replay"],
        ["alerts", "list", "--severity", "loud"],
        ["doctor", "--rate", "fast"],
    ):
        assert invoke(*arguments).exit_code == 2, arguments


def test_missing_output_folder_ends_with_two_and_names_the_command_that_writes_one(tmp_path):
    result = run("models", "list", "--out", str(tmp_path / "nowhere"))
    assert result.returncode == 2
    assert result.stdout == ""
    assert "driftline replay LOG --out" in result.stderr


def test_version_option_prints_the_version():
    assert re.fullmatch(r"driftline \S+\n", run("--version").stdout)


def test_interruption_ends_with_130_and_one_line(tmp_path):
    log = tmp_path / "predictions.jsonl"
    log.write_text(WRONG + "\n" + (GOOD + "\n") * 500_000)
    process = subprocess.Popen(
        [*COMMAND, "schema", "validate", str(log)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"line 1:")  # it is running
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode().strip() == "driftline: interrupted"


def test_closed_pipe_is_not_an_error(tmp_path):
    invoke("init", tmp_path)
    line = '{"timestamp": 1}\n'
    (tmp_path / "predictions.jsonl").write_text(line * 5_000)
    command = " ".join(
        [
            *COMMAND,
            "schema",
            "validate",
            "--limit",
            "0",
            str(tmp_path / "predictions.jsonl"),
            "| head -n 1",
        ]
    )
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
        check=False,
    )
    assert result.stdout.startswith("line 1: missing_field:")
    assert result.stderr == ""


# init


def test_init_writes_a_configuration_and_a_log(tmp_path):
    result = invoke("init", tmp_path / "trial")
    assert result.exit_code == 0
    assert (tmp_path / "trial" / "driftline.toml").is_file()
    assert (tmp_path / "trial" / "sample-log" / "predictions.jsonl").is_file()
    assert "driftline replay" in result.output


def test_init_overwrites_files_only_with_force(tmp_path):
    (tmp_path / "driftline.toml").write_text("# mine")
    result = invoke("init", tmp_path)
    assert result.exit_code == 2
    assert "--force" in result.output
    assert (tmp_path / "driftline.toml").read_text() == "# mine"
    assert invoke("init", tmp_path, "--force").exit_code == 0
    assert (tmp_path / "driftline.toml").read_text() != "# mine"


# schema


def test_schema_export_writes_the_files_in_the_repository(tmp_path):
    assert invoke("schema", "export", tmp_path / "schemas").exit_code == 0
    written = {path.name: path.read_text() for path in (tmp_path / "schemas").iterdir()}
    assert written
    assert written == {
        path.name: path.read_text() for path in (ROOT / "docs" / "schemas").iterdir()
    }


GOOD = (
    '{"prediction_id":"a","model_name":"m","model_version":"1","timestamp":"2026-01-05T00:00:00Z",'
    '"score":0.5}'
)
FOREIGN = (
    '{"request_id":"b","model":"m","version":"1","ts":1767571200000,"probability":0.5,'
    '"clerk":"ada"}'
)
WRONG = GOOD.replace("0.5", "1.7")


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n".join([GOOD, WRONG, FOREIGN, "{oops"]) + "\n")
    return path


def test_validate_reports_each_invalid_line_and_ends_with_one(log):
    result = invoke("schema", "validate", log)
    assert result.exit_code == 1
    assert 'line 2: out_of_range: field "score" is 1.7, outside [0, 1]' in result.output
    assert "line 4: not_json:" in result.output
    assert "2 of 4 lines are valid predictions" in result.output


def test_validate_lists_aliases_and_ignored_fields(log):
    output = invoke("schema", "validate", log).output
    assert 'alias "probability" was read as score (1 lines)' in output
    assert 'field "clerk" is ignored (1 lines)' in output


def test_validate_with_json_prints_one_document(log):
    result = invoke("schema", "validate", log, "--json")
    document = json.loads(result.stdout)
    assert (document["lines"], document["accepted"]) == (4, 2)
    assert [row["line"] for row in document["rejected"]] == [2, 4]
    assert document["aliases"]["ts"] == {"means": "timestamp", "lines": 1}


def test_validate_prints_at_most_limit_invalid_lines(log):
    log.write_text((WRONG + "\n") * 30)
    output = invoke("schema", "validate", log, "--limit", 5).output
    assert output.count("out_of_range: field") == 5
    assert "... and 25 more invalid lines" in output


def test_validate_of_valid_lines_ends_with_zero(log):
    log.write_text(GOOD + "\n")
    assert invoke("schema", "validate", log).exit_code == 0


def test_validate_needs_the_topic_if_the_file_name_is_not_one(log):
    other = log.rename(log.with_name("export.jsonl"))
    assert invoke("schema", "validate", other).exit_code == 2
    assert invoke("schema", "validate", other, "--topic", "predictions").exit_code == 1


# replay: errors before it starts


def test_replay_with_an_invalid_configuration_names_the_place_and_ends_with_two(tmp_path):
    invoke("init", tmp_path)
    config = tmp_path / "driftline.toml"
    config.write_text(config.read_text().replace('severity = "warning"', 'severity = "loud"'))
    result = invoke(
        "replay", tmp_path / "sample-log", "--config", config, "--out", tmp_path / "out"
    )
    assert result.exit_code == 2
    assert "models.churn.rules[0].severity" in result.output
    assert not (tmp_path / "out").exists()


def test_replay_with_an_invalid_mapping_ends_with_two(tmp_path):
    invoke("init", tmp_path)
    result = invoke("replay", tmp_path / "sample-log", "--map", "label", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "FIELD=COLUMN" in result.output
