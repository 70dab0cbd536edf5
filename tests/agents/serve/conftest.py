"""One server of the sample's output folder, for all tests of the API."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.sample_output import sample_output
from tests.agents.serve.serving import Api, served


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server that has taken over everything."""
    folder = tmp_path_factory.mktemp("served") / "out"
    shutil.copytree(sample_output(), folder)
    with served("--out", str(folder)) as running:
        wait_until_ok(running)
        yield running


def wait_until_ok(running: Api) -> None:
    while running.get("/health")["status"] != "ok":
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the sample's output folder."""
    return Path(shutil.copytree(sample_output(), tmp_path / "out"))
