"""A person's steps in Airflow's UI, done in a real Chromium: fill in the connection form, test it, trigger a DAG.

The selectors are those of Airflow 3.3. Playwright drives the Chromium on the path, or the one that CHROMIUM names, and
downloads none.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect, sync_playwright

#: Milliseconds; Airflow's first pages take long on a busy machine.
_PATIENCE = 120_000


def chromium() -> str | None:
    """Return the path of a Chromium, or None where there is none."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def needs_chromium() -> None:
    """End the script where there is none."""
    if chromium() is None:
        raise SystemExit("Chromium is not on the path; install it, or name it: CHROMIUM=/path/to/chromium")


@contextmanager
def chromium_page(width: int = 1200, height: int = 800, **options: Any) -> Iterator[Page]:
    """A page of a running Chromium; the options are those of Playwright's `new_context`."""
    with sync_playwright() as driver:
        # Root, as which CI runs, may not use Chromium's own sandbox.
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            page = browser.new_context(viewport={"width": width, "height": height}, **options).new_page()
            page.set_default_timeout(_PATIENCE)
            yield page
        finally:
            browser.close()


class ConnectionForm:
    """The dialog that adds or edits a connection, unfolded section by section."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.dialog = page.get_by_role("dialog")
        self.dialog.wait_for()

    @classmethod
    def add(cls, page: Page, url: str, connection_id: str) -> ConnectionForm:
        """Open the form for a new connection of the type Adjust S2S."""
        page.goto(f"{url}/connections")
        page.get_by_role("button", name="Add Connection").click()
        form = cls(page)
        form.dialog.get_by_label("Connection ID").fill(connection_id)
        kind = form.dialog.get_by_role("combobox").first
        kind.click()
        kind.fill("adjust")
        page.get_by_role("option", name="Adjust S2S").click()
        form.field("host").wait_for()
        return form

    @classmethod
    def edit(cls, page: Page, url: str, connection_id: str) -> ConnectionForm:
        """Open the form of an existing connection."""
        page.goto(f"{url}/connections")
        _row(page, connection_id).get_by_role("button", name="Edit Connection").click()
        form = cls(page)
        form.field("host").wait_for()
        return form

    def unfold(self, section: str) -> None:
        """Open a section; Airflow closes the one that was open."""
        button = self.dialog.get_by_role("button", name=section, exact=True)
        if button.get_attribute("aria-expanded") != "true":
            button.click()

    def field(self, name: str) -> Locator:
        """The box of a field: a column of every connection, or one of Adjust's own in the section Extra Fields."""
        return self.dialog.locator(f"[name={name}], [name=element_{name}]")

    def environments(self) -> list[str]:
        """Open the dropdown; return what it offers."""
        self._environment.click()
        return self.page.get_by_role("option").all_inner_texts()

    def choose_environment(self, name: str) -> None:
        self._environment.click()
        self.page.get_by_role("option", name=name, exact=True).click()

    @property
    def _environment(self) -> Locator:
        return self.dialog.get_by_role("combobox").nth(1)

    def save(self) -> None:
        self.dialog.get_by_role("button", name="Save").click()
        self.dialog.wait_for(state="hidden")


def press_test(page: Page, url: str, connection_id: str) -> str:
    """Press the connection's Test button; return what Airflow then says."""
    page.goto(f"{url}/connections")
    _row(page, connection_id).get_by_role("button", name="Test Connection").click()
    toast = page.locator("[data-scope=toast][data-part=root]").filter(has_text=re.compile("test connection", re.I))
    expect(toast.first).to_be_in_viewport(ratio=1)  # it slides in
    return toast.first.inner_text()


def trigger(page: Page, url: str, dag_id: str) -> str:
    """Trigger a DAG with the values that the dialog offers; return the run's id."""
    page.goto(f"{url}/dags/{dag_id}")
    page.get_by_role("button", name="Trigger Dag").click()
    dialog = page.get_by_role("dialog")
    with page.expect_response(lambda answer: answer.request.method == "POST" and "/dagRuns" in answer.url) as answer:
        dialog.get_by_role("button", name="Trigger", exact=True).click()
    return str(answer.value.json()["dag_run_id"])


def see_run(page: Page, url: str, dag_id: str, run_id: str) -> str:
    """Open the run and wait until Airflow shows that it has ended well; return what the page says."""
    page.goto(f"{url}/dags/{dag_id}/runs/{quote(run_id)}")
    # The first badge is the run's own, the others are its tasks'.
    expect(page.get_by_test_id("state-badge").first).to_have_text("Success", timeout=2 * _PATIENCE)
    page.reload()  # the list of tasks lags behind
    expect(page.get_by_test_id("state-badge").nth(1)).to_have_text("Success")
    return page.locator("body").inner_text()


def _row(page: Page, connection_id: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_text(connection_id, exact=True))
