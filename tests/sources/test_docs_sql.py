"""The queries of docs/guides/warehouses.md on real engines, where there are any: rows, times, money, ids, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import Connection
from sources.driver_hooks import Warehouse, drivers, needs
from table import table

from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.sql_rows import known_names, sql_hook, stream_rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "warehouses.md"
#: The sections with a query, and what sqlglot calls its dialect.
DIALECTS = {
    "Postgres": "postgres",
    "MySQL and MariaDB": "mysql",
    "Redshift": "redshift",
    "Snowflake": "snowflake",
    "BigQuery": "bigquery",
    "Databricks": "databricks",
    "Trino": "trino",
    "DuckDB": "duckdb",
    "ClickHouse": "clickhouse",
    "SQL Server and ODBC": "tsql",
}

PLACEHOLDER = re.compile(r"%\(\w+\)s|%s|\?|:(since|until)\b")

Parameters = Mapping[str, str] | Sequence[str]


def sections() -> dict[str, str]:
    """The text under each third-level heading, by heading."""
    parts = re.split(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def query_of(section: str) -> str:
    [query] = re.findall(r"^```sql\n(.*?)^```$", sections()[section], re.DOTALL | re.MULTILINE)
    return str(query)


# -- the rows ------------------------------------------------------------------------------------------------------------

#: Yesterday: Adjust takes no event that is old.
SINCE = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
UNTIL = SINCE + timedelta(days=1)
#: As data_interval_start.isoformat() is, also where the DAG's schedule is not in UTC.
IN_TOKYO = {
    "since": (SINCE + timedelta(hours=9)).isoformat().replace("+00:00", "+09:00"),
    "until": (UNTIL + timedelta(hours=9)).isoformat().replace("+00:00", "+09:00"),
}
IN_UTC = {"since": f"{SINCE:%F %T}", "until": f"{UNTIL:%F %T}"}

DEVICE = "38400000-8cf0-11bd-b23e-10b96e40000{}"
#: Id, seconds after SINCE, amount, currency, device, shop, coupon. Not in the order of time; the amount comes in a DOUBLE.
PURCHASES: list[tuple[str, float, float, str, str, str, str | None]] = [
    ("o-3", 86_399.25, 0.07, "JPY", DEVICE.format("c"), "Tōkyō 🛍", "5 %"),
    ("o-2", 45_015, 1_234_567.89, "USD", DEVICE.format("b"), 'the "old" shop\\', "it's"),
    ("o-1", 0, 9.90, "EUR", DEVICE.format("a"), "berlin", None),
    ("before", -0.5, 1.0, "EUR", DEVICE.format("d"), "berlin", None),
    ("after", 86_400, 1.0, "EUR", DEVICE.format("e"), "berlin", None),
]
SENT = {
    "o-1": (0, "9.90", "EUR", DEVICE.format("a"), {"shop": "berlin"}),
    "o-2": (45_015, "1234567.89", "USD", DEVICE.format("b"), {"shop": 'the "old" shop\\', "coupon": "it's"}),
    "o-3": (86_399, "0.07", "JPY", DEVICE.format("c"), {"shop": "Tōkyō 🛍", "coupon": "5 %"}),
}


def inserts(target: str, time: str = "'{:%F %T.%f}+00:00'", *, backslash: str = "\\") -> list[str]:
    """Statements that insert the purchases. `time` is how the database writes one in UTC."""

    def text(value: str | None) -> str:
        return "NULL" if value is None else "'" + value.replace("'", "''").replace("\\", backslash) + "'"

    return [
        f"INSERT INTO {target} VALUES ({text(order_id)}, {time.format(SINCE + timedelta(seconds=seconds))}, {amount!r}, "
        f"{text(currency)}, {text(device)}, {text(shop)}, {text(coupon)})"
        for order_id, seconds, amount, currency, device, shop, coupon in PURCHASES
    ]


def check(hook: DbApiHook, query: str, parameters: Parameters | None, *, digits: bool = True) -> None:
    """The query's rows are valid events, in order, and say what the purchases say.

    :param digits: revenue has the very digits; else it is only the same number.
    """
    options = RowOptions(app_token="4w565xzmb54d", environment="sandbox", event_token="f0ob4r", id_field="order_id")
    parser = EventParser(options)
    with stream_rows(hook, query, parameters, 2, known_names(options)) as rows:
        assert parser.options.id_field in rows.columns
        events = [parser.parse(row) for row in rows]
    assert [event.event_id for event in events] == list(SENT)
    for event in events:
        seconds, revenue, currency, device, callback_params = SENT[event.event_id]
        params = event.params
        assert int(params["created_at_unix"]) == int(SINCE.timestamp()) + seconds, event.event_id
        assert params["revenue"] == revenue if digits else Decimal(params["revenue"]) == Decimal(revenue), (
            event.event_id
        )
        assert (params["currency"], params["gps_adid"]) == (currency, device), event.event_id
        assert json.loads(params["callback_params"]) == {**callback_params, "event_id": event.event_id}


# -- engines -------------------------------------------------------------------------------------------------------------


def fill_postgres(warehouse: Warehouse) -> None:
    warehouse.run(
        "DROP SCHEMA IF EXISTS shop CASCADE",
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.purchases (order_id TEXT, purchased_at TIMESTAMPTZ, amount DOUBLE PRECISION, currency TEXT,"
        " gps_adid UUID, shop TEXT, coupon TEXT)",
        *inserts("shop.purchases"),
    )


@drivers("psycopg2", "psycopg3")
def test_the_query_of_postgres(warehouse: Warehouse) -> None:
    fill_postgres(warehouse)
    check(warehouse.hook(options="-c timezone=America/New_York"), query_of("Postgres"), IN_TOKYO)


@drivers("psycopg2", "psycopg3", "redshift_connector")
def test_the_query_of_redshift_on_postgres(warehouse: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    """Redshift has functions that Postgres lacks; here they are made of Postgres' own. The placeholders suit its cursor."""
    fill_postgres(warehouse)
    warehouse.run(
        "ALTER TABLE shop.purchases ALTER COLUMN gps_adid TYPE TEXT",
        "CREATE OR REPLACE FUNCTION object(VARIADIC pairs TEXT[]) RETURNS JSON LANGUAGE SQL AS 'SELECT json_object(pairs)'",
    )
    # Postgres 17 took the name of the other function for itself.
    query = query_of("Redshift").replace("JSON_SERIALIZE(", "shop.json_serialize(")
    warehouse.run(
        "CREATE FUNCTION shop.json_serialize(given JSON) RETURNS TEXT LANGUAGE SQL AS 'SELECT given #>> ''{}'''"
    )
    check(warehouse.hook(), query, list(IN_TOKYO.values()))
    assert "cannot be read through a cursor" not in caplog.text


@drivers("pymysql", "mysqlclient", "mysql-connector")
def test_the_query_of_mysql(warehouse: Warehouse) -> None:
    warehouse.run(
        "DROP TABLE IF EXISTS purchases",
        "CREATE TABLE purchases (order_id VARCHAR(9), purchased_at TIMESTAMP(6), amount DOUBLE, currency CHAR(3),"
        " gps_adid CHAR(36), shop VARCHAR(30), coupon VARCHAR(30)) CHARACTER SET utf8mb4",
        "SET time_zone = '+00:00'",
        *inserts("purchases", "'{:%F %T.%f}'", backslash="\\\\"),
        "SET GLOBAL time_zone = '-02:00'",
    )
    try:
        check(warehouse.hook(charset="utf8mb4"), query_of("MySQL and MariaDB"), IN_UTC)
    finally:
        warehouse.run("SET GLOBAL time_zone = 'SYSTEM'")


@pytest.fixture
def duckdb_hook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DbApiHook:
    """A DuckDB with the purchases."""
    import duckdb

    path = str(tmp_path / "warehouse.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute("CREATE SCHEMA shop")
        connection.execute(
            "CREATE TABLE shop.purchases (order_id TEXT, purchased_at TIMESTAMPTZ, amount DOUBLE, currency TEXT,"
            " gps_adid UUID, shop TEXT, coupon TEXT)"
        )
        for statement in inserts("shop.purchases"):
            connection.execute(statement)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "duckdb", "host": path}))
    return sql_hook("shop", None)


@needs("duckdb", "duckdb_provider", "pytz")
def test_the_query_of_duckdb(duckdb_hook: DbApiHook) -> None:
    check(duckdb_hook, query_of("DuckDB"), list(IN_TOKYO.values()))


@needs("duckdb", "duckdb_provider", "pytz")
@pytest.mark.parametrize("section", ["BigQuery", "Databricks", "Trino"])
def test_the_query_of_a_warehouse_that_needs_an_account_on_duckdb(duckdb_hook: DbApiHook, section: str) -> None:
    """Translated, with the values in it. BigQuery's NUMERIC prints no zeros at the end."""
    values = iter(IN_TOKYO.values())
    query = PLACEHOLDER.sub(lambda _: f"'{next(values)}'", query_of(section))
    [translated] = sqlglot.transpile(query, read=DIALECTS[section], write="duckdb")
    check(duckdb_hook, translated, None, digits=section != "BigQuery")


@pytest.fixture
def snowflake_hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[DbApiHook]:
    """A stand-in for Snowflake with the purchases."""
    import fakesnow

    extra = {"account": "abc-xyz", "warehouse": "LOADING", "database": "SHOP_DB", "role": "ADJUST_READER"}
    connection = {"conn_type": "snowflake", "login": "airflow", "password": "x", "schema": "SHOP", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))
    with fakesnow.patch():
        hook = sql_hook("shop", None)
        with hook.get_conn() as made, made.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE shop.purchases (order_id TEXT, purchased_at TIMESTAMP_TZ, amount FLOAT, currency TEXT,"
                " gps_adid TEXT, shop TEXT, coupon TEXT)"
            )
            for statement in inserts("shop.purchases", backslash="\\\\"):
                cursor.execute(statement)
        yield hook


@needs("fakesnow", "airflow.providers.snowflake.hooks.snowflake")
def test_the_query_of_snowflake_on_fakesnow(snowflake_hook: DbApiHook) -> None:
    check(snowflake_hook, query_of("Snowflake"), IN_TOKYO)


class ChDbHook(DbApiHook):
    """ClickHouse's engine within this process. Airflow's own hook needs a server, and puts the values in as the test does."""

    conn_name_attr = "folder"

    def get_conn(self) -> Any:
        from chdb import dbapi

        return dbapi.connect(path=self.get_conn_id())


@needs("chdb")
def test_the_query_of_clickhouse_on_chdb(tmp_path: Path) -> None:
    """Also where the table's index is a time of another precision than the interval's. Its decimals print no zeros."""
    hook = ChDbHook(str(tmp_path))
    connection = hook.get_conn()
    query = query_of("ClickHouse") % {name: f"'{value}'" for name, value in IN_TOKYO.items()}
    connection.cursor().execute("CREATE DATABASE shop")
    for kind in ("DateTime64(6)", "DateTime64(3, 'America/New_York')", "DateTime"):
        for statement in (
            "DROP TABLE IF EXISTS shop.purchases",
            f"CREATE TABLE shop.purchases (order_id String, purchased_at {kind}, amount Float64, currency String,"
            " gps_adid UUID, shop String, coupon Nullable(String)) ENGINE = MergeTree ORDER BY purchased_at",
            *inserts("shop.purchases", "toDateTime64('{:%F %T.%f}', 6, 'UTC')", backslash="\\\\"),
        ):
            connection.cursor().execute(statement)
        check(hook, query, None, digits=False)
    connection.close()


# -- all of them ---------------------------------------------------------------------------------------------------------


def test_every_query_has_its_dialect() -> None:
    assert [heading for heading, text in sections().items() if "```sql" in text] == list(DIALECTS)


@table(("section", "dialect"), DIALECTS.items())
def test_every_query_is_of_its_dialect_and_in_the_order_of_time(section: str, dialect: str) -> None:
    query = PLACEHOLDER.sub(f"'{SINCE.isoformat()}'", query_of(section))
    [statement] = sqlglot.parse(query, read=dialect)
    assert isinstance(statement, sqlglot.exp.Select)
    assert not list(statement.find_all(sqlglot.exp.Command)), "sqlglot calls a command what it cannot parse"
    columns = [column.removesuffix("_unix") for column in statement.named_selects]
    assert columns == ["order_id", "created_at", "revenue", "currency", "gps_adid", "callback_params"]
    assert [term.this.sql() for term in statement.args["order"].expressions] == ["purchased_at", "order_id"]


@table("section", DIALECTS)
def test_every_query_says_whether_it_was_tried(section: str) -> None:
    assert re.match(r"\n\n(Tried|Read)\b", sections()[section])


@table("section", DIALECTS)
def test_every_connection_is_one_of_airflows(section: str) -> None:
    text = sections()[section]
    [(conn_id, given)] = re.findall(r"^export AIRFLOW_CONN_(\w+)='(.*?)'$", text, re.DOTALL | re.MULTILINE)
    connection = Connection.from_json(given, conn_id=conn_id.lower())
    assert connection.conn_type
