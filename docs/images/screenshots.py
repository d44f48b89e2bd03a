"""Takes the screenshots of the web page that the documents show.

    python docs/images/screenshots.py [--chromium PATH]

Needs `pip install '.[web]' playwright` and an installed Chromium. Starts `vl2 serve` with the
embedded model on a loopback port, asks what the pictures show, and writes `page-*.png` beside this
file: a desktop's width and a phone's. Look at them before they are committed.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import PIL.Image
from playwright.sync_api import Browser, sync_playwright

from vl2.server.child import served

HERE = Path(__file__).parent
SIZES = {"desktop": (1280, 860), "phone": (390, 844)}
_SETTLED = 1500  # milliseconds in which pictures and toasts have come


def take(browser: Browser, url: str, name: str) -> None:
    """The screenshots of one width: a conversation with boxes, and the tiles of two pictures."""
    width, height = SIZES[name]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(url)
    page.locator("#question textarea").wait_for()
    ask(page, "A question")
    ask(page, "Finding")
    page.get_by_role("tab", name="Boxes").click()
    page.wait_for_timeout(_SETTLED)
    keep(page, f"page-{name}.png")
    page.get_by_role("button", name="Clear", exact=True).first.click()
    page.locator("#chat", has_text="Add pictures").wait_for()
    page.get_by_text("Finding what is marked", exact=True).click()
    page.get_by_role("tab", name="Tiles").click()
    page.locator("#counted", has_text="Picture 2").wait_for()
    page.wait_for_timeout(_SETTLED)
    keep(page, f"page-{name}-tiles.png")
    page.close()


def ask(page: Any, example: str) -> None:  # noqa: ANN401 - playwright's page
    """Send one of the examples and wait for the whole answer."""
    answers = page.locator("#chat .bot em")
    before = answers.count()
    page.get_by_text(example, exact=True).first.click()
    page.locator("#question .thumbnail-item").first.wait_for()
    page.locator("#question textarea").press("Enter")
    answers.nth(before).wait_for()


def keep(page: Any, name: str) -> None:  # noqa: ANN401
    """Save what the page shows, with few colours: it is line art."""
    target = HERE / name
    page.screenshot(path=target, full_page=True)
    with PIL.Image.open(target) as picture:
        few = picture.convert("RGB").quantize(128, dither=PIL.Image.Dither.NONE)
    few.save(target, optimize=True)


def main() -> None:
    """Takes all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    chromium = parser.parse_args().chromium
    with served("--page") as child, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in SIZES:
            take(browser, child.url, name)
        browser.close()


if __name__ == "__main__":
    main()
