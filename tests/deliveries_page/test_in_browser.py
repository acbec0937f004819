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
    ada.page.wait_for_selector("#chart canvas >> nth=1")
    assert ada.page.locator("#chart canvas").count() == 2
    assert ada.complaints == []
    assert ada.hosts == {api_server.removeprefix("http://")}


def test_each_user_sees_their_dags_only(browser: Browser, api_server: str, ada: Visitor) -> None:
    bob = Visitor(browser, api_server, "bob")
    for visitor, own, others in ((ada, PURCHASES, SUBSCRIPTIONS), (bob, SUBSCRIPTIONS, PURCHASES)):
        assert own in visitor.go("/adjust/runs").locator("tbody").inner_text()
        assert others not in visitor.page.content()
        assert others not in visitor.go(f"/adjust/runs?dag_id={others}").locator("main").inner_text()


def test_the_chart_announces_the_figures_of_the_table_to_screen_readers(ada: Visitor) -> None:
    chart = ada.page.locator("#chart")
    chart.focus()
    rows = ada.page.locator("#by-day tbody").evaluate_all(
        "bodies => bodies.map(body => `${body.dataset.day}: delivered ${body.dataset.delivered}, "
        "rejected ${body.dataset.rejected}`)"
    )
    assert len(rows) == DAYS
    said = []
    ada.page.keyboard.press("Home")
    for _ in rows:
        said.append(chart.get_attribute("aria-valuetext"))
        ada.page.keyboard.press("ArrowRight")
    assert said == rows[::-1]
    assert ada.page.locator(".said").inner_text() == rows[0]
    assert chart.get_attribute("role") == "slider"
    assert (chart.get_attribute("aria-valuenow"), chart.get_attribute("aria-valuemax")) == (
        str(DAYS - 1),
        str(DAYS - 1),
    )


@pytest.mark.parametrize(("key", "view"), [("Enter", "runs"), ("Shift+Enter", "events")])
def test_the_keyboard_leads_from_a_day_to_its_runs_and_rejects(ada: Visitor, key: str, view: str) -> None:
    ada.page.locator("#chart").focus()
    ada.page.keyboard.press("Home")
    ada.page.keyboard.press("ArrowRight")
    ada.page.keyboard.press(key)
    ada.page.wait_for_url(f"**/adjust/{view}?*first_day={day(1)}&last_day={day(1)}*")
    assert ada.page.locator("tbody tr").count() > 0
    if view == "events":
        assert set(ada.page.locator("tbody td:nth-child(4)").all_inner_texts()) == {"Rejected"}


FOCUSED = """(() => {
    const one = document.activeElement;
    return one.name || one.id || one.textContent.trim();
})()"""


def test_every_control_can_be_reached_and_has_a_name(ada: Visitor) -> None:
    seen = []
    for _ in range(24):  # a date is four stops
        ada.page.keyboard.press("Tab")
        seen.append(ada.page.evaluate(FOCUSED))
    assert seen.index("Runs") < seen.index("dag_id") < seen.index("event_token") < seen.index("chart")
    nameless = ada.page.locator("input:visible, select, button, [role=slider], [role=region]").evaluate_all(
        "all => all.filter(one => !(one.labels?.length || one.textContent.trim() || one.ariaLabel)).length"
    )
    assert nameless == 0
    assert ada.page.locator("table caption").count() == 1
    assert ada.page.locator("html").get_attribute("lang") == "en"


BACKGROUND = "getComputedStyle(document.body).backgroundColor"
BAR = """() => {
    const canvas = document.querySelector("#chart canvas");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Map();
    for (let i = 0; i < pixels.length; i += 4) {
        if (pixels[i + 3] < 255) continue;
        const colour = [...pixels.slice(i, i + 3)].join(",");
        seen.set(colour, (seen.get(colour) ?? 0) + 1);
    }
    return [...seen].sort((a, b) => b[1] - a[1])[0][0];
}"""
LIGHT, DARK = ("rgb(255, 255, 255)", "31,122,77"), ("rgb(17, 17, 17)", "76,195,138")


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
    page.wait_for_selector("#chart canvas")
    assert (page.evaluate(BACKGROUND), page.evaluate(BAR)) == expected


def frame_of(visitor: Visitor) -> FrameLocator:
    frame = visitor.page.frame_locator("iframe")
    frame.locator("h1").wait_for()
    return frame


def test_within_airflow_a_bar_leads_to_the_rejected_events_and_these_to_their_task(ada: Visitor) -> None:
    ada.go("/").get_by_role("button", name="Browse").click()
    ada.page.get_by_role("menuitem", name="Adjust deliveries").click()
    frame = frame_of(ada)
    assert "/plugin/adjust-deliveries" in ada.page.url

    bars = frame.locator("#chart .u-over").nth(1)
    box = bars.bounding_box()
    assert box is not None
    bars.click(position={"x": box["width"] * 0.5, "y": box["height"] - 3})
    frame.get_by_role("heading", name="Events sent to Adjust").wait_for()
    first = frame.locator("tbody tr").first
    assert re.search(r"order-\d{7}\s+\d{4}-\d\d-\d\d", first.inner_text())
    # The middle one of five days.
    assert day(2) in first.inner_text()

    # The frame may not navigate Airflow. Its links to Airflow open outside the frame all the same.
    first.get_by_role("link", name="Task instance").click()
    ada.page.wait_for_url(f"**/dags/{PURCHASES}/runs/*/tasks/send_purchases/mapped/*")


def test_the_filters_work_within_the_frame(ada: Visitor) -> None:
    ada.go("/plugin/adjust-deliveries")
    frame = frame_of(ada)
    frame.get_by_label("Event token").fill("sub5cr")
    frame.get_by_role("button", name="Show").click()
    frame.locator("#by-day td a", has_text="sub5cr").first.wait_for()
    assert frame.locator("#by-day tr.day").count() == 0
