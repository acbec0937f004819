"""A user sees no deliveries of a DAG that Airflow does not let them read, whatever the request.

A real API server, its real login and tokens, and its users: Ada may read one DAG of the ledger, Bob the other, Eve none, and
Root both. Kim may read no runs, Lea no task instances, and Max no runs of Ada's DAG.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
import sqlalchemy as sa
from deliveries_page.conftest import LAST, ROWS, Visit, day
from deliveries_page.made_ledger import DAGS, fill
from starlette.routing import Route

from airflow_provider_adjust.s2s.ledger.schema import tries

pytestmark = pytest.mark.airflow

PURCHASES, SUBSCRIPTIONS = DAGS
VIEWS = ("/", "/runs", "/events")
A_RUN = f"scheduled__{day(2)}T00:00:00+00:00"
#: Every fifth event is of the subscriptions.
EVENTS = {"ada": ROWS * 4 // 5, "bob": ROWS // 5, "eve": 0, "root": ROWS, "kim": 0, "lea": 0, "max": ROWS // 5}
SEES = {"ada": {PURCHASES}, "bob": {SUBSCRIPTIONS}, "root": set(DAGS), "max": {SUBSCRIPTIONS}}


def events_in(response: httpx.Response) -> set[int]:
    """The numbers of the made events on a page; those of the subscriptions divide by five."""
    return {int(number) for number in re.findall(r"order-(\d{7})", response.text)}


def total(response: httpx.Response) -> int:
    """All events that the page of days has counted."""
    figures = re.search(r'<dl class="totals">(.*?)</dl>', response.text, re.DOTALL)
    if figures is None:
        return 0
    found = re.findall(r"<dt>([^<]*)</dt><dd[^>]*>([\d,]+)</dd>", figures[1])
    return sum(int(number.replace(",", "")) for name, number in found if "Revenue" not in name)


@pytest.mark.parametrize("path", [*VIEWS, f"/dags/{PURCHASES}", f"/dags/{PURCHASES}/runs/{A_RUN}", "/?dag_id=' OR 1"])
@pytest.mark.parametrize("token", [None, "not.a.token"])
def test_a_request_without_a_login_is_refused(visit: Visit, path: str, token: str | None) -> None:
    response = visit(None, path, headers={"Authorization": f"Bearer {token}"} if token else {})
    assert response.status_code == (403 if token else 401)
    assert not events_in(response)
    assert not any(word in response.text for word in (*DAGS, "scheduled__", "ledger"))


def test_a_browser_without_a_login_is_redirected_to_airflows_login_and_back(visit: Visit, api_server: str) -> None:
    response = visit(None, "/events?status=rejected&dag_id=a%26b", headers={"Sec-Fetch-Dest": "document"})
    assert response.status_code == 303
    login = httpx.get(api_server + response.headers["location"])
    assert login.status_code == 307
    assert login.next_request is not None
    assert login.next_request.url.path == "/auth/login"
    # Airflow 3.1 keeps the first parameter only.
    assert login.next_request.url.params["next"].startswith("/adjust/events?status=rejected")


@pytest.mark.parametrize("who", EVENTS)
def test_each_user_sees_the_dags_that_they_may_read(visit: Visit, who: str) -> None:
    assert total(visit(who)) == EVENTS[who]
    expected = SEES.get(who, set())
    for view in VIEWS:
        response = visit(who, view)
        assert response.status_code == 200
        assert {dag_id for dag_id in DAGS if dag_id in response.text} == expected
    numbers = events_in(visit(who, "/events"))
    assert {PURCHASES if number % 5 else SUBSCRIPTIONS for number in numbers} == expected


def test_a_token_in_the_header_counts_like_the_cookie(visit: Visit, tokens: dict[str, str]) -> None:
    assert total(visit(None, headers={"Authorization": f"Bearer {tokens['bob']}"})) == EVENTS["bob"]
    # Airflow 3.3 prefers the header to the cookie, 3.1 the cookie; never both.
    both = total(visit("eve", headers={"Authorization": f"Bearer {tokens['bob']}"}))
    assert both in (EVENTS["bob"], EVENTS["eve"])


#: All that a page hands out, and what somebody might try beside it.
GUESSES = [
    {"dag_id": PURCHASES},
    {"dag_id": PURCHASES, "run_id": A_RUN},
    {"run_id": A_RUN, "map_index": "1"},
    {"dag_id": PURCHASES, "run_id": A_RUN, "task_id": "send_purchases", "map_index": "1"},
    {"ledger": "ledger", "app_token": "4w565xzmb54d", "event_token": "f0ob4r", "environment": "production"},
    {"status": "rejected", "reason": "device_not_found"},
    {"first_day": day(0), "last_day": day(4)},
    {"dag_id": f"{SUBSCRIPTIONS}' OR '1'='1"},
    {"dag_id": "%"},
    {"dag_id": f"{SUBSCRIPTIONS},{PURCHASES}"},
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("guess", GUESSES, ids=repr)
def test_guessed_parameters_return_nothing_of_an_unreadable_dag(visit: Visit, view: str, guess: dict[str, str]) -> None:
    path = f"{view}?{urlencode(guess)}"
    bobs = visit("bob", path)
    assert bobs.status_code == 200
    assert all(number % 5 == 0 for number in events_in(bobs))
    if view == "/":
        assert total(bobs) <= EVENTS["bob"]
    # For Bob, Ada's DAG does not differ from one that does not exist. Eve may read no DAG.
    if guess.get("dag_id") == PURCHASES:
        unheard_of = visit("bob", f"{view}?{urlencode(guess | {'dag_id': 'unheard_of_'})}")
        assert bobs.text.replace(PURCHASES, "DAG") == unheard_of.text.replace("unheard_of_", "DAG")
    eves = visit("eve", path)
    assert eves.status_code == 200
    assert not events_in(eves)


@pytest.mark.parametrize("path", ["/runs", "/events", "/events?status=rejected"])
def test_a_cursor_of_another_users_list_works_in_ones_own(visit: Visit, path: str) -> None:
    after = re.search(r'rel="next" href="[^"]*after=([\w-]+)', visit("ada", "/events").text)
    assert after is not None
    separator = "&" if "?" in path else "?"
    response = visit("bob", f"{path}{separator}after={after[1]}")
    assert response.status_code == (422 if path == "/runs" else 200)
    assert all(number % 5 == 0 for number in events_in(response))
    assert PURCHASES not in response.text


@pytest.mark.parametrize("who", ["ada", "bob", "kim", "lea", "max"])
def test_the_tab_of_a_dag_or_run_leads_to_its_deliveries_if_the_user_may_read_it(visit: Visit, who: str) -> None:
    response = visit(who, f"/dags/{PURCHASES}/runs/{A_RUN}")
    assert response.status_code == 303
    location = httpx.URL(response.headers["location"])
    assert location.path == "/adjust/"
    # The plus in the run's id is still a plus.
    expected = {"dag_id": PURCHASES, "run_id": A_RUN} | ({"ledger": "ledger"} if who == "ada" else {})
    assert dict(location.params) == expected
    found = total(visit(who, f"/?{location.query.decode()}"))
    assert found == (EVENTS["ada"] // 5 if who == "ada" else 0)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [*VIEWS, f"/dags/{PURCHASES}"])
def test_requests_that_could_change_something_are_refused(visit: Visit, method: str, path: str) -> None:
    assert visit("root", path, method=method).status_code == 405


def test_every_route_is_read_only() -> None:
    from airflow_provider_adjust.deliveries_page.app import app

    views = [route for route in app.routes if isinstance(route, Route)]
    assert {method for view in views for method in view.methods or ()} <= {"GET", "HEAD"}
    assert [route.path for route in app.routes if route not in views] == ["/static"]  # the files beside the page


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc", "/static/../app.py", "/static/%2e%2e/app.py"])
def test_other_paths_do_not_exist(visit: Visit, path: str) -> None:
    assert visit("root", path).status_code == 404


@pytest.mark.parametrize("who", ["ada", "bob", "eve", "root", "kim", "max"])
def test_what_the_command_line_sent_is_shown_to_those_who_may_read_all_dags(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, who: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "cli.db")}))
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'cli.db'}")
    fill(engine, rows=1, days=1, last=LAST + timedelta(hours=1))
    with engine.begin() as connection:
        connection.execute(tries.update().values(dag_id="", run_id="2026-11-18 by anna 1f2e3d4c", task_id="send"))
    engine.dispose()
    shown = {view: "by anna" in visit(who, view).text for view in ("/runs", "/events")}
    assert shown == dict.fromkeys(shown, who == "root")
    assert total(visit(who, "/")) == (who == "root")
    if who == "root":
        assert "command line" in visit(who, "/runs").text
        assert "/dags//runs" not in visit(who, "/runs").text + visit(who, "/events").text
