"""The content of the page and its headers, from a real API server."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from deliveries_page.conftest import LAST, Visit, day
from deliveries_page.made_ledger import fill
from deliveries_page.test_access import A_RUN, PURCHASES, VIEWS, total
from ledger_rows import fill_with

from airflow_provider_adjust.deliveries_page import plugin
from airflow_provider_adjust.deliveries_page.configuration import PREFIX
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import VERSION, tries, versions

pytestmark = pytest.mark.airflow


def use_ledger(monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any]) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "other")


@pytest.fixture
def other_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> sa.Engine:
    """An empty ledger for one test."""
    use_ledger(monkeypatch, {"conn_type": "sqlite", "host": str(tmp_path / "other.db")})
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    prepare(engine)
    return engine


class Loads(HTMLParser):
    """The resources that a page loads, and its inline scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"script", "img", "iframe", "link"}:
            self.sources.append(given.get("src") or given.get("href") or "")
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and not given.get("src")):
            self.inline.append(tag)


@pytest.mark.parametrize("path", [*VIEWS, "/nowhere", "/static/nowhere", "/?map_index=x", "/?ledger=unknown"])
def test_everything_is_loaded_from_the_page_itself_and_the_headers_demand_it(visit: Visit, path: str) -> None:
    response = visit("root", path)
    page = Loads()
    page.feed(response.text)
    assert page.inline == []
    assert page.sources
    assert all(source.startswith("/adjust/static/") for source in page.sources)
    for source in page.sources:
        served = visit(None, source.removeprefix("/adjust"))
        assert served.status_code == 200
        assert served.headers["x-content-type-options"] == "nosniff"
        assert served.headers["cache-control"] == "no-cache"
    assert "unsafe" not in response.headers["content-security-policy"]


def test_every_answer_has_the_headers(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("something that nobody expected")

    navigation = {"Sec-Fetch-Dest": "document"}
    answers = {
        200: [visit("root", path) for path in VIEWS],
        303: [visit("root", f"/dags/{PURCHASES}"), visit(None, "/events", headers=navigation)],
        401: [visit(None, path) for path in VIEWS],
        404: [visit("root", path) for path in ("/nowhere", "/static/nowhere", "/?ledger=unknown")],
        405: [visit("root", "/", method="POST")],
        422: [visit("root", "/?map_index=x"), visit("root", "/events?after=x")],
    }
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "unknown")
        answers[503] = [visit("root", "/runs")]
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_adjust.deliveries_page.queries.dags_in", fail)
        answers[500] = [visit("root", path) for path in (*VIEWS, f"/dags/{PURCHASES}")]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "airflow_provider_adjust.deliveries_page.app", None)
        answers[500].append(visit("root"))
    for status, responses in answers.items():
        for response in responses:
            assert response.status_code == status
            headers = response.headers
            assert headers["content-security-policy"].startswith("default-src 'self';")
            assert headers["x-frame-options"] == "SAMEORIGIN"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cache-control"] == "no-store"
            assert [len(headers.get_list(name)) for name in set(headers)] == [1] * len(set(headers))
            assert "nobody expected" not in response.text


def test_a_day_shows_its_events_by_status_with_reasons_and_revenue(visit: Visit) -> None:
    text = visit("root").text
    body = re.search(rf'<tbody data-day="{day(2)}" data-delivered="(\d+)" data-missing="(\d+)"', text)
    assert body is not None
    assert (int(body[1]), int(body[2])) == (390, 9)
    assert re.search(r"device_not_found \d", text)
    assert re.search(r"[\d,]+\.\d\d USD", text)


def test_a_run_leads_to_its_task_instance_in_airflow(visit: Visit) -> None:
    text = visit("root", f"/runs?dag_id={PURCHASES}&first_day={day(2)}&last_day={day(2)}").text
    path = f"/dags/{PURCHASES}/runs/scheduled__{day(2)}T00%3A00%3A00%2B00%3A00/tasks/send_purchases/mapped/1"
    assert f'<a data-airflow href="{path}">' in text


HOSTILE = "\"><script>alert('x')</script>{{ 7919*7907 }}"


def test_hostile_text_in_the_ledger_is_shown_as_text(visit: Visit, other_ledger: sa.Engine) -> None:
    fill(other_ledger, rows=1, days=1, last=LAST + timedelta(hours=1))
    with other_ledger.begin() as connection:
        fill_with(connection, HOSTILE)
        connection.execute(tries.update().values(dag_id=PURCHASES))
    for view in VIEWS:
        response = visit("root", view)
        assert response.status_code == 200
        assert "<script>alert" not in response.text
        assert str(7919 * 7907) not in response.text


@pytest.mark.parametrize(
    "query",
    [
        "status=<script>",
        "map_index=<script>",
        "event_token=<script>",
        "<script>=1",
        "after=<script>",
        "first_day=<script>",
    ],
)
@pytest.mark.parametrize("view", ["/runs", "/events"])
def test_a_refused_parameter_is_not_repeated_as_markup(visit: Visit, view: str, query: str) -> None:
    response = visit("root", f"{view}?{query}")
    assert response.status_code == 422
    assert "<script>=" not in response.text
    assert "<script>1" not in response.text
    assert response.text.count("<script>") == 0


@pytest.mark.parametrize("name", ["dag_id", "run_id", "task_id"])
def test_a_filter_is_shown_as_text(visit: Visit, name: str) -> None:
    response = visit("root", "/", params={name: HOSTILE})
    assert response.status_code == 200
    assert "<script>alert" not in response.text


def contrast(one: str, other: str) -> float:
    """The contrast as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_colour_has_enough_contrast_in_light_and_in_dark() -> None:
    style = (Path(plugin.__file__).parent / "static" / "page.css").read_text(encoding="utf-8")
    themes = [dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r":root[^{]*\{[^}]*\}", style)]
    assert len(themes) == 3
    assert themes[1] == themes[2], "dark by the system's setting is dark by Airflow's"
    for theme in themes:
        for name in ("text", "quiet", "link", "delivered", "rejected", "in-doubt"):
            for ground in ("page", "panel"):
                assert contrast(theme[name], theme[ground]) >= 4.5, (name, ground)
        assert contrast(theme["border"], theme["page"]) >= 3, "the border of a control"


# -- which ledgers -------------------------------------------------------------------------------------------------------


def test_only_ledgers_that_are_configured_are_opened(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SECRET_PLACE", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "x.db")}))
    for view in VIEWS:
        assert visit("root", f"{view}?ledger=secret_place").status_code == 404
    assert not (tmp_path / "x.db").exists()


def test_the_address_selects_one_of_several_ledgers(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, other_ledger: sa.Engine
) -> None:
    monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", " other, ledger,,other")
    assert total(visit("root")) == 0
    response = visit("root", "/?ledger=ledger")
    assert total(response) == 2000
    assert re.findall(r"<option( selected)?>(other|ledger)</option>", response.text) == [
        ("", "other"),
        (" selected", "ledger"),
    ]
    # The tab of a run selects the ledger that has the run.
    assert "ledger=ledger" in visit("root", f"/dags/{PURCHASES}/runs/{A_RUN}").headers["location"]


def test_without_a_ledger_the_page_explains_how_to_configure_one(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "")
    for view in VIEWS:
        response = visit("eve", view)
        assert response.status_code == 200
        assert "AIRFLOW__ADJUST__LEDGER_CONN_IDS=adjust_ledger" in response.text


@pytest.mark.parametrize(
    ("connection", "cause"),
    [
        (None, "AirflowNotFoundException"),
        ({"conn_type": "http", "host": "127.0.0.1"}, ""),
        (
            {"conn_type": "postgres", "host": "127.0.0.1", "port": 9, "login": "user", "password": "pa55word"},
            "OperationalError",
        ),
        ({"conn_type": "sqlite", "host": "/nowhere/at/all.db"}, "OperationalError"),
    ],
)
def test_an_unreadable_ledger_is_named_without_any_part_of_its_connection(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, connection: Any, cause: str
) -> None:
    if connection is None:
        monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "other")
    else:
        use_ledger(monkeypatch, connection)
    response = visit("root")
    assert response.status_code == 503
    assert "The ledger of the connection &#39;other&#39; could not be read" in response.text
    assert cause in response.text
    for said in (response.text, caplog.text):
        assert not any(secret in said for secret in ("pa55word", "127.0.0.1", "/nowhere", "SELECT"))


def test_a_database_without_a_ledger_is_not_changed(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "empty.db"
    use_ledger(monkeypatch, {"conn_type": "sqlite", "host": str(path)})
    for exists in (False, True):
        if exists:
            path.touch()
        response = visit("root")
        assert response.status_code == 503
        assert "has no ledger yet" in response.text
        assert path.exists() is exists, "the first task makes the file, for its owner alone"
    assert sa.inspect(sa.create_engine(f"sqlite:///{path}")).get_table_names() == []


def test_a_ledger_of_a_newer_provider_is_not_read(visit: Visit, other_ledger: sa.Engine) -> None:
    with other_ledger.begin() as connection:
        connection.execute(versions.update().values(version=VERSION + 1))
    response = visit("root")
    assert response.status_code == 503
    assert "newer provider" in response.text


def test_a_ledger_of_an_older_provider_waits_for_the_first_task(visit: Visit, other_ledger: sa.Engine) -> None:
    with other_ledger.begin() as connection:
        connection.execute(versions.update().values(version=2))
    response = visit("root")
    assert response.status_code == 503
    assert "upgrades it" in html.unescape(response.text)


# -- how Airflow finds the page ------------------------------------------------------------------------------------------


def test_the_views_are_those_that_airflow_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    for configured, expected in (("", ["nav"]), ("ledger", ["nav", "dag", "dag_run"])):
        monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", configured)
        views = [ExternalViewResponse.model_validate(view) for view in plugin.external_views()]
        assert [view.destination for view in views] == expected
        assert len({view.url_route for view in views}) == len(views)
        # Relative to the path at which Airflow is served, which a slash in front would leave.
        assert all(view.href.startswith("adjust/") for view in views)


def test_airflow_loads_the_plugin_by_its_entry_point() -> None:
    from airflow import plugins_manager

    info = {found["name"]: found for found in plugins_manager.get_plugin_info()}
    assert info["adjust_deliveries"]["fastapi_apps"][0]["url_prefix"] == PREFIX


def test_a_page_that_cannot_be_imported_stops_nothing_else(
    visit: Visit, api_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "airflow_provider_adjust.deliveries_page.app", None)
    assert visit("root").status_code == 500
    assert httpx.get(f"{api_server}/api/v2/version").status_code == 200


def test_the_plugin_imports_only_itself_and_the_configuration() -> None:
    code = (
        "import sys, airflow.plugins_manager, airflow_provider_adjust\n"
        "before = set(sys.modules)\n"
        "import airflow_provider_adjust.deliveries_page.plugin\n"
        "print(sorted(name for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == str(
        [
            "airflow_provider_adjust.deliveries_page",
            "airflow_provider_adjust.deliveries_page.configuration",
            "airflow_provider_adjust.deliveries_page.plugin",
        ]
    )
