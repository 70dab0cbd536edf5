"""The page in a real browser: views, controls, keyboard, states, and what it must never do."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import story

expect.set_options(timeout=60_000)
MODEL = f"/models/{story.MODEL}/{story.VERSION}"


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser window of its own; all tests of a module share its cache."""
    found = browser.new_context(viewport={"width": 1440, "height": 900})
    found.set_default_timeout(60_000)
    yield found
    found.close()


class Watched:
    """A page, and what it must not do: messages on the console, and requests to other hosts."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.messages: list[str] = []
        self.expected: str | None = None
        """Text of the messages that the test leads to."""
        self.requests: list[str] = []
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("dialog", lambda dialog: self.messages.append(dialog.message))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, place: str) -> Page:
        """Open a place, and wait until its figures are there."""
        self.page.goto(self.address + place)
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until the parts that are seen first are there."""
        expect(self.page.locator('main[aria-busy="false"]')).to_be_attached()

    def scroll(self) -> None:
        """Bring every part of the page near to what is seen, so that all of them load."""
        self.page.evaluate(
            """async () => {
              for (let y = 0; y < document.body.scrollHeight; y += 500) {
                scrollTo(0, y);
                await new Promise((resolve) => setTimeout(resolve, 60));
              }
            }"""
        )
        expect(self.page.locator('[aria-busy="true"]')).to_have_count(0)


@pytest.fixture
def watched(context: BrowserContext, address: str) -> Iterator[Watched]:
    """A new tab; it fails the test if the page said something or asked another host."""
    page = context.new_page()
    found = Watched(page, address)
    yield found
    harmed = page.evaluate("window.harmed ?? null")
    page.close()
    # What a test expects may come until the tab is closed.
    unexpected = [
        text for text in found.messages if found.expected is None or found.expected not in text
    ]
    assert unexpected == []
    assert harmed is None
    assert [url for url in found.requests if not url.startswith((address, "data:"))] == []


def asked(address: str, path: str, **question: Any) -> Any:
    """An answer of the API."""
    url = f"{address}/api{path}?{urllib.parse.urlencode(question)}"
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


def test_the_overview_says_what_is_wrong_and_draws_every_model(watched: Watched) -> None:
    overview = asked(watched.address, "/overview")
    page = watched.open("/")
    expect(page.locator("h1")).to_contain_text(story.MODEL)
    expect(page.locator(".attention li")).to_have_count(
        len(overview["alerts"]) + len(overview["proposals"])
    )
    rows = page.locator(".models tbody tr")
    expect(rows).to_have_count(len(overview["rows"]))
    for place, row in enumerate(overview["rows"]):
        expect(rows.nth(place)).to_contain_text(row["model_name"])
        judged = row["judged"]
        if judged is None or judged["value"] is None:
            continue
        shown = float(rows.nth(place).locator(".value").first.inner_text().replace("−", "-"))
        assert shown == pytest.approx(judged["value"], abs=0.006)
        expect(rows.nth(place)).to_contain_text(f"{judged['n']:,} of {judged['n_predictions']:,}")
    assert page.title().startswith(f"({sum(overview['n_open'].values())}) Overview")


def test_the_model_page_shows_the_judged_figure_of_the_newest_whole_window(
    watched: Watched,
) -> None:
    page = watched.open(f"{MODEL}?metric=f1&window=1d&maturity=1d")
    answer = asked(
        watched.address,
        "/metrics",
        model=story.MODEL,
        version=story.VERSION,
        metric="f1",
        window="1d",
        maturity="1d",
        since="90d",
    )
    column = answer["metrics"][0]
    whole = max(
        place
        for place, verdict in enumerate(column["verdict"])
        if verdict != "covered_in_part" and not answer["provisional"][place]
    )
    panel = page.locator("#performance")
    shown = float(panel.locator(".value").first.inner_text())
    assert shown == pytest.approx(column["value"][whole], abs=0.006)
    expect(panel).to_contain_text(f"{answer['n'][whole]:,} of")
    expect(panel.locator(".js-plotly-plot")).to_be_visible()
    panel.get_by_text("Show the figures as a table").click()
    expect(panel.locator("details tbody tr")).to_have_count(len(answer["window_end"]))


@pytest.mark.parametrize(
    ("control", "value", "wanted"),
    [
        ("maturity", "6h", "at 6h"),
        ("window", "7d/1d", "7 days to"),
        ("lane", "arrivals", "truths in"),
        ("range", "30d", ""),
    ],
)
def test_a_control_changes_address_and_figures_and_back_undoes_it(
    watched: Watched, control: str, value: str, wanted: str
) -> None:
    page = watched.open(f"{MODEL}?metric=f1&window=1d")
    panel = page.locator("#performance")
    before = page.url
    panel.locator(f'input[name="{control}"][value="{value}"]').check(force=True)
    page.wait_for_url(lambda url: f"{control}={value}" in urllib.parse.unquote(url))
    expect(panel.locator(f'input[name="{control}"][value="{value}"]')).to_be_checked()
    expect(panel).to_contain_text(wanted)
    page.go_back()
    page.wait_for_url(before)
    expect(panel.locator(f'input[name="{control}"][value="{value}"]')).not_to_be_checked()
    page.go_forward()
    expect(panel.locator(f'input[name="{control}"][value="{value}"]')).to_be_checked()


@pytest.mark.parametrize(("control", "value"), [("metric", "recall"), ("segment", "region=south")])
def test_a_picker_changes_address_and_figures(watched: Watched, control: str, value: str) -> None:
    page = watched.open(MODEL)
    panel = page.locator("#performance")
    panel.locator(f'select[name="{control}"]').select_option(value)
    page.wait_for_url(lambda url: f"{control}={value}" in urllib.parse.unquote(url))
    expect(panel.locator(f'select[name="{control}"]')).to_have_value(value)
    expect(panel.locator(".js-plotly-plot")).to_be_visible()


def test_ripening_compares_within_a_rung_and_says_when_cells_are_due(watched: Watched) -> None:
    at = "2026-01-31T05:00:00Z"
    question = {"model": story.MODEL, "version": story.VERSION, "metric": "f1", "at": at}
    answer = asked(watched.address, "/ripening", **question)
    page = watched.open(f"{MODEL}?metric=f1&at={at}#ripening")
    table = page.locator("#ripening table")
    expect(table.locator("tbody tr").first.locator("td")).to_have_count(len(answer["rungs"]))
    due = sum(cell["state"] == "due" for row in answer["rows"][:8] for cell in row["cells"])
    assert due > 0
    expect(table.locator(".cell.due")).to_have_count(due)
    worse = sum(cell["verdict"] == "worse" for row in answer["rows"][:8] for cell in row["cells"])
    expect(table.locator(".cell.worse")).to_have_count(worse)


def test_early_figures_are_compared_with_the_final_ones(watched: Watched) -> None:
    question = {"model": story.MODEL, "version": story.VERSION, "metric": "f1"}
    answer = asked(watched.address, "/early", **question)
    page = watched.open(f"{MODEL}?metric=f1#early")
    panel = page.locator("#early")
    expect(panel).to_contain_text(f"{len(answer['window_end'])} final windows")
    panel.get_by_text("Show the figures as a table").click()
    expect(panel.locator("details tbody tr")).to_have_count(len(answer["rungs"]))


def test_the_threshold_slider_shows_what_the_api_counts_at_each_point(watched: Watched) -> None:
    page = watched.open(f"{MODEL}?maturity=1d#threshold")
    panel = page.locator("#threshold")
    slider = panel.locator('input[name="threshold"]')
    expect(slider).to_be_visible()
    answer = asked(
        watched.address,
        "/scores",
        model=story.MODEL,
        version=story.VERSION,
        segment="all",
        maturity="1d",
        windows=28,
        rows="all",
    )
    table = answer["at_threshold"]

    def compare(threshold: float) -> None:
        place = min(
            range(len(table["threshold"])), key=lambda k: abs(table["threshold"][k] - threshold)
        )
        for name in ("precision", "recall", "f1"):
            shown = float(panel.locator(f'[data-measure="{name}"]').inner_text())
            assert shown == pytest.approx(table[name][place], abs=0.006), name
        cells = panel.locator(".matrix b").all_inner_texts()
        counted = [table[name][place] for name in ("tp", "fn", "fp", "tn")]
        assert [int(cell.replace(",", "")) for cell in cells] == counted

    compare(0.5)
    slider.focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    page.wait_for_url(lambda url: "threshold=" in url)
    chosen = float(urllib.parse.parse_qs(urllib.parse.urlsplit(page.url).query)["threshold"][0])
    assert chosen > 0.5
    compare(chosen)
    spoken = slider.get_attribute("aria-valuetext") or ""
    assert spoken.startswith(f"{chosen:.3f}: F1 ")
    # A miss that costs more moves the cheapest threshold down, and the address says so.
    before = panel.locator('[data-measure="cost"]').inner_text()
    panel.locator('select[name="cost"]').select_option("10")
    assert panel.locator('[data-measure="cost"]').inner_text() != before
    assert "cost=10" in page.url
    panel.locator('input[name="rows"][value="holdout"]').check(force=True)
    page.wait_for_url(lambda url: "rows=holdout" in url)


def test_segments_are_in_the_order_of_the_api_and_a_click_chooses_one(watched: Watched) -> None:
    question = {
        "model": story.MODEL,
        "version": story.VERSION,
        "metric": "f1",
        "window": "7d/1d",
        "maturity": "1d",
    }
    answer = asked(watched.address, "/segments", **question)
    assert answer["segments"]
    page = watched.open(f"{MODEL}?metric=f1&window=7d/1d&maturity=1d#segments")
    rows = page.locator("#segments table").first.locator("tbody tr")
    expect(rows).to_have_count(len(answer["segments"]))
    shown = [text.replace(" ", "=") for text in rows.locator("th").all_inner_texts()]
    assert shown == [each["segment"] for each in answer["segments"]]
    rows.first.locator("button").click()
    page.wait_for_url(lambda url: "segment=" in url)


def test_drift_is_a_map_of_buttons_that_arrow_keys_move_through(watched: Watched) -> None:
    page = watched.open(f"{MODEL}#drift")
    grid = page.locator("#drift table.heat")
    expect(grid).to_be_visible()
    pressed = grid.locator('button[aria-pressed="true"]')
    expect(pressed).to_have_count(1)
    before = pressed.get_attribute("aria-label")
    pressed.focus()
    page.keyboard.press("ArrowLeft")
    expect(grid.locator('button[aria-pressed="true"]')).not_to_have_attribute(
        "aria-label", before or ""
    )
    assert "week=" in page.url
    expect(page.locator("#drift .split > :last-child table")).to_be_visible()


def test_curves_matrix_delays_traffic_and_versions_are_drawn(watched: Watched) -> None:
    page = watched.open(MODEL)
    watched.scroll()
    expect(page.locator("#curves figure")).to_have_count(3)
    expect(page.locator("#matrix .box")).to_have_count(4)
    delays = asked(watched.address, "/delays", model=story.MODEL, version=story.VERSION)
    expect(page.locator("#delays circle")).to_have_count(len(delays["steps"]))
    expect(page.locator("#traffic")).to_contain_text("Latency")
    expect(page.locator("#compare tbody tr").first).to_be_visible()
    assert page.locator("main [role=alert]").count() == 0


def test_a_model_of_four_classes_has_a_matrix_of_its_classes(watched: Watched) -> None:
    page = watched.open(f"/models/{story.SORTER}/7#matrix")
    expect(page.locator("#matrix .box")).to_have_count(len(story.CLASSES) ** 2)
    expect(page.locator("#matrix thead th").first).to_contain_text(story.CLASSES[0])


def test_the_alert_list_filters_and_leads_to_an_episode(watched: Watched) -> None:
    everything = asked(watched.address, "/alerts", status="all")
    page = watched.open("/alerts")
    rows = page.locator("#episodes tbody tr")
    expect(rows).to_have_count(len(everything["alerts"]))
    page.locator('input[name="status"][value="resolved"]').check(force=True)
    page.wait_for_url(lambda url: "status=resolved" in url)
    resolved = [each for each in everything["alerts"] if each["status"] == "resolved"]
    expect(rows).to_have_count(len(resolved))
    page.go_back()
    expect(rows).to_have_count(len(everything["alerts"]))
    rows.first.locator("a").first.click()
    page.wait_for_url(lambda url: "/alerts/" in url)
    expect(page.locator("#course")).to_contain_text("Alert fires")


def test_an_alert_page_has_its_figures_course_and_advice(watched: Watched) -> None:
    alerts = asked(watched.address, "/alerts", status="all")["alerts"]
    alert = next(each for each in alerts if each["metric"] and each["value"] is not None)
    episode = asked(watched.address, "/alert", id=alert["alert_id"])
    page = watched.open(f"/alerts/{urllib.parse.quote(alert['alert_id'], safe='')}")
    expect(page.locator(".strip")).to_contain_text(f"{alert['n']:,}")
    for advice in episode["what_to_do"]:
        expect(page.locator("#do")).to_contain_text(advice)
    for record in episode["records"]:
        expect(page.locator("#course")).to_contain_text(record["summary"])
    if episode["around"] is not None:
        expect(page.locator("#what .js-plotly-plot")).to_be_visible()
    expect(page.locator("#force")).to_contain_text("production")


def test_the_registry_shows_what_was_in_force_at_an_instant(watched: Watched) -> None:
    page = watched.open(f"/registry/{story.MODEL}")
    force = page.locator("#force")
    expect(force).to_contain_text("production")
    slider = force.locator('input[type="range"]')
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_url(lambda url: "asof=2026-01-01" in urllib.parse.unquote(url))
    expect(force.locator("dl").first).to_contain_text("development")
    expect(page.locator("#changes li.later").first).to_be_visible()
    force.get_by_text("Back to the newest").click()
    expect(force.locator("dl").first).to_contain_text("production")
    changes = asked(watched.address, "/registry/changes", model=story.MODEL)["changes"]
    for change in changes:
        if change["event"] != "record_baseline" and change["reason"]:
            expect(page.locator("#changes")).to_contain_text(change["reason"])


def test_the_pipeline_page_says_how_far_figures_have_come(watched: Watched) -> None:
    answer = asked(watched.address, "/pipeline")
    page = watched.open("/pipeline")
    expect(page.locator("#models tbody tr")).to_have_count(len(answer["models"]))
    expect(page.locator("h1")).to_contain_text("Everything that has come is read")


def test_an_instant_hides_what_was_not_known_then_and_goes_along(watched: Watched) -> None:
    page = watched.open("/?at=2026-01-15T00:00Z")
    expect(page.locator("h1")).to_contain_text("All quiet")
    page.get_by_role("link", name="Alerts").first.click()
    page.wait_for_url(lambda url: "/alerts?at=2026-01-15T00:00Z" in urllib.parse.unquote(url))
    expect(page.locator("#episodes")).to_contain_text("No alert here")
    page.keyboard.press("]")
    page.wait_for_url(lambda url: "at=2026-01-15T01:00Z" in urllib.parse.unquote(url))
    page.locator(".clock summary").click()
    page.locator('input[name="instant"]').fill("nonsense")
    page.keyboard.press("Enter")
    expect(page.locator(".pop .wrong")).to_be_visible()
    page.get_by_text("Follow the data").click()
    page.wait_for_url(lambda url: "at=" not in url)


def test_keys_go_to_pages_and_do_nothing_where_somebody_types(watched: Watched) -> None:
    page = watched.open("/")
    for key, place in (("a", "/alerts"), ("p", "/pipeline"), ("m", "/models/"), ("o", "/")):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_url(
            lambda url, place=place: urllib.parse.urlsplit(url).path.startswith(place)
        )
    theme = page.evaluate("document.documentElement.dataset.theme ?? ''")
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") not in ("", theme)
    page.keyboard.press("t")
    page.locator(".clock summary").click()
    page.locator('input[name="instant"]').focus()
    page.keyboard.type("ga")
    assert urllib.parse.urlsplit(page.url).path == "/"
    page.keyboard.press("Escape")
    expect(page.locator(".clock")).not_to_have_attribute("open", "")
    page.evaluate("localStorage.clear()")


def test_the_skip_link_is_the_first_stop_and_leads_to_the_figures(watched: Watched) -> None:
    page = watched.open("/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_no_such_page_and_no_such_model_are_said(watched: Watched) -> None:
    watched.expected = "404"
    page = watched.open("/models/nobody/0")
    expect(page.locator("main [role=alert]").first).to_contain_text("404")


PLACES = {
    "overview": "/",
    "model": MODEL,
    "alerts": "/alerts",
    "registry": f"/registry/{story.MODEL}",
    "pipeline": "/pipeline",
}


@pytest.mark.parametrize("width", [390, 1024])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_no_page_scrolls_sideways(watched: Watched, place: str, width: int) -> None:
    watched.page.set_viewport_size({"width": width, "height": 844})
    page = watched.open(place)
    watched.scroll()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_view_is_small_before_its_charts(watched: Watched, place: str) -> None:
    """Bytes of HTML, CSS and JavaScript as they are sent, without plotly and further panels."""
    sizes: dict[str, int] = {}
    watched.page.on("response", lambda response: sizes.update(_size(response)))
    watched.open(place)
    watched.page.wait_for_timeout(300)
    own = {url: size for url, size in sizes.items() if "plotly" not in url}
    assert own
    assert sum(own.values()) < 40_000 if place != MODEL else 60_000


def _size(response: Any) -> dict[str, int]:
    if "/api/" in response.url:
        return {}
    length = response.headers.get("content-length")
    return {response.url: int(length)} if length else {}
