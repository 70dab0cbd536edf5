"""One server, one browser and one recorded story for all tests of the page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser import story

pytest.importorskip("playwright", reason="the extra dev is not installed")
from playwright.sync_api import Browser, Error, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def without_browser(reason: str) -> None:
    """Skip the test, or fail if DRIFTLINE_REQUIRE names browser."""
    if "browser" in os.environ.get("DRIFTLINE_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium of the system, without a window. It ends with its module: while it is there, an
    event loop runs in this thread, and tests of other modules could not run their own.
    """
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        without_browser(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        try:
            # Root has no sandbox; the pages are the product's own, from loopback.
            arguments = ["--no-sandbox"] if os.getuid() == 0 else []
            found = playwright.chromium.launch(executable_path=path, args=arguments)
        except Error as error:
            without_browser(f"no browser: {path} does not start: {error}")
        yield found
        found.close()


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the story."""
    return story.make(tmp_path_factory.mktemp("story"))


@pytest.fixture(scope="session")
def address(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the story's results."""
    with served(out, tmp_path_factory.mktemp("server")) as url:
        yield url


@contextmanager
def served(out: Path, folder: Path) -> Iterator[str]:
    """`driftline serve` on a folder, as a process of its own."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-u", "-m", "driftline.agents.cli"),
                *("serve", "--out", str(out), "--port", "0"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            words = [word for word in line.split() if word.startswith("http://")]
            assert words, f"{line}{(folder / 'log').read_text()}"
            _wait_until_read(words[0])
            yield words[0]
        finally:
            process.terminate()
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()


def _wait_until_read(url: str) -> None:
    """Until the server has read what is in the folder."""
    for _ in range(600):
        with urllib.request.urlopen(f"{url}/api/health", timeout=10) as response:
            if json.load(response)["status"] == "ok":
                return
        time.sleep(0.1)
    pytest.fail(f"{url} does not follow its folder")
