"""What the README shows works as printed, in the order in which it is printed.

Blocks that follow `<!-- run -->` are run by a shell in one empty folder; a block that follows `<!--
file: PATH -->` is a file that a reader would add to the repository, and everything after it runs
with that file in place.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"<!-- (run|file: (?P<path>\S+)) -->\n```\w+\n(?P<text>.*?)```\n", re.DOTALL)


class Block(NamedTuple):
    """One marked block: a shell script, or the content of the file at `path`."""

    path: str | None
    text: str


BLOCKS = [Block(match["path"], match["text"]) for match in _BLOCK.finditer(README)]


class Reader:
    """A person with a copy of the repository, and an empty folder to try things in."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repository"
        self.work = folder / "work"
        self.work.mkdir()
        ignored = shutil.ignore_patterns("__pycache__")
        for package in ("driftline", "schemas", "streams", "agents"):
            shutil.copytree(
                ROOT / package, self.repository / package, symlinks=True, ignore=ignored
            )
        commands = folder / "bin"
        commands.mkdir()
        for name, arguments in (("driftline", " -m driftline.agents.cli"), ("python", "")):
            command = commands / name
            command.write_text(
                f'#!/bin/sh\nPYTHONPATH="{self.repository}" '
                f'exec "{sys.executable}"{arguments} "$@"\n'
            )
            command.chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
        }

    def follow(self, block: Block) -> str:
        """Do what a block says; returns what was printed."""
        if block.path is not None:
            target = self.repository / block.path
            assert not target.exists(), f"the README adds {block.path}, which is there already"
            target.write_text(block.text, encoding="utf-8")
            return ""
        return self.shell(block.text)

    def shell(self, script: str) -> str:
        """Run a script; every command of it must succeed."""
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(
            command,
            cwd=self.work,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> tuple[Reader, list[str]]:
    """All blocks followed from the first to the last, with what each printed."""
    reader = Reader(tmp_path_factory.mktemp("reader"))
    return reader, [reader.follow(block) for block in BLOCKS]


def test_readme_has_blocks_to_run_and_one_new_file():
    assert sum(block.path is None for block in BLOCKS) >= 3
    assert [block.path for block in BLOCKS if block.path] == ["streams/metrics/npv.py"]


def test_every_block_runs_as_printed(followed):
    _, printed = followed
    assert len(printed) == len(BLOCKS)


def test_own_first_prediction_is_judged_at_every_rung(followed):
    reader, _ = followed
    records = json.loads(
        reader.shell(
            "driftline performance summary --out first-out --window 1h --maturity all --json"
        )
    )
    # a1 and a2 have or lack their truth within the hour, a3 gets it after 3 h 20 min.
    labelled = {record["maturity"]: (record["n_predictions"], record["n"]) for record in records}
    assert labelled["1h"] == (3, 1)
    assert labelled["6h"] == (3, 2)


def test_python_block_prints_the_final_figure_of_the_first_log(followed):
    _, printed = followed
    (output,) = (
        text
        for block, text in zip(BLOCKS, printed, strict=True)
        if block.path is None and "import driftline" in block.text
    )
    # Two of three predictions have their truth; a1 was right, a3 was wrong.
    assert output.split() == ["churn", "2026-01-05T09:00:00Z", "2", "0.5"]


def test_new_metric_is_one_new_file_and_equals_its_definition(followed):
    reader, _ = followed
    records = json.loads(
        reader.shell(
            "driftline performance summary --out trial/out-npv --window 1d --maturity all "
            "--metric npv --json"
        )
    )
    assert records
    for record in records:
        assert record["metrics"]["npv"] == pytest.approx(
            record["tn"] / (record["tn"] + record["fn"])
        )
        low, high = record["ci"]["npv"]
        assert low < record["metrics"]["npv"] < high


def test_new_metric_was_not_there_before(followed):
    reader, _ = followed
    records = json.loads(
        reader.shell("driftline performance summary --out trial/out --window 1d --json")
    )
    assert records
    assert all("npv" not in record["metrics"] for record in records)


def test_docstring_example_of_the_new_metric_runs(followed):
    reader, _ = followed
    script = (
        f'PYTHONPATH="{reader.repository}" "{sys.executable}" '
        f'-m doctest -v "{reader.repository}/streams/metrics/npv.py"'
    )
    assert "passed" in reader.shell(script)


def test_targets_of_make_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_files_that_the_readme_names_exist():
    named = [
        name
        for name in re.findall(r"`((?:docs|streams|schemas|agents|tests)/[\w./-]*)`", README)
        if name != "streams/metrics/npv.py"
    ]
    assert named
    for name in named:
        assert (ROOT / name).exists(), name


def test_readme_says_that_a_new_threshold_counts_once_the_serving_side_sends_it():
    paragraphs = [part for part in README.split("\n\n") if "`set_threshold`" in part]
    assert any(
        re.search(r"counts change only once the serving side\s+sends", p) for p in paragraphs
    )


def test_readme_says_how_many_minutes_the_tests_take():
    assert re.search(r"^make test .*\bminutes\b", README, re.MULTILINE)
