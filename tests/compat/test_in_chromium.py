"""What a person sees of the provider in Airflow's UI: the connection's form, a task's buttons, the page of deliveries.

A real `airflow standalone` and a real Chromium, which may go nowhere but to this Airflow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import airflow
import pytest
from packaging.version import Version
from standalone import Standalone, standalone, wait_for

pytest.importorskip("playwright", reason="the dependency group ui is not installed")

from airflow_in_chromium import ConnectionForm, chromium, chromium_page, press_test
from playwright.sync_api import FrameLocator, Locator, Page, expect

from airflow_provider_adjust.links.adjust_links import DASHBOARD_URL
from airflow_provider_adjust.sandbox import SandboxServer

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium on the path, and CHROMIUM names none"),
]

AIRFLOW = Version(Version(airflow.__version__).base_version)
APP_TOKEN, S2S_TOKEN, API_TOKEN = "4w565xzmb54d", "s2sTokenThatNobodyMaySee", "apiTokenThatNobodyMaySee"
#: With a plus, which an address must not lose.
RUN_ID = "manual__2026-05-01T00:00:00+00:00"
EVENTS = 20

#: The second task replaces one with its file in a bucket, since this machine has none.
DAG = """
import os

from airflow.sdk import DAG
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator


class SendAndKeepInBucket(AdjustSendEventsOperator):
    def execute(self, context):
        result = super().execute(context)
        self.delivery_result = result | {"rejected_path": "s3://bucket/night.jsonl"}
        return result


with DAG("linked", schedule=None, default_args={"retries": 0}):
    for task_id, send, ledger_conn_id in (
        ("remembers", AdjustSendEventsOperator, "ledger"),
        ("forgets", SendAndKeepInBucket, None),
    ):
        send(
            task_id=task_id,
            events=os.environ["TEST_EVENTS"],
            event_token="f0ob4r",
            id_field="order_id",
            ledger_conn_id=ledger_conn_id,
            rejected_path=f"{os.environ['TEST_FOLDER']}/{task_id}.jsonl",
            max_rejected=1,
        )
"""


def write_events(file: Path) -> str:
    """One event is refused before it is sent, for its revenue."""
    start = datetime.now(UTC) - timedelta(hours=2)
    rows = (
        {
            "order_id": f"order-{number}",
            "gps_adid": f"device-{number}",
            "created_at": (start + timedelta(seconds=number)).isoformat(),
            "revenue": "1.25" if number else "-1",
            "currency": "EUR",
        }
        for number in range(EVENTS)
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file.as_uri()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(tokens=[S2S_TOKEN], api_tokens=[API_TOKEN]) as running:
        yield running


@pytest.fixture(scope="module")
def ui(sandbox: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """An Airflow in which the DAG has run once."""
    folder = tmp_path_factory.mktemp("ui")
    (folder / "dags").mkdir()
    (folder / "dags" / "linked.py").write_text(DAG)
    adjust = {"app_token": APP_TOKEN, "environment": "sandbox"}
    settings = {
        "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(
            {"conn_type": "adjust", "host": sandbox.url, "password": S2S_TOKEN, "extra": adjust}
        ),
        "AIRFLOW_CONN_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(folder / "ledger.db")}),
        "AIRFLOW__ADJUST__LEDGER_CONN_IDS": "ledger",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # On a busy machine the 5 seconds in which a task must reach the API server are too few.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "TEST_EVENTS": write_events(folder / "events.jsonl"),
    }
    with standalone(folder, folder / "dags", "linked", **settings) as running:
        running.command("dags", "trigger", "linked", "--run-id", RUN_ID)
        ends = {"remembers": "success", "forgets": "success"}
        wait_for("the end of both tasks", lambda: running.states("linked") == ends, seconds=300)
        yield running


@pytest.fixture
def page(ui: Standalone) -> Iterator[Page]:
    """A visitor who is logged in; whatever is asked of another host is refused, and fails the test."""
    elsewhere: list[str] = []
    with chromium_page() as page:
        page.context.route(
            lambda url: not url.startswith(f"{ui.url}/"),
            lambda route: (elsewhere.append(route.request.url), route.abort()),
        )
        page.goto(ui.url)  # the login of Airflow 3.1 leads here, wherever one wanted to go
        page.get_by_role("button", name="Browse").wait_for()
        yield page
    assert elsewhere == []


def details_of(page: Page, ui: Standalone, task_id: str) -> Page:
    page.goto(f"{ui.url}/dags/linked/runs/{quote(RUN_ID, safe='')}/tasks/{task_id}/details")
    page.get_by_role("link", name="Adjust dashboard").wait_for()
    return page


def extra_links(page: Page) -> Locator:
    """The task's buttons, which are links and stand side by side."""
    return page.get_by_role("link", name="Adjust dashboard").locator("xpath=..").get_by_role("link")


def test_a_button_leads_to_what_its_task_has_delivered(ui: Standalone, page: Page) -> None:
    button = extra_links(details_of(page, ui, "remembers")).filter(has_text="Adjust deliveries")
    if button.get_attribute("target") == "_blank":  # Airflow 3.1 opens a tab for each
        with page.expect_popup() as opened:
            button.click()
        page = opened.value
    else:
        button.click()
    page.wait_for_url(f"{ui.url}/adjust/?*")
    assert dict(parse_qsl(urlsplit(page.url).query)) == {
        "ledger": "ledger",
        "dag_id": "linked",
        "run_id": RUN_ID,
        "task_id": "remembers",
    }
    delivered = page.locator(".totals .delivered dd")
    assert delivered.inner_text() == str(EVENTS - 1)
    assert RUN_ID in page.locator(".active-filters").inner_text()


@pytest.mark.parametrize(
    ("task_id", "others"),
    [
        # A file on this machine is shown by no browser, and without a ledger there is nothing to show.
        ("remembers", {"Adjust deliveries"}),
        ("forgets", {"Rejected file"}),
    ],
)
def test_there_is_a_button_for_each_link_that_leads_somewhere(
    ui: Standalone, page: Page, task_id: str, others: set[str]
) -> None:
    buttons = extra_links(details_of(page, ui, task_id)).all()
    found = {button.inner_text(): button.get_attribute("href") for button in buttons}
    assert set(found) == others | {"Adjust dashboard"}
    assert found["Adjust dashboard"] == DASHBOARD_URL
    if "Rejected file" in others:
        assert found["Rejected file"] == "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=night.jsonl"


def delivered_in(frame: FrameLocator) -> str:
    return frame.locator(".totals .delivered dd").inner_text()


@pytest.mark.parametrize("path", ["/dags/linked", f"/dags/linked/runs/{quote(RUN_ID, safe='')}"])
def test_a_tab_of_the_dag_and_of_the_run_shows_its_deliveries(ui: Standalone, page: Page, path: str) -> None:
    page.goto(ui.url + path)
    page.get_by_role("link", name="Adjust deliveries").click()
    frame = page.frame_locator("iframe")
    assert delivered_in(frame) == str(EVENTS - 1)
    assert frame.locator("select[name=dag_id]").input_value() == "linked"

    # Out of the frame, to the task.
    frame.get_by_role("link", name="Runs", exact=True).click()
    frame.get_by_role("link", name="Task instance").click()
    page.wait_for_url("**/dags/linked/runs/*/tasks/remembers*")


def test_the_menu_leads_to_the_page(page: Page) -> None:
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Adjust deliveries").click()
    assert delivered_in(page.frame_locator("iframe")) == str(EVENTS - 1)


def test_a_connection_is_made_in_the_form_and_tested(ui: Standalone, page: Page, sandbox: SandboxServer) -> None:
    host, _, port = sandbox.url.rpartition(":")
    form = ConnectionForm.add(page, ui.url, "adjust_made")
    standard = form.dialog.inner_text()
    assert all(label in standard for label in ("Endpoint", "S2S security token", "Port"))
    assert not any(label in standard for label in ("Login", "Schema", "Host", "Password"))
    assert form.field("host").get_attribute("placeholder") == "https://s2s.adjust.com"
    assert form.field("password").get_attribute("type") == "password"
    form.field("host").fill(host)
    form.field("port").fill(port)
    form.field("password").fill(S2S_TOKEN)

    form.unfold("Extra Fields")
    form.field("app_token").fill(APP_TOKEN)
    form.field("api_token").fill(API_TOKEN)
    for name in ("api_endpoint", "report_endpoint"):
        form.field(name).fill(sandbox.url)
    extra = form.dialog.inner_text()
    assert "AppView > All apps > your app" in extra
    assert [form.field(f"{kind}_timeout").input_value() for kind in ("connect", "read", "report")] == ["5", "30", "600"]
    # Airflow hides what is typed into a secret of the provider's own since 3.3.
    assert (form.field("api_token").get_attribute("type") == "password") is (Version("3.3") <= AIRFLOW)
    assert form.environments() == ["production", "sandbox"]
    page.get_by_role("option", name="sandbox", exact=True).click()
    form.save()

    said = press_test(page, ui.url, "adjust_made")
    assert all(f"{token} token accepted" in said for token in ("S2S security", "app", "API")), said
    form = ConnectionForm.edit(page, ui.url, "adjust_made")
    expect(form.field("password")).to_have_value("***")
    form.unfold("Extra Fields")
    # Airflow hides whatever has "token" in its name, and keeps what is left hidden.
    for name in ("app_token", "api_token"):
        expect(form.field(name)).to_have_value("***")
    form.field("read_timeout").fill("60")
    form.save()
    assert press_test(page, ui.url, "adjust_made") == said
