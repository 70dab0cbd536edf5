"""Screenshots of every view at three widths, in light and dark, to be looked at.

python -m tests.browser.shots OUTPUT-FOLDER [IMAGES]

The folder is one of the flights' demo; IMAGES (`shots` by default) gets the pictures. With
`--readme` it makes the two of the README instead.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import urllib.parse
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import BROWSERS, served

AT = "at=2013-11-20T05:00Z"
MODEL = "/models/flight-delay/1.0.0"
WEEK = "window=7d/1d&metric=roc_auc"
VIEWS = {
    "overview": "/",
    "overview-then": f"/?{AT}",
    "model": f"{MODEL}?{WEEK}",
    "model-then": f"{MODEL}?{WEEK}&{AT}",
    "alerts": "/alerts",
    "alert": "/alerts/92adb9318ced8fe3-1383264000000",
    "alert-drift": "/alerts/ee213072ebbf9e28-1387756800000",
    "registry": "/registry/flight-delay",
    "pipeline": "/pipeline",
}
README = {"overview": VIEWS["overview-then"], "model": VIEWS["model-then"]}


def shoot(
    browser: Browser, address: str, path: Path, *, width: int, theme: str, whole: bool
) -> None:
    """Write one picture, after every part of the page has loaded."""
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if theme == "dark" else "light",
    )
    page.goto(address)
    page.locator('main[aria-busy="false"]').wait_for()
    if whole:
        for top in range(0, page.evaluate("document.body.scrollHeight"), 600):
            page.evaluate(f"scrollTo(0, {top})")
            page.wait_for_timeout(150)
        page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1_000)
    page.screenshot(path=path, full_page=whole)
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("images", type=Path, nargs="?", default=Path("shots"))
    parser.add_argument("--readme", action="store_true")
    chosen = parser.parse_args()
    chosen.images.mkdir(parents=True, exist_ok=True)
    path = next(filter(None, map(shutil.which, BROWSERS)))
    with (
        tempfile.TemporaryDirectory() as folder,
        served(chosen.out, Path(folder)) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, place in (README if chosen.readme else VIEWS).items():
            address = url + urllib.parse.quote(place, safe="/?&=:")
            if chosen.readme:
                image = chosen.images / f"{name}.png"
                shoot(browser, address, image, width=1280, theme="light", whole=False)
                continue
            for width in (1440, 1024, 390):
                for theme in ("light", "dark"):
                    image = chosen.images / f"{name}-{width}-{theme}.png"
                    shoot(browser, address, image, width=width, theme=theme, whole=True)
        browser.close()


if __name__ == "__main__":
    main()
