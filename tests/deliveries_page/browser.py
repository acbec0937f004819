"""A real Chromium driven by Playwright, where both are installed, and visitors who log in to the page with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
PAGE = "/adjust/"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser; the test is skipped without one."""
    playwright: Any = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on the path")
    with playwright.sync_playwright() as driver:
        # Root, as which CI runs, may not use the sandbox.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """A user with their own browser session."""

    def __init__(self, browser: Browser, url: str, who: str, **options: Any) -> None:
        self._url = url
        self.page: Page = browser.new_context(viewport={"width": 1300, "height": 900}, **options).new_page()
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.goto(url + PAGE)
        self.page.fill("input[name=username]", who)
        self.page.fill("input[name=password]", f"password of {who}")
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(f"{url}{PAGE}*")

    def go(self, path: str) -> Page:
        self.page.goto(self._url + path)
        return self.page
