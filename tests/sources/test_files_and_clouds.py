"""Databases within the process, behind ODBC or JDBC, and stand-ins for clouds, through Airflow's own hooks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.providers.common.sql.hooks.sql import DbApiHook
from cut_proxy import proxy_to
from own_mariadb import DATABASE
from own_postgres import socket_folder
from own_warehouses import CONN_ID, CONNECTION
from sources.driver_hooks import needs

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sql_rows import sql_hook, stream_rows

COLUMNS = ({"order_id", "revenue", "customId", "callback_params", "moment"},)


def hook_to(monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], **hook_params: Any) -> DbApiHook:
    monkeypatch.setenv(CONNECTION, json.dumps(connection))
    return sql_hook(CONN_ID, hook_params)


def read(hook: DbApiHook, sql: str, parameters: Any = None, fetch_size: int = 2) -> list[dict[str, Any]]:
    with stream_rows(hook, sql, parameters, fetch_size, COLUMNS) as rows:
        return list(rows)


# --- DuckDB -----------------------------------------------------------------------------------------------------------


@needs("duckdb", "duckdb_provider")
def test_duckdb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hook = hook_to(monkeypatch, {"conn_type": "duckdb", "host": str(tmp_path / "warehouse.duckdb")})
    sql = """
        SELECT n AS ORDER_ID, 1.50::DECIMAL(9, 2) AS revenue, 'a'::BLOB AS token, TIMESTAMP '2026-05-01 12:30:00' AS moment,
               {'a': 'b'} AS callback_params
        FROM range(5) AS numbers(n) WHERE n < ? ORDER BY n;
    """
    rows = read(hook, sql, [3])
    assert [row["order_id"] for row in rows] == [0, 1, 2]
    assert rows[0] == {
        "order_id": 0,
        "revenue": Decimal("1.50"),
        "token": b"a",
        "moment": datetime(2026, 5, 1, 12, 30),
        "callback_params": {"a": "b"},
    }
    with pytest.raises(AdjustConfigurationError, match="begins with INSERT"):
        read(hook, "INSERT INTO purchases VALUES (1)")


# --- ODBC -------------------------------------------------------------------------------------------------------------


def _odbc_driver(name: str) -> pytest.MarkDecorator:
    found: list[str] = []
    try:
        import pyodbc

        found = pyodbc.drivers()
    except ImportError:
        pass
    return pytest.mark.skipif(name not in found, reason=f"no ODBC driver {name!r} here; see make test-warehouses")


@needs("pyodbc", "airflow.providers.odbc.hooks.odbc")
@_odbc_driver("MariaDB Unicode")
def test_a_timestamp_of_mysql_comes_in_the_operators_timezone_over_odbc(
    monkeypatch: pytest.MonkeyPatch, mariadb_url: str
) -> None:
    url = sa.make_url(mariadb_url)
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in (
            "DROP TABLE IF EXISTS odbc_moments",
            "CREATE TABLE odbc_moments (moment TIMESTAMP, written DATETIME)",
            "SET time_zone = '+00:00'",
            "INSERT INTO odbc_moments VALUES ('2026-05-01 12:30:00', '2026-05-01 12:30:00')",
            "SET GLOBAL time_zone = '-02:00'",
        ):
            connection.execute(sa.text(statement))
        try:
            hook = hook_to(
                monkeypatch,
                {
                    "conn_type": "odbc",
                    "login": "root",
                    "schema": DATABASE,
                    "extra": {"Socket": url.query["unix_socket"]},
                },
                driver="MariaDB Unicode",
            )
            [row] = read(
                hook, "SELECT moment, written, CAST('abc' AS BINARY(3)) AS token FROM odbc_moments WHERE 1 = ?;", [1]
            )
            with stream_rows(hook, "SELECT moment FROM odbc_moments", None, 10, timezone="Etc/GMT-2") as rows:
                assert list(rows) == [{"moment": datetime(2026, 5, 1, 14, 30)}]
        finally:
            connection.execute(sa.text("SET GLOBAL time_zone = 'SYSTEM'"))
    assert row == {"moment": datetime(2026, 5, 1, 12, 30), "written": datetime(2026, 5, 1, 12, 30), "token": b"abc"}


@needs("pyodbc", "airflow.providers.odbc.hooks.odbc")
@_odbc_driver("PostgreSQL Unicode")
def test_a_timestamp_with_time_zone_of_postgres_comes_in_the_operators_timezone_over_odbc(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    connection = {"conn_type": "odbc", "host": socket_folder(postgres_url), "login": "postgres", "schema": "postgres"}
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    hook = hook_to(monkeypatch, connection, driver="PostgreSQL Unicode")
    sql = "SELECT timestamptz '2026-05-01 12:30:00+00' AS moment, timestamp '2026-05-01 12:30:00' AS written"
    written = datetime(2026, 5, 1, 12, 30)
    assert read(hook, sql) == [{"moment": written, "written": written}]
    with stream_rows(hook, sql, None, 10, timezone="Europe/Berlin") as rows:
        assert list(rows) == [{"moment": datetime(2026, 5, 1, 14, 30), "written": written}]


# --- JDBC -------------------------------------------------------------------------------------------------------------

_POSTGRES_JAR = Path("/usr/share/java/postgresql.jar")


@needs("jaydebeapi", "airflow.providers.jdbc.hooks.jdbc")
@pytest.mark.skipif(shutil.which("java") is None, reason="no Java here; see make test-warehouses")
@pytest.mark.skipif(not _POSTGRES_JAR.exists(), reason="no JDBC driver of Postgres here; see make test-warehouses")
def test_a_time_of_java_is_a_time(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    with proxy_to(f"{socket_folder(postgres_url)}/.s.PGSQL.5432") as proxy:
        address = f"jdbc:postgresql://127.0.0.1:{proxy.port}/postgres"
        hook = hook_to(
            monkeypatch,
            {"conn_type": "jdbc", "host": address, "login": "postgres", "password": ""},
            driver_path=str(_POSTGRES_JAR),
            driver_class="org.postgresql.Driver",
        )
        order_id = "5c7b9a0e-0000-4000-8000-000000000001"
        [row] = read(hook, f"SELECT '{order_id}'::uuid AS order_id, 1.50 AS revenue, '2026-05-01'::date AS moment;")
    assert (row["order_id"], float(row["revenue"]), row["moment"]) == (order_id, 1.5, "2026-05-01")


# --- ClickHouse -------------------------------------------------------------------------------------------------------


@needs("clickhouse_driver")
def test_clickhouse_driver_is_set_to_stream() -> None:
    """Its server is too large to install for this; the driver's own cursor says what it would ask for."""
    from clickhouse_driver import dbapi

    from airflow_provider_adjust.sources.drivers import source_of

    connection = dbapi.connect(host="127.0.0.1", port=9)
    cursor = source_of(connection).open_cursor(connection)
    assert cursor._stream_results
    cursor.close()
    connection.close()


# --- Snowflake --------------------------------------------------------------------------------------------------------


@pytest.fixture
def snowflake(monkeypatch: pytest.MonkeyPatch) -> Iterator[DbApiHook]:
    import fakesnow

    with fakesnow.patch():
        yield hook_to(
            monkeypatch,
            {
                "conn_type": "snowflake",
                "login": "x",
                "password": "x",
                "schema": "s",
                "extra": {"account": "a", "database": "d"},
            },
        )


@needs("fakesnow", "airflow.providers.snowflake.hooks.snowflake")
def test_snowflakes_upper_case_is_read_also_beside_an_alias_in_quotes(snowflake: DbApiHook) -> None:
    sql = """
        SELECT 1 AS order_id, 1.50::NUMBER(9, 2) AS revenue, 'x' AS "customId", '2026-05-01 12:30:00'::TIMESTAMP_NTZ AS moment;
    """
    assert read(snowflake, sql, {}) == [
        {"order_id": 1, "revenue": Decimal("1.50"), "customId": "x", "moment": datetime(2026, 5, 1, 12, 30)}
    ]


# --- BigQuery ---------------------------------------------------------------------------------------------------------


@needs("airflow.providers.google.cloud.hooks.bigquery")
def test_a_struct_is_refused_by_bigquerys_own_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor is Airflow's; the answers are those that BigQuery's REST API documents."""
    from unittest.mock import create_autospec

    from airflow.providers.google.cloud.hooks.bigquery import BigQueryConnection, BigQueryCursor, BigQueryHook
    from google.cloud.bigquery import QueryJob

    fields = [
        {"name": "order_id", "type": "STRING", "mode": "NULLABLE"},
        {"name": "callback_params", "type": "RECORD", "mode": "NULLABLE", "fields": [{"name": "a", "type": "STRING"}]},
    ]
    page = {
        "jobComplete": True,
        "schema": {"fields": fields},
        "rows": [{"f": [{"v": "o-1"}, {"v": {"f": [{"v": "x"}]}}]}],
    }
    hook = create_autospec(BigQueryHook, instance=True)
    hook.location, hook.num_retries = "EU", 0
    monkeypatch.setattr(BigQueryCursor, "_run_query", lambda *_: create_autospec(QueryJob, instance=True, job_id="job"))
    monkeypatch.setattr(BigQueryCursor, "_get_query_result", lambda _: page)
    hook.get_conn.side_effect = lambda: BigQueryConnection(service=object(), project_id="p", hook=hook)
    with (
        pytest.raises(AdjustConfigurationError, match=r"'callback_params' of the sql is a STRUCT.*TO_JSON_STRING"),
        stream_rows(hook, "SELECT 1", None, 10, COLUMNS),
    ):
        pass
