"""A real Airflow API server with the page in it, users who may read different DAGs, and a ledger with both DAGs' events."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from deliveries_page.browser import chromium
from deliveries_page.made_ledger import DAGS, fill
from own_postgres import connection_to

from airflow_provider_adjust.s2s.ledger.migration import prepare

if TYPE_CHECKING:
    from playwright.sync_api import Browser

#: Midnight before today: the made events are all within what the page shows by default.
LAST = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
DAYS = 5
ROWS = 2000
USERS = ("ada", "bob", "eve", "root", "una", "kim", "lea", "max")
#: DAGs that differ from those of the ledger in their letters only.
TWINS = ("SHOP_purchases", "shop_purchas\u00e9s", "shop_purchase\u0301s")


@pytest.fixture(scope="session")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger in SQLite that no test changes."""
    file = tmp_path_factory.mktemp("ledger") / "ledger.db"
    engine = sa.create_engine(f"sqlite:///{file}")
    fill(engine, rows=ROWS, days=DAYS, last=LAST)
    engine.dispose()
    return file


@pytest.fixture(scope="session")
def airflow_knows_the_dags(airflow_db: Path) -> None:
    """Put the DAGs into Airflow's database: it checks permissions only for DAGs that it knows."""
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(DagBundleModel(name="made"))
        session.flush()
        session.add_all(DagModel(dag_id=dag_id, bundle_name="made", is_stale=False) for dag_id in (*DAGS, *TWINS))


@pytest.fixture(scope="module")
def api_server(
    airflow_knows_the_dags: None, ledger_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Yield the URL of an API server of this process."""
    from airflow.api_fastapi import app as airflow_app
    from airflow.api_fastapi.app import create_app, purge_cached_app

    passwords = tmp_path_factory.mktemp("passwords") / "passwords.json"
    passwords.write_text(json.dumps({user: f"password of {user}" for user in USERS}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "deliveries_page.per_dag_auth_manager.PerDagAuthManager")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", ",".join(f"{user}:viewer" for user in USERS))
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
        patch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "ledger")
        patch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(ledger_file)}))
        # The server's thread would write a line for each request into the output of the tests.
        patch.setattr(airflow_app, "init_access_logging", lambda app: None, raising=False)  # Airflow 3.1 has none
        purge_cached_app()
        server = uvicorn.Server(uvicorn.Config(create_app(apps="core"), log_level="warning", lifespan="off"))
        # The socket listens from now on; earlier requests wait until the server is ready.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join()
                purge_cached_app()


@pytest.fixture
def shown_ledger(ledger_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    """An empty ledger that the page shows."""
    monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "other")
    from airflow_provider_adjust.deliveries_page import ledgers

    url = ledger_engine.url
    if url.get_backend_name() == "mysql":
        # Airflow's provider for MySQL needs a compiler to install.
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "mysql", "host": url.query["unix_socket"]}))
        hook = SimpleNamespace(get_sqlalchemy_engine=lambda engine_kwargs: sa.create_engine(url, **engine_kwargs))
        monkeypatch.setattr(ledgers, "sql_hook", lambda conn_id, params: hook)
    elif url.get_backend_name() == "postgresql":
        made = connection_to(url.render_as_string(hide_password=False))
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(made))
    else:
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "sqlite", "host": url.database}))
    prepare(ledger_engine)
    return ledger_engine


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for the tests of a file."""
    with chromium() as running:
        yield running


Visit = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def tokens(api_server: str) -> dict[str, str]:
    """The token of each user."""
    return {
        user: httpx.post(f"{api_server}/auth/token", json={"username": user, "password": f"password of {user}"})
        .raise_for_status()
        .json()["access_token"]
        for user in USERS
    }


@pytest.fixture
def visit(api_server: str, tokens: dict[str, str]) -> Iterator[Visit]:
    """Request a path of the page as a user, with Airflow's cookie as a browser sends it."""
    with httpx.Client(base_url=f"{api_server}/adjust", timeout=60) as client:

        def ask(who: str | None, path: str = "/", *, method: str = "GET", **options: object) -> httpx.Response:
            client.cookies.clear()
            if who is not None:
                client.cookies.set("_token", tokens[who], domain="127.0.0.1")
            return client.request(method, path, **options)  # type: ignore[arg-type]

        yield ask


def day(number: int) -> str:
    """A day of the made events, counted from the first."""
    return f"{LAST - timedelta(days=DAYS - number):%Y-%m-%d}"
