"""A warehouse with purchases, as an embedded SQLite and as a real Postgres, and the task that sends them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.providers.sqlite.hooks.sqlite import SqliteHook
from operators.adjust_account import EVENT_TOKEN, START, device

from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

CONNECTION = "AIRFLOW_CONN_WAREHOUSE"
WAREHOUSES = ["sqlite", "postgres"]
SQL = """
    SELECT order_id, gaid AS gps_adid, bought_at AS created_at, total AS revenue, currency
    FROM purchases
    ORDER BY bought_at, order_id
"""


def load(url: str, rows: int) -> None:
    """A table of purchases, one a second, of ten devices, in no order."""
    metadata = sa.MetaData()
    purchases = sa.Table(
        "purchases",
        metadata,
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("order_id", sa.String(20)),
        sa.Column("gaid", sa.String(36)),
        sa.Column("bought_at", sa.Integer),
        sa.Column("total", sa.Numeric(12, 2, asdecimal=False)),
        sa.Column("currency", sa.String(3)),
    )
    engine = sa.create_engine(url)
    start = int(START.timestamp())
    with engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
        values = [
            {
                "number": number,
                "order_id": f"o-{number}",
                "gaid": device(number % 10),
                "bought_at": start + number,
                "total": 0.1,
                "currency": "EUR",
            }
            for number in sorted(range(rows), key=lambda number: number * 7919 % 101)
        ]
        connection.execute(purchases.insert(), values)
    engine.dispose()


def define_postgres(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    address = sa.make_url(url)
    connection = {
        "conn_type": "postgres",
        "host": address.host or address.query["host"],
        "login": address.username,
        "schema": address.database,
    }
    monkeypatch.setenv(CONNECTION, json.dumps(connection))


@pytest.fixture
def sqlite_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The connection `warehouse` is an SQLite file."""
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


@pytest.fixture
def warehouse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The connection `warehouse`, with 100 purchases; its kind is the parameter."""
    if request.param == "sqlite":
        load(f"sqlite:///{request.getfixturevalue('sqlite_path')}", 100)
    else:
        url = request.getfixturevalue("postgres_url")
        define_postgres(monkeypatch, url)
        load(url, 100)
    return str(request.param)


both = pytest.mark.parametrize("warehouse", WAREHOUSES, indirect=True)
postgres = pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
sqlite = pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)


def operator(sql: Any = SQL, **arguments: Any) -> SqlToAdjustOperator:
    given = {"task_id": "send", "sql_conn_id": "warehouse", "event_token": EVENT_TOKEN, "id_field": "order_id"}
    return SqlToAdjustOperator(sql=sql, **(given | arguments))


class Recorder:
    """Stands before a real connection and its cursors, and writes down what is asked of them."""

    def __init__(self, inner: Any, calls: list[tuple[str, Any]], on_fetch: Callable[[], None]) -> None:
        self._inner = inner
        self._calls = calls
        self._on_fetch = on_fetch

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **keywords: Any) -> Any:
            self._calls.append((name, arguments))
            if name.startswith("fetch"):
                self._on_fetch()
            result = attribute(*arguments, **keywords)
            return Recorder(result, self._calls, self._on_fetch) if name == "cursor" else result

        return call


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, adjust: SandboxServer) -> list[tuple[str, Any]]:
    """What the operator asks of SQLite; each fetch is followed by how many events had been sent before it."""
    calls: list[tuple[str, Any]] = []
    get_conn = SqliteHook.get_conn

    def on_fetch() -> None:
        calls.append(("sent", adjust.stats()["requests"]))

    monkeypatch.setattr(SqliteHook, "get_conn", lambda hook: Recorder(get_conn(hook), calls, on_fetch))
    return calls
