"""Neither hostile text in the ledger nor a page of another site makes a real Chromium run a script or use the login."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from deliveries_page.browser import PAGE, Visitor
from deliveries_page.conftest import LAST
from deliveries_page.made_ledger import fill
from ledger_rows import fill_with

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.airflow

#: It leaves an attribute, a tag, an address and a script, and would say so by an element of its own or a dialog.
HOSTILE = "x\"'><img src=x onerror=alert(1) class=injected></a></script><script>alert(2)</script>javascript:alert(3)"
NAMES = ("event_token", "reason", "run_id", "task_id", "app_token", "environment", "dag_id")


@pytest.fixture
def hostile_ledger(airflow_knows_the_dags: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A ledger with hostile text in every column, of a DAG with a hostile name that Airflow knows."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    file = tmp_path / "hostile.db"
    engine = sa.create_engine(f"sqlite:///{file}")
    fill(engine, rows=1, days=1, last=LAST + timedelta(hours=1))
    with engine.begin() as ledger:
        fill_with(ledger, HOSTILE)
    engine.dispose()
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "other")
    with create_session() as session:
        session.add(DagModel(dag_id=HOSTILE, bundle_name="made", is_stale=False))
    yield file
    with create_session() as session:
        session.execute(sa.delete(DagModel).where(DagModel.dag_id == HOSTILE))


class Watched(Visitor):
    """A visitor without dialogs, who records which scripts ran."""

    def __init__(self, browser: Browser, url: str, who: str) -> None:
        super().__init__(browser, url, who)
        self.dialogs: list[str] = []
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))


def test_hostile_text_runs_no_script_and_adds_no_element(
    browser: Browser, api_server: str, hostile_ledger: Path
) -> None:
    root = Watched(browser, api_server, "root")
    chosen = urlencode(dict.fromkeys(("dag_id", "run_id", "task_id"), HOSTILE))
    for path in ("", "runs", "events", f"?{chosen}", f"runs?{chosen}", f"events?{chosen}", f"nowhere?{chosen}"):
        page = root.go(PAGE + path)
        page.wait_for_load_state("networkidle")
        assert page.locator("script:not([src]), script:not([src^='/adjust/static/']), .injected, img").count() == 0
        if "nowhere" not in path:
            assert HOSTILE in page.locator("main").inner_text(), path
    assert root.dialogs == []


#: What a page of another site may try with the login of who looks at it: to change something, and to read along.
OTHER_SITE = """<!doctype html>
<iframe name="answer"></iframe>
<iframe id="framed" src="{url}"></iframe>
<form id="post" method="post" action="{url}events" target="answer"><input name="status" value="delivered"></form>
<script src="{url}events"></script>
<script>
document.getElementById("post").submit();
const attempt = (method, mode) =>
    fetch("{url}events", {{method, mode, credentials: "include"}}).then(
        answer => answer.text().then(text => `${{method}} ${{mode}}: ${{text.length}}`),
        () => `${{method}} ${{mode}}: refused`);
const attempts = ["GET", "POST"].flatMap(method => ["cors", "no-cors"].map(mode => attempt(method, mode)));
attempts.push(...["PUT", "DELETE"].map(method => attempt(method, "cors")));
Promise.all(attempts).then(found => {{ document.title = found.join(", "); }});
</script>
<a href="{url}events">a prize</a>
"""


@pytest.fixture
def other_site(api_server: str, tmp_path: Path) -> Iterator[str]:
    """A page of another site: for a browser `localhost` is not `127.0.0.1`."""
    (tmp_path / "index.html").write_text(OTHER_SITE.format(url=api_server + PAGE))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_another_site_can_neither_change_nor_read_anything_by_a_visitors_login(
    browser: Browser, api_server: str, other_site: str, ledger_file: Path
) -> None:
    before = ledger_file.read_bytes()
    ada = Visitor(browser, api_server, "ada")
    [cookie] = [cookie for cookie in ada.page.context.cookies() if cookie["name"] == "_token"]
    assert cookie["sameSite"] == "Lax"

    sent = []
    ada.page.on("response", lambda answer: answer.url.startswith(api_server) and sent.append(answer))
    ada.page.goto(other_site)
    ada.page.wait_for_function("document.title")
    ada.page.wait_for_load_state("networkidle")
    assert ada.page.title() == (
        "GET cors: refused, GET no-cors: refused, POST cors: refused, POST no-cors: refused, "
        "PUT cors: refused, DELETE cors: refused"
    )
    # None of the requests carried the login, and no route changes anything.
    assert {(answer.request.method, answer.status) for answer in sent} == {("GET", 401), ("POST", 405)}
    assert not any("_token" in answer.request.all_headers().get("cookie", "") for answer in sent)
    assert not any("order-0" in frame.content() for frame in ada.page.frames)

    # A visitor who follows a link opens the page with their own login, as they may.
    ada.page.get_by_text("a prize").click()
    ada.page.wait_for_url(f"{api_server}{PAGE}events")
    assert "order-0" in ada.page.content()
    assert ledger_file.read_bytes() == before
