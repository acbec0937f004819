"""Three people with a question each, answered within one screen; and every state of the page without a barrier."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from deliveries_page.browser import PAGE, Visitor
from deliveries_page.made_nights import NIGHT, bad_morning

from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import tries

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.airflow

RESEND = "adjust_resend_rejected"
HOURS_AGO = re.compile("2[89] h ago")


@pytest.fixture
def morning(airflow_knows_the_dags: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[sa.Engine]:
    """The ledger after a bad night, of DAGs that Airflow knows."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    names = ("shop_rehearsal", RESEND)
    with create_session() as session:
        session.add_all(DagModel(dag_id=name, bundle_name="made", is_stale=False, is_paused=False) for name in names)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'morning.db'}")
    prepare(engine)
    bad_morning(engine)
    with engine.begin() as ledger:
        path = str(tmp_path / "rejected" / "shop_purchases" / "20261128T000000.jsonl")
        ledger.execute(tries.update().where(tries.c.rejected_path != "").values(rejected_path=path))
    monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "morning.db")}))
    monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "other")
    yield engine
    engine.dispose()
    with create_session() as session:
        session.execute(sa.delete(DagModel).where(DagModel.dag_id.in_(names)))


@pytest.fixture
def visitor(browser: Browser, api_server: str, morning: sa.Engine) -> Visitor:
    return Visitor(browser, api_server, "root", color_scheme="light")


def see(where: Locator, *texts: str | re.Pattern[str]) -> None:
    """Each text is on the first screen, without scrolling."""
    for text in texts:
        found = where.get_by_text(text).first
        box = found.bounding_box()
        assert box is not None, text
        assert box["y"] + box["height"] <= 900, text


def test_on_call_after_a_bad_night_sees_what_failed_what_is_missing_and_what_to_do(visitor: Visitor) -> None:
    first, second = visitor.page.locator("li.night").all()
    see(first, "Failed", "shop_subscriptions", "wrong_s2s_token", "not known: nothing was read", HOURS_AGO)
    see(second, "Partly arrived", "5,688.17 USD", "bad_event_state", "Compare its time with the install")
    see(second, "rejected/shop_purchases/20261128T000000.jsonl")
    assert second.get_by_role("link", name="Resend").get_attribute("href") == f"/dags/{RESEND}"
    second.get_by_role("link", name="device_not_found").click()
    see(visitor.page.locator("main"), "Events 1 to 50 of 64", "Check the environment and the app token", "order-112")
    visitor.page.get_by_label("Event id").fill("order-150")
    visitor.page.get_by_role("button", name="Show").click()
    see(visitor.page.locator("main"), "order-150", "Events 1 to 1 of 1")
    visitor.go(PAGE)
    visitor.page.locator("li.night").nth(1).get_by_role("link", name="Log").click()
    visitor.page.wait_for_url("**/dags/shop_purchases/runs/*/tasks/send")


def test_a_manager_sees_what_arrived_since_when_and_which_day_is_missing(visitor: Visitor) -> None:
    page = visitor.page
    see(page.locator("li.night").nth(1), "263", "9,021.17 USD", "Last success", HOURS_AGO)
    # Test events are not in any sum, and are one choice away.
    assert "424,242" not in page.locator("main").inner_text()
    assert page.get_by_label("Environment").input_value() == "production"
    assert page.locator("svg a.bar[aria-label*='no deliveries']").count() == 1
    assert page.locator("#by-day tr.gap").inner_text().endswith("No deliveries")
    assert "Adjust shows what we sent" in page.locator("#by-day").inner_text()
    page.get_by_label("Environment").select_option("sandbox")
    page.get_by_role("button", name="Show").click()
    see(page.locator("li.night"), "Arrived", "424,242.00 USD", "sandbox")


def test_an_engineer_who_sets_up_sees_each_next_step(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    visitor.complaints.clear()
    monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "")
    see(visitor.go(PAGE).locator("main"), "No ledger is configured.", "AIRFLOW__ADJUST__LEDGER_CONN_IDS=adjust_ledger")
    monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "other")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "none.db")}))
    see(visitor.go(PAGE).locator("main"), "has no ledger yet")
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'none.db'}")
    prepare(engine)
    engine.dispose()
    see(visitor.go(PAGE).locator("main"), "Nothing has been sent yet with this ledger, or by no DAG that you may see.")


def test_a_mistake_in_the_form_is_shown_at_its_field_and_the_rest_stays(visitor: Visitor) -> None:
    page = visitor.go(f"{PAGE}?dag_id=shop_purchases")
    page.get_by_label("From (UTC)").fill("2026-01-01")
    page.get_by_role("button", name="Show").click()
    field = page.get_by_label("To (UTC)")
    assert field.get_attribute("aria-invalid") == "true"
    said = page.locator(f"#{field.get_attribute('aria-describedby')}")
    assert said.inner_text() == "At most 92 days can be shown; choose fewer"
    assert page.get_by_label("From (UTC)").input_value() == "2026-01-01"
    assert page.get_by_label("DAG").input_value() == "shop_purchases"
    page = visitor.go(f"{PAGE}runs?event_token=a-b&nonsense=1&map_index=x")
    assert page.get_by_text("Letters, digits and underscores only").count() == 1
    assert page.get_by_role("alert").count() == 2
    page.get_by_label("Event token").fill("f0ob4r")
    page.get_by_role("button", name="Show").click()
    page.locator("tbody tr").first.wait_for()


def test_a_filter_without_a_match_stays_and_is_named(visitor: Visitor) -> None:
    page = visitor.go(f"{PAGE}?dag_id=unheard_of&environment=production")
    assert page.get_by_label("DAG").input_value() == "unheard_of"
    assert "unheard_of has no deliveries in production from " in page.locator(".notice").inner_text()


def test_a_sign_says_that_the_next_view_is_loading(visitor: Visitor) -> None:
    page = visitor.page
    page.evaluate(
        "() => { const sign = document.querySelector('.loading'); window.seen = [];"
        "new MutationObserver(() => sessionStorage.setItem('seen', sign.textContent)).observe(sign, {childList: true}); }"
    )
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("heading", name="Adjust deliveries by run").wait_for()
    assert page.evaluate("sessionStorage.getItem('seen')") == "Loading …"
    assert page.locator(".loading").inner_text() == ""


def test_paper_has_no_form_and_no_menu(visitor: Visitor) -> None:
    visitor.page.emulate_media(media="print")
    assert not visitor.page.locator("form, nav, .back").locator("visible=true").count()
    assert visitor.page.locator("li.night").first.is_visible()


STATES = {
    "first view": "",
    "revenue": "?unit=USD",
    "sandbox": "?environment=sandbox",
    "one run": f"?dag_id=shop_purchases&run_id={quote(NIGHT)}",
    "runs": "runs",
    "events": "events?status=rejected&reason=device_not_found",
    "nothing": "events?event_id=nothing",
    "a mistake": "?event_token=a-b",
    "no such page": "nowhere",
}


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_state_of_the_page_has_a_barrier(browser: Browser, api_server: str, morning: sa.Engine, theme: Any) -> None:
    """By axe, at a desk, at 200 % zoom and on a phone; nothing is cut off at the side."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    visitor = Visitor(browser, api_server, "root", color_scheme=theme)
    found = []
    for name, path in STATES.items():
        page = visitor.go(PAGE + path)
        for width in (1300, 650, 390):
            page.set_viewport_size({"width": width, "height": 844})
            found += [(name, width, each["id"], each["nodes"][0]["html"]) for each in violations(axe, page)]
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found.append((name, width, "wider than the window", ""))
    assert found == []
    # What finds nothing would find something.
    page.evaluate("document.querySelector('main').append(document.createElement('img'))")
    assert [each["id"] for each in violations(axe, page)] == ["image-alt"]


def violations(axe: Any, page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = axe.run(page).response["violations"]
    return found


def test_every_bar_and_link_is_reached_with_the_keyboard_and_the_menu_can_be_skipped(visitor: Visitor) -> None:
    page = visitor.page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "figures"
    page.keyboard.press("Tab")
    assert re.match("Log", page.evaluate("document.activeElement.textContent"))
