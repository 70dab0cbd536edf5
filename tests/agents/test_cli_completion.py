"""`driftline completion`, in the shells that are installed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from tests.agents.terminal import ROOT


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A search path with the program `driftline`."""
    program = tmp_path / "driftline"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -c '
        "'from driftline.agents.cli import main; main()' \"$@\"\n",
        encoding="utf-8",
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("driftline mod", ["models"]),
        ("driftline models pro", ["promote"]),
        ("driftline performance summary --la", ["--lane"]),
        ("driftline performance summary --lane dec", ["decisions"]),
    ],
)
def test_bash_offers_what_goes_on(path: str, line: str, offered: list[str]) -> None:
    words = line.split()
    script = (
        'eval "$(driftline completion bash)"\n'
        f"COMP_WORDS=({' '.join(words)})\nCOMP_CWORD={len(words) - 1}\n"
        f'_driftline_completion driftline\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path},
        timeout=120,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (offered, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_lines_that_ask_the_program(shell: str) -> None:
    result = CliRunner().invoke(driftline, ["completion", shell])
    assert result.exit_code == 0
    assert f"_DRIFTLINE_COMPLETE={shell}_complete" in result.stdout


def test_another_shell_is_refused() -> None:
    result = CliRunner().invoke(driftline, ["completion", "csh"])
    assert result.exit_code == 2
    assert "'csh' is not one of 'bash', 'zsh', 'fish'" in result.output
