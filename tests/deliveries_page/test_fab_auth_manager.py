"""A user sees what their role in the FAB auth manager allows, with its database of users and its login page.

`make test-slow SUITE=fab`; the FAB provider is installed in an environment of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from json import dumps
from typing import TYPE_CHECKING

import httpx
import pytest
import sqlalchemy as sa
from deliveries_page.browser import PAGE, Visitor
from deliveries_page.made_ledger import DAGS, fill
from standalone import Standalone, lone_api_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.importorskip(
    "airflow.providers.fab", reason="the FAB provider is not installed; `make test-slow SUITE=fab` installs it"
)

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

PURCHASES, SUBSCRIPTIONS = DAGS
#: The DAGs name who may read them, as they would in a shop with two teams.
DAG_FILE = f"""
from airflow.sdk import DAG

for dag_id, role in (("{PURCHASES}", "Purchases"), ("{SUBSCRIPTIONS}", "Subscriptions")):
    with DAG(dag_id, schedule=None, access_control={{role: {{"can_read"}}, "Names": {{"can_read"}}}}):
        pass
"""
#: What each has for a role, and which DAGs they see by it.
USERS = {
    "ada": ("Purchases", {PURCHASES}),
    "bob": ("Subscriptions", {SUBSCRIPTIONS}),
    "eve": ("Newcomer", set()),
    "dan": ("Names", set()),
    "vic": ("Viewer", {PURCHASES, SUBSCRIPTIONS}),
    "root": ("Admin", {PURCHASES, SUBSCRIPTIONS}),
}
VIEWS = ("", "runs", "events")


@pytest.fixture(scope="module")
def fab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """An API server with two DAGs, the users, and a ledger with both DAGs' events."""
    folder = tmp_path_factory.mktemp("fab")
    (folder / "dags").mkdir()
    (folder / "dags" / "two_teams.py").write_text(DAG_FILE)
    engine = sa.create_engine(f"sqlite:///{folder / 'ledger.db'}")
    fill(engine, rows=100, days=2, last=datetime.now(UTC).replace(tzinfo=None))
    engine.dispose()
    settings = {
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__FAB__AUTH_RATE_LIMITED": "False",  # more people log in here within a minute than it would let
        "AIRFLOW__ADJUST__LEDGER_CONN_IDS": "ledger",
        "AIRFLOW_CONN_LEDGER": dumps({"conn_type": "sqlite", "host": str(folder / "ledger.db")}),
    }
    with lone_api_server(folder, folder / "dags", **settings) as airflow:
        airflow.command("roles", "create", "Purchases", "Subscriptions", "Newcomer", "Names")
        # Eve has none of these, and Dan the DAG alone.
        for role in ("Purchases", "Subscriptions"):
            airflow.command("roles", "add-perms", role, "-r", "DAG Runs", "Task Instances", "-a", "can_read")
        airflow.command("dags", "reserialize")
        names = ("--firstname", "Root", "--lastname", "Root", "--email", "root@example.com")
        airflow.command("users", "create", "-u", "root", "-p", "password of root", "-r", "Admin", *names)
        add_users(airflow.url, {who: role for who, (role, _) in USERS.items() if who != "root"})
        yield airflow


def add_users(url: str, roles: dict[str, str]) -> None:
    """Add the users as root by the API: each `airflow users create` takes as long as all of these."""
    login = {"username": "root", "password": "password of root"}
    token = httpx.post(f"{url}/auth/token", json=login, timeout=60).raise_for_status().json()["access_token"]
    with httpx.Client(base_url=f"{url}/auth/fab/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60) as api:
        for who, role in roles.items():
            names = {"username": who, "first_name": who, "last_name": who, "email": f"{who}@example.com"}
            user = names | {"password": f"password of {who}", "roles": [{"name": role}]}
            api.post("/users", json=user).raise_for_status()


@pytest.mark.parametrize(("who", "readable"), [(who, readable) for who, (_, readable) in USERS.items()])
def test_a_user_sees_the_dags_that_their_role_may_read(
    fab: Standalone, browser: Browser, who: str, readable: set[str]
) -> None:
    visitor = Visitor(browser, fab.url, who)
    visitor.complaints.clear()  # FAB's login page has one
    for view in VIEWS:
        offered = visitor.go(PAGE + view).locator("select[name=dag_id] option").all_inner_texts()
        assert offered == ["all", *sorted(readable)]
        assert {dag_id for dag_id in DAGS if dag_id in visitor.page.content()} == readable
        for dag_id in DAGS:
            rows = visitor.go(f"{PAGE}{view}?dag_id={dag_id}").locator("tbody tr").count()
            assert bool(rows) is (dag_id in readable), (view, dag_id)
    assert visitor.complaints == []
    assert visitor.hosts == {fab.url.removeprefix("http://")}


def test_the_login_cookie_is_not_sent_with_requests_of_another_site(fab: Standalone, browser: Browser) -> None:
    visitor = Visitor(browser, fab.url, "ada")
    [cookie] = [cookie for cookie in visitor.page.context.cookies() if cookie["name"] == "_token"]
    assert (cookie["sameSite"], cookie["httpOnly"]) == ("Lax", True)


@pytest.mark.parametrize("view", VIEWS)
def test_a_request_without_a_login_leads_to_the_login_only(fab: Standalone, view: str) -> None:
    answer = httpx.get(f"{fab.url}{PAGE}{view}")
    assert answer.status_code == 401
    assert not any(dag_id in answer.text for dag_id in DAGS)
    led = httpx.get(f"{fab.url}{PAGE}{view}", headers={"Sec-Fetch-Dest": "document"}, follow_redirects=True)
    assert led.url.path == "/auth/login/"


def test_a_removed_role_takes_effect_with_the_next_request(fab: Standalone, browser: Browser) -> None:
    visitor = Visitor(browser, fab.url, "bob")
    assert visitor.go(f"{PAGE}runs").locator("tbody tr").count() > 0
    fab.command("users", "remove-role", "-u", "bob", "-r", "Subscriptions")
    assert visitor.go(f"{PAGE}runs").locator("tbody tr").count() == 0
