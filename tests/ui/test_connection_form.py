"""The connection form in a real Airflow and a real Chromium: filled in, tested with two tokens, and used by a DAG."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

pytest.importorskip("playwright", reason="the dependency group ui is not installed")

from airflow_in_chromium import ConnectionForm, chromium, chromium_page, press_test, see_run, trigger
from demo import APP_TOKEN, S2S_TOKEN
from local_airflow import LocalAirflow
from playwright.sync_api import Page
from ui import adjust_ui

from airflow_provider_adjust.sandbox import SandboxServer

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium on the path, and CHROMIUM names none"),
]

#: What the section Extra Fields says, word by word where a user has to know what to fill in.
EXTRA_FIELDS = {
    "App token": "The app's token, in AppView > All apps > your app",
    "Environment": "Where events count: production for real revenue, sandbox for the testing console",
    "API token": "it is not the S2S security token above",
    "Connect timeout (seconds)": "How long to wait, in whole seconds, until Adjust accepts a connection.",
    "Read timeout (seconds)": "past it the event is in doubt",
    "API endpoint": "Base URL of the Device API",
}


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalAirflow, SandboxServer]]:
    """What `make ui` starts, without the connection to Adjust."""
    with adjust_ui(tmp_path_factory.mktemp("ui") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium_page() as page:
        yield page


def test_the_form_asks_for_what_adjust_needs_in_adjusts_words(
    ui: tuple[LocalAirflow, SandboxServer], page: Page
) -> None:
    form = ConnectionForm.add(page, ui[0].url, "adjust_looked_at")
    standard = form.dialog.inner_text()
    assert all(label in standard for label in ("Endpoint", "S2S security token", "Port"))
    assert not any(label in standard for label in ("Login", "Schema", "Host", "Password"))
    assert form.field("host").get_attribute("placeholder") == "https://s2s.adjust.com"
    assert form.field("password").get_attribute("placeholder") == (
        "AppView > All apps > your app > Protection > S2S Security"
    )
    assert form.field("password").get_attribute("type") == "password"

    form.unfold("Extra Fields")
    form.field("app_token").wait_for()
    extra = form.dialog.inner_text()
    for label, help_text in EXTRA_FIELDS.items():
        assert label in extra
        assert help_text in extra, label
    assert form.field("api_token").get_attribute("type") == "password"
    assert form.field("app_token").get_attribute("type") != "password"
    assert [form.field(name).input_value() for name in ("connect_timeout", "read_timeout")] == ["5", "30"]
    assert form.environments() == ["production", "sandbox"]


def test_a_connection_made_in_the_form_is_tested_there_and_delivers(
    ui: tuple[LocalAirflow, SandboxServer], page: Page
) -> None:
    airflow, sandbox = ui
    host, _, port = sandbox.url.rpartition(":")
    form = ConnectionForm.add(page, airflow.url, "adjust_default")
    form.field("host").fill(host)
    form.field("port").fill(port)
    form.field("password").fill("a-token-that-is-wrong")
    form.unfold("Extra Fields")
    form.field("app_token").fill(APP_TOKEN)
    form.choose_environment("sandbox")
    form.save()

    said = press_test(page, airflow.url, "adjust_default")
    assert "the S2S security token is missing or wrong (status 401)" in said
    assert "AppView > All apps > app > Protection > S2S Security" in said
    assert "a-token-that-is-wrong" not in said

    form = ConnectionForm.edit(page, airflow.url, "adjust_default")
    # Airflow hides whatever has "token" in its name, and keeps what is left hidden.
    assert form.field("password").input_value() == "***"
    form.field("password").fill(S2S_TOKEN)
    form.save()
    said = press_test(page, airflow.url, "adjust_default")
    assert "S2S security token not refused; app token accepted" in said
    assert sandbox.stats()["recorded"] == 0

    seen = see_run(page, airflow.url, "adjust_quickstart", trigger(page, airflow.url, "adjust_quickstart"))
    assert "Failed" not in seen
    [event] = sandbox.events()
    assert (event["params"]["revenue"], event["params"]["currency"]) == ("9.90", "EUR")
    assert event["params"]["environment"] == "sandbox"
    stored = airflow.api("GET", "connections/adjust_default")
    assert (stored["password"], json.loads(stored["extra"])["app_token"]) == ("***", "***")
