"""The page in a real Chromium with Airflow's own login, alone and within Airflow's frame."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from deliveries_page.browser import PAGE, Visitor
from deliveries_page.conftest import DAYS, day
from deliveries_page.made_ledger import DAGS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator

pytestmark = pytest.mark.airflow

PURCHASES, SUBSCRIPTIONS = DAGS


@pytest.fixture
def ada(browser: Browser, api_server: str) -> Visitor:
    return Visitor(browser, api_server, "ada", color_scheme="light")


def test_the_login_leads_back_to_the_page_which_draws_its_table(ada: Visitor, api_server: str) -> None:
    assert ada.page.locator("svg rect.delivered").count() == ada.page.locator("svg a.bar").count() == 30
    assert ada.complaints == []
    assert ada.hosts == {api_server.removeprefix("http://")}


def test_each_user_sees_their_dags_only(browser: Browser, api_server: str, ada: Visitor) -> None:
    bob = Visitor(browser, api_server, "bob")
    for visitor, own, others in ((ada, PURCHASES, SUBSCRIPTIONS), (bob, SUBSCRIPTIONS, PURCHASES)):
        assert own in visitor.go("/adjust/runs").locator("tbody").inner_text()
        assert others not in visitor.page.content()
        assert visitor.go(f"/adjust/runs?dag_id={others}").locator("tbody").count() == 0


def test_each_bar_says_the_figures_of_its_day_and_leads_to_its_runs(ada: Visitor) -> None:
    bars = ada.page.locator("svg a.bar")
    rows = ada.page.locator("#by-day tbody").evaluate_all(
        "bodies => bodies.map(body => [body.dataset.day, body.dataset.delivered, body.dataset.missing])"
    )
    assert len(rows) == DAYS
    said = [bar.get_attribute("aria-label") or "" for bar in bars.all()[-DAYS - 1 : -1]]
    for text, (_, delivered, missing) in zip(said, reversed(rows), strict=True):
        assert f": {int(delivered):,} delivered, " in text
        assert f"; {int(missing):,} not delivered" in text
    assert bars.nth(0).locator("title").text_content() == bars.nth(0).get_attribute("aria-label")
    # With the keyboard as with the mouse.
    bars.nth(bars.count() - 2).focus()
    ada.page.keyboard.press("Enter")
    ada.page.wait_for_url(f"**/adjust/runs?*first_day={day(4)}&last_day={day(4)}*")
    assert ada.page.locator("tbody tr").count() > 0


def test_the_chart_shows_revenue_on_demand(ada: Visitor) -> None:
    ada.page.get_by_role("link", name="Revenue in EUR").click()
    ada.page.wait_for_url("**unit=EUR*")
    assert "EUR" in ada.page.locator("svg .panel").first.inner_html()


FOCUSED = """(() => {
    const one = document.activeElement;
    return one.name || one.id || one.textContent.trim();
})()"""


def test_every_control_can_be_reached_and_has_a_name(ada: Visitor) -> None:
    seen = []
    for _ in range(22):  # a date is four stops
        ada.page.keyboard.press("Tab")
        seen.append(ada.page.evaluate(FOCUSED))
    assert seen[0] == "Skip to the figures"
    assert seen.index("Runs") < seen.index("dag_id") < seen.index("environment") < seen.index("event_token")
    nameless = ada.page.locator("input:visible, select, button, svg a, [role=region]").evaluate_all(
        "all => all.filter(one => !(one.labels?.length || one.textContent.trim() || one.ariaLabel)).length"
    )
    assert nameless == 0
    assert ada.page.locator("table caption").count() == 1
    assert ada.page.locator("html").get_attribute("lang") == "en"


BACKGROUND = "getComputedStyle(document.body).backgroundColor"
BAR = "getComputedStyle(document.querySelector('svg rect.delivered')).fill"
LIGHT, DARK = ("rgb(255, 255, 255)", "rgb(31, 122, 77)"), ("rgb(17, 17, 17)", "rgb(76, 195, 138)")


@pytest.mark.parametrize(
    ("system", "chosen", "expected"),
    [
        ("light", None, LIGHT),
        ("dark", None, DARK),
        ("dark", "system", DARK),
        ("light", "dark", DARK),
        ("dark", "light", LIGHT),
    ],
)
def test_the_page_has_airflows_theme(ada: Visitor, system: Any, chosen: str | None, expected: tuple[str, str]) -> None:
    ada.page.emulate_media(color_scheme=system)
    if chosen is not None:
        ada.page.evaluate("theme => localStorage.setItem('theme', theme)", chosen)
    page = ada.go(PAGE)
    assert (page.evaluate(BACKGROUND), page.evaluate(BAR)) == expected


def frame_of(visitor: Visitor) -> FrameLocator:
    frame = visitor.page.frame_locator("iframe")
    frame.locator("h1").wait_for()
    return frame


def test_within_airflow_a_bar_leads_to_the_runs_these_to_events_and_these_to_their_task(ada: Visitor) -> None:
    ada.go("/").get_by_role("button", name="Browse").click()
    ada.page.get_by_role("menuitem", name="Adjust deliveries").click()
    frame = frame_of(ada)
    assert "/plugin/adjust-deliveries" in ada.page.url

    assert frame.get_by_role("link", name="Back to Airflow").count() == 0
    frame.locator("svg a.bar").nth(-3).click(position={"x": 12, "y": 100})
    frame.get_by_role("heading", name="Adjust deliveries by run").wait_for()
    frame.get_by_role("link", name=re.compile("rejected")).first.click()
    frame.get_by_role("heading", name="Events sent to Adjust").wait_for()
    first = frame.locator("tbody tr").first
    assert re.search(r"order-\d{7}\s+Rejected", first.inner_text())
    assert day(3) in first.inner_text()

    # The frame may not navigate Airflow. Its links to Airflow open outside the frame all the same.
    first.get_by_role("link", name=PURCHASES).click()
    ada.page.wait_for_url(f"**/dags/{PURCHASES}/runs/*/tasks/send_purchases/mapped/*")


def test_the_filters_work_within_the_frame(ada: Visitor) -> None:
    ada.go("/plugin/adjust-deliveries")
    frame = frame_of(ada)
    frame.get_by_label("Event token").fill("sub5cr")
    frame.get_by_role("button", name="Show").click()
    frame.locator("#by-day tr.day").first.wait_for(state="detached")
    # The old table is gone before the new one is there.
    frame.locator("#by-day td a", has_text="sub5cr").first.wait_for()
    assert frame.locator("#by-day td a", has_text="sub5cr").count() == DAYS
