"""What the page must never do, whatever the records hold; and that everybody can read it."""

from __future__ import annotations

import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import story
from tests.browser.conftest import served

expect.set_options(timeout=60_000)
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
HOSTILE = f"{story.SCRIPT} {story.IMAGE} javascript:window.harmed=1 \u202e {{{{7*7}}}} ${{7*7}}"


@pytest.fixture(scope="module")
def hostile(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the story with hostile texts in every field of planted alerts and changes."""
    folder = tmp_path_factory.mktemp("hostile") / "out"
    shutil.copytree(out, folder, ignore=shutil.ignore_patterns("*.sqlite*"))
    alerts = (folder / "alerts.jsonl").read_text().splitlines()
    planted = json.loads(alerts[0])
    planted |= {
        "alert_id": f"{HOSTILE}/../x?y#z",
        "fingerprint": HOSTILE,
        "rule": f"{HOSTILE} {story.LONG}",
        "segment": f"region={HOSTILE}",
        "metric": HOSTILE,
        "window": HOSTILE,
        "maturity": HOSTILE,
        "summary": f"{HOSTILE} {story.LONG}",
        "runbook_url": "javascript:window.harmed=1",
        "details": {"targets": {HOSTILE: HOSTILE}},
        "change": "firing",
        "status": "firing",
    }
    planted.pop("ends_at", None)
    with (folder / "alerts.jsonl").open("a") as file:
        file.write(json.dumps(planted) + "\n")
    events = (folder / "registry-events.jsonl").read_text().splitlines()
    change = json.loads(events[0])
    change |= {
        "revision": 1_000,
        "command_id": HOSTILE,
        "requested_by": HOSTILE,
        "reason": f"{HOSTILE} {story.LONG}",
        "before": {story.VERSION: {HOSTILE: HOSTILE}},
        "after": {story.VERSION: {HOSTILE: {HOSTILE: HOSTILE}, "stage": HOSTILE}},
        "model_name": story.MODEL,
        "model_version": story.VERSION,
    }
    with (folder / "registry-events.jsonl").open("a") as file:
        file.write(json.dumps(change) + "\n")
    with served(folder, tmp_path_factory.mktemp("hostile-server")) as url:
        yield url


def quoted(*parts: str) -> str:
    return "/" + "/".join(urllib.parse.quote(part, safe="") for part in parts)


HOSTILE_PLACES = {
    "overview": "/",
    "model": quoted("models", story.HOSTILE_MODEL, story.HOSTILE_VERSION),
    "alerts": "/alerts",
    "alert": quoted("alerts", f"{HOSTILE}/../x?y#z"),
    "registry": quoted("registry", story.HOSTILE_MODEL),
    "changes": quoted("registry", story.MODEL),
    "pipeline": "/pipeline",
}


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("place", HOSTILE_PLACES.values(), ids=HOSTILE_PLACES)
def test_hostile_texts_are_texts(browser: Browser, hostile: str, place: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    said: list[str] = []
    asked: list[str] = []
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(hostile + place)
    expect(page.locator('main[aria-busy="false"]')).to_be_attached()
    _scroll(page)
    for details in page.locator("main details").all():
        details.locator("summary").first.click()
    assert page.evaluate("window.harmed ?? null") is None
    assert (
        page.evaluate("document.querySelectorAll('main script, main img, main iframe').length") == 0
    )
    links = page.evaluate(
        "[...document.querySelectorAll('a')].map((each) => new URL("
        "each.href.baseVal ?? each.href, location).protocol)"
    )
    assert set(links) <= {"http:"}
    assert [url for url in asked if not url.startswith((hostile, "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    page.close()


PLACES = {
    "overview": "/",
    "model": quoted("models", story.MODEL, story.VERSION),
    "alerts": "/alerts",
    "registry": quoted("registry", story.MODEL),
    "pipeline": "/pipeline",
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_axe_finds_no_serious_violation(
    browser: Browser, address: str, place: str, theme: Any
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=theme)
    page.goto(address + place)
    expect(page.locator('main[aria-busy="false"]')).to_be_attached()
    _scroll(page)
    for details in page.locator("main details").all():
        details.locator("summary").first.click()
    page.locator(".clock summary").click()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [
        (each["id"], [node["target"] for node in each["nodes"]][:3], each["help"])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
    page.close()


def test_the_policy_lets_in_only_files_of_the_server(address: str) -> None:
    for place in ("/", "/alerts"):
        with urllib.request.urlopen(address + place) as response:
            policy = response.headers["content-security-policy"]
            body = response.read().decode()
        rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == "'self'"
        assert "unsafe" not in policy
        assert " style=" not in body
        assert "<script>" not in body


def test_files_are_kept_for_ever_under_an_address_of_their_content(address: str) -> None:
    with urllib.request.urlopen(address) as response:
        assert response.headers["cache-control"] == "no-cache"
        shell = response.read().decode()
    for mark in ('href="/page/', 'src="/page/', 'content="/page/'):
        place = shell.split(mark)[1].split('"')[0]
        with urllib.request.urlopen(f"{address}/page/{place}") as response:
            assert "immutable" in response.headers["cache-control"]
            assert len(response.read()) > 100


def test_new_records_appear_without_being_asked_for(
    browser: Browser, out: Path, tmp_path: Path
) -> None:
    """A folder that grows: figures change in place, and a new row waits behind a button."""
    folder = tmp_path / "out"
    shutil.copytree(out, folder, ignore=shutil.ignore_patterns("*.sqlite*"))
    alerts = (folder / "alerts.jsonl").read_text().splitlines(keepends=True)
    (folder / "alerts.jsonl").write_text(alerts[0])
    with served(folder, tmp_path) as address:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{address}/alerts")
        expect(page.locator("#episodes tbody tr")).to_have_count(1)
        expect(page.locator(".pages .number")).to_have_text("1")
        page.wait_for_timeout(500)
        with (folder / "alerts.jsonl").open("a") as file:
            file.writelines(alerts[1:])
        button = page.locator("#episodes header button")
        expect(button).to_be_visible()
        # Nothing moves by itself: the list has its one row until somebody asks for more.
        expect(page.locator("#episodes tbody tr")).to_have_count(1)
        expect(page.locator(".pages .number")).not_to_have_text("1")
        assert page.title() != "(1) Alerts · Driftline"
        button.click()
        expect(page.locator("#episodes tbody tr")).not_to_have_count(1)
        page.close()


def test_a_lost_connection_is_said_and_the_figures_stay(
    browser: Browser, out: Path, tmp_path: Path
) -> None:
    with served(out, tmp_path) as address:
        page = browser.new_page()
        page.goto(f"{address}/alerts")
        expect(page.locator("#episodes tbody tr").first).to_be_visible()
    expect(page.locator(".notice")).to_contain_text("Connection lost at")
    expect(page.locator("#episodes tbody tr").first).to_be_visible()
    page.close()


def _scroll(page: Page) -> None:
    page.evaluate(
        """async () => {
          for (let y = 0; y < document.body.scrollHeight; y += 500) {
            scrollTo(0, y);
            await new Promise((resolve) => setTimeout(resolve, 60));
          }
          scrollTo(0, 0);
        }"""
    )
    expect(page.locator('[aria-busy="true"]')).to_have_count(0)
