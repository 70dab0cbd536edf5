"""The examples in the help of the verbs that read results, on the output of the sample log.

An example on a broker runs on the folder instead; verbs on a broker are
`tests/kafka/test_read_model_broker.py`.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
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
]


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
