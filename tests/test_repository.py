"""The lock files are what an install needs, and nothing else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
_PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def pinned(name: str) -> set[str]:
    return set(_PINNED.findall((ROOT / "requirements" / f"{name}.txt").read_text()))


def named(requirements: list[str]) -> set[str]:
    return {
        match[0].lower()
        for text in requirements
        if (match := _NAME.match(text)) and match[0] != "driftline"
    }


def test_there_are_four_lock_files():
    assert [path.name for path in LOCKS] == ["build.txt", "demo.txt", "dev.txt", "kafka.txt"]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_one_version_and_hashes_and_no_line_names_a_host(path):
    text = path.read_text()
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash=)", text, re.MULTILINE), "an option of pip that is no hash"
    for block in re.split(r"\n(?=\S)", text):
        if block and not block.startswith("#"):
            assert _PINNED.match(block), block
            assert "--hash=sha256:" in block, block


def test_lock_files_hold_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    run = named(project["dependencies"])
    for extra in ("demo", "kafka"):
        assert run | named(extras[extra]) <= pinned(extra)
    assert run | set.union(*(named(extra) for extra in extras.values())) <= pinned("dev")


def test_lock_files_agree_with_each_other():
    def versions(name: str) -> set[str]:
        return set(
            re.findall(
                r"^[a-z0-9._-]+==[^\\]*",
                (ROOT / "requirements" / f"{name}.txt").read_text(),
                re.MULTILINE,
            )
        )

    assert versions("demo") <= versions("dev")
    assert versions("kafka") <= versions("dev")
