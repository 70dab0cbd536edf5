"""The examples in the help of the verbs that read results, or change the registry, on the output of
the sample log.

An example on a broker runs on the folder, or adds its command to a log, instead; verbs on a broker
are `tests/kafka/test_read_model_broker.py` and `tests/kafka/test_alert_acts.py`.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from driftline.schemas.results import RegistryEvent, encode
from tests.agents.sample_output import sample_output

READING = [
    ("status",),
    ("models", "list"),
    ("models", "show"),
    ("models", "diff"),
    *(
        ("performance", name)
        for name in ("summary", "details", "errors", "trends", "compare", "degradation")
    ),
    ("drift", "report"),
    ("drift", "history"),
    ("daily-summary",),
    ("registry", "history"),
    ("registry", "as-of"),
    ("labels", "report"),
    ("quality", "report"),
]
WRITING = [
    ("models", name) for name in ("register", "update", "promote", "archive", "delete", "rollback")
]
CHANGES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    *(("update", "1.4.2", {"owner": f"{each}"}, {"owner": f"{each + 1}"}) for each in range(9)),
    ("register", "1.3.0", {}, {"stage": "development"}),
    ("archive", "1.3.0", {"stage": "development"}, {"stage": "archived"}),
    ("set_threshold", "1.4.2", {"threshold": None}, {"threshold": 0.4}),
]
"""Changes that the examples need, after those of the sample."""


def examples(path: tuple[str, ...]) -> list[str]:
    command: click.Command = driftline
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    lines = [line.strip() for line in (command.epilog or "").splitlines()]
    return [line for line in lines if line.startswith("driftline ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `driftline-out`, which has another version with the same figures."""
    place = tmp_path_factory.mktemp("examples")
    out = place / "driftline-out"
    shutil.copytree(sample_output(), out, ignore=shutil.ignore_patterns("read-model.sqlite*"))
    for name in ("metrics", "histograms", "registry", "drift"):
        path = out / f"{name}.jsonl"
        lines = path.read_bytes()
        path.write_bytes(lines + lines.replace(b'"1.4.2"', b'"1.5.0"'))
    events = out / "registry-events.jsonl"
    first = len(events.read_bytes().splitlines()) + 1
    with events.open("ab") as file:
        for revision, (name, version, before, after) in enumerate(CHANGES, first):
            event = RegistryEvent(
                event=name,
                model_name="churn",
                model_version=version,
                revision=revision,
                command_id=f"example-{revision}",
                at="2025-06-03T00:00:00Z",
                requested_by="ann",
                before={version: before} if before else {},
                after={version: after},
            )
            file.write(encode(event) + b"\n")
    return place


@pytest.mark.parametrize("line", [line for path in READING for line in examples(path)])
def test_an_example_shows_the_model(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    words = shlex.split(line)[1:]
    if "--broker" in words:
        at = words.index("--broker")
        del words[at : at + 2]
    result = CliRunner().invoke(driftline, words)
    assert result.exit_code == 0, result.output
    assert "churn" in result.output


@pytest.mark.parametrize("line", [line for path in WRITING for line in examples(path)])
def test_an_example_changes_the_model(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    shutil.rmtree("sample-log", ignore_errors=True)
    Path("sample-log").mkdir()
    words = shlex.split(line)[1:]
    if "--broker" in words:
        at = words.index("--broker")
        words[at : at + 2] = ["--log", "sample-log", "--out", "driftline-out"]
    result = CliRunner().invoke(driftline, words)
    assert result.exit_code == 0, result.output
    commands = Path("sample-log", "registry-commands.jsonl")
    if "--dry-run" in words:
        assert result.output.startswith("would change, revision ")
        assert not commands.exists()
    else:
        assert commands.read_text(encoding="utf-8").count('"model_name":"churn"') == 1
