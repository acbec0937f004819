"""Rows are streamed: how a query is fetched, through which cursor, and by which hook."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.providers.sqlite.hooks.sqlite import SqliteHook
from transfers.warehouse import CONNECTION, both, load, operator, postgres, sqlite

from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sql_rows import sql_hook, stream_rows


@sqlite
def test_rows_are_fetched_a_few_at_a_time_and_no_further_than_they_are_needed(
    adjust: SandboxServer, warehouse: str, sqlite_path: Path, calls: list[tuple[str, Any]]
) -> None:
    load(f"sqlite:///{sqlite_path}", 400)
    result = operator(fetch_size=10, max_in_flight=1).execute({})
    assert result["delivered"] == 400
    fetches = [arguments for name, arguments in calls if name.startswith("fetch")]
    assert {name for name, _ in calls if name.startswith("fetch")} == {"fetchmany"}
    assert fetches == [(10,)] * 41
    sent = [count for name, count in calls if name == "sent"]
    ahead = [number * 10 - count for number, count in enumerate(sent)]
    # One request in flight has 32 events read ahead for it, and rows come ten at a time.
    assert max(ahead) <= 32 + 10
    assert [name for name, _ in calls if name == "close"] == ["close", "close"]  # the cursor and the connection


@postgres
def test_postgres_is_read_through_a_server_side_cursor(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = []
    get_conn = PostgresHook.get_conn

    def remember(hook: PostgresHook) -> Any:
        connections.append(get_conn(hook))
        return connections[-1]

    monkeypatch.setattr(PostgresHook, "get_conn", remember)
    sql = "SELECT generate_series(1, 100000000) AS number"
    with stream_rows(PostgresHook("warehouse"), sql, None, 3) as rows:
        assert [next(rows)["number"] for _ in range(4)] == [1, 2, 3, 4]
        [connection] = connections
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM pg_cursors")
            [(name,)] = cursor.fetchall()
    assert name.startswith("adjust_")
    assert connection.closed


@both
def test_the_hooks_arguments_reach_it(adjust: SandboxServer, warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks: list[DbApiHook] = []
    hook_class: type[DbApiHook] = SqliteHook if warehouse == "sqlite" else PostgresHook
    get_conn = hook_class.get_conn
    monkeypatch.setattr(hook_class, "get_conn", lambda hook: hooks.append(hook) or get_conn(hook))
    operator(hook_params={"log_sql": False}).execute({})
    assert {hook.log_sql for hook in hooks} == {False}


@pytest.mark.parametrize(
    ("conn_type", "conn_name_attr", "module", "name"),
    [
        ("databricks", "databricks_conn_id", "airflow.providers.databricks.hooks.databricks_sql", "DatabricksSqlHook"),
        ("google_cloud_platform", "gcp_conn_id", "airflow.providers.google.cloud.hooks.bigquery", "BigQueryHook"),
    ],
)
def test_a_connection_with_an_api_hook_is_queried_by_its_sql_hook(
    monkeypatch: pytest.MonkeyPatch, conn_type: str, conn_name_attr: str, module: str, name: str
) -> None:
    """The providers themselves are too large to install for this: a hook of SQLite's has the place of theirs."""

    class HookThatQueries(SqliteHook):
        def __init__(self, *, catalog: str, **keywords: Any) -> None:
            self.catalog = catalog
            self.conn_id = keywords.pop(conn_name_attr)
            super().__init__(**keywords)

    HookThatQueries.conn_name_attr = conn_name_attr
    parent, _, leaf = module.rpartition(".")
    for path in [parent, module]:
        monkeypatch.setitem(sys.modules, path, ModuleType(path))
    monkeypatch.setattr(sys.modules[parent], leaf, sys.modules[module], raising=False)
    monkeypatch.setattr(sys.modules[module], name, HookThatQueries, raising=False)
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": conn_type}))
    hook = sql_hook("warehouse", {"catalog": "main"})
    assert isinstance(hook, HookThatQueries)
    assert (hook.conn_id, hook.catalog) == ("warehouse", "main")
