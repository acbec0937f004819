"""`check-query`: the meaning of a query's columns and the first rows, with nothing sent."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, START, Connect, purchase, reveals
from psycopg2.extensions import Column

from airflow_provider_adjust.cli.query import _driver_type
from airflow_provider_adjust.sandbox import SandboxServer

Cli = Callable[..., Any]
EVENT = ("--event-token", EVENT_TOKEN, "--id-field", "order_id")
COLUMNS = ("order_id", "gps_adid", "created_at", "revenue", "currency")
SQL = f"SELECT {', '.join(COLUMNS)} FROM purchases ORDER BY created_at"
PASSWORD = "correct-horse-7"


@pytest.fixture(autouse=True)
def warehouse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> sqlite3.Connection:
    """The connection `warehouse`: an SQLite file with three purchases."""
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE purchases (order_id, gps_adid, created_at, revenue, currency, shop)")
    add(connection, purchase(1), purchase(2), purchase(3))
    return connection


def add(connection: sqlite3.Connection, *rows: dict[str, Any]) -> None:
    values = [[row.get(name) for name in COLUMNS] for row in rows]
    connection.executemany("INSERT INTO purchases VALUES (?, ?, ?, ?, ?, 'north')", values)
    connection.commit()


def test_a_good_query_shows_its_columns_and_its_first_events_masked(cli: Cli) -> None:
    done = cli("check-query", "warehouse", SQL, *EVENT, "-n", "2")
    assert (done.code, done.err) == (0, "")
    columns = done.out.partition("\n\n")[0]
    assert [line.split(maxsplit=2) for line in columns.splitlines()[3:5]] == [
        ["order_id", "str", "the event id"],
        ["gps_adid", "str", "sent as gps_adid"],
    ]
    assert done.out.count("Row ") == 2
    assert "event o-1" in done.out
    assert "All rows of the query, of which nothing was sent" in done.out
    assert re.search(r"valid +3  3\.75 EUR\n", done.out)
    assert not reveals(done.out)


def test_what_would_be_refused_is_named_and_the_exit_code_says_so(cli: Cli, warehouse: sqlite3.Connection) -> None:
    add(warehouse, purchase(4, revenue="-1"), purchase(5, currency="Euro"))
    done = cli("check-query", "warehouse", SQL, *EVENT)
    assert done.code == 1
    assert "invalid: invalid_revenue" in done.out
    assert "invalid: invalid_currency" in done.out
    assert re.search(r"valid +3  3\.75 EUR\n", done.out)


def test_only_the_first_rows_are_read(cli: Cli, warehouse: sqlite3.Connection) -> None:
    add(warehouse, *(purchase(number) for number in range(4, 2100)), purchase(2100, revenue="-1"))
    for options, code, words in (
        (("--limit", "3"), 0, "The first 3 rows of the query"),
        ((), 0, "The first 1,000 rows of the query"),
        (("--limit", "2100"), 1, "All rows of the query"),
    ):
        done = cli("check-query", "warehouse", SQL, *EVENT, *options)
        assert (done.code, words in done.out) == (code, True), done


def test_wrong_columns_are_shown_and_are_one_error(cli: Cli) -> None:
    sql = "SELECT order_id AS order_no, gps_adid AS gaid, created_at, revenue, revenue, shop FROM purchases"
    done = cli("check-query", "warehouse", sql, *EVENT)
    assert done.code == 2
    assert "unknown (gps_adid" in done.out
    for words in (
        "Error: the sql cannot be sent, and nothing was",
        "it has no column 'order_id', which --id-field names ('order_no'?)",
        "it gives 'revenue' in two columns",
        "missing: currency, which revenue needs",
        "--column-map gaid=gps_adid",
        "--ignore-columns order_no --ignore-columns shop",
    ):
        assert words in done.err


def test_left_out_columns_are_logged(cli: Cli) -> None:
    sql = SQL.replace("currency FROM", "currency, shop, 1 AS revenue_ FROM")
    done = cli("check-query", "warehouse", sql, *EVENT, "--ignore-columns", "*")
    assert done.code == 0
    assert "by --ignore-columns: 'shop', 'revenue_'" in done.err
    assert "The column 'revenue_' is not sent" in done.err
    assert "not sent" in done.out


def test_a_query_without_rows_or_out_of_order(cli: Cli) -> None:
    done = cli("check-query", "warehouse", SQL.replace("ORDER", "WHERE 1 = 0 ORDER"), *EVENT)
    assert (done.code, "read          0" in done.out) == (0, True)
    done = cli("check-query", "warehouse", SQL + " DESC", *EVENT)
    assert done.code == 1
    assert done.err.startswith("Error: row 2 ")
    assert "valid         1" in done.out


def test_a_file_with_parameters_and_templates_that_are_not_rendered(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "query.sql"
    path.write_text(SQL.replace("ORDER", "WHERE order_id > ? ORDER"))
    done = cli("check-query", "warehouse", "--file", path, "--parameters", '["o-1"]', *EVENT)
    assert (done.code, "valid         2" in done.out) == (0, True)
    path.write_text(SQL.replace("ORDER", "WHERE order_id > '{{ ds }}' ORDER"))
    done = cli("check-query", "warehouse", "--file", path, *EVENT)
    assert done.code == 0
    assert "has Jinja templates, which are not rendered here" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("warehouse",), "give either SQL or --file, and not both"),
        (("warehouse", SQL, "--file", "q.sql"), "give either SQL or --file, and not both"),
        (("warehouse", "--file", "gone.sql"), "gone.sql cannot be read"),
        (("warehouse", SQL, "--parameters", "5"), "--parameters takes the text of a JSON list or object"),
        (("warehouse", SQL, "--hook-params", "[]"), "--hook-params takes the text of a JSON object"),
        (("warehouse", SQL, "--limit", "0"), "--limit is 0; give a number from 1 on"),
        (("warehouse", SQL, "-n", "-1"), "--events is -1; give a number from 0 on"),
        (("nowhere", SQL), "there is no connection 'nowhere'"),
        (("adjust_default", SQL), "must be a database connection"),
        (("warehouse", "SELECT x FROM gone"), "the query on 'warehouse' failed, OperationalError: no such table: gone"),
        (("warehouse", "DELETE FROM purchases WHERE 1 = 0"), "the sql begins with DELETE; it must be one SELECT"),
    ],
)
def test_an_unusable_argument_is_reported_in_one_line(
    cli: Cli, connect: Connect, airflow_db: Path, arguments: tuple[str, ...], words: str
) -> None:
    connect("http://127.0.0.1:1")
    done = cli("check-query", *arguments, *EVENT)
    assert (done.code, done.err.startswith("Error: ")) == (2, True), done
    assert words in done.err


def test_with_a_connection_its_app_is_checked_and_nothing_is_sent(cli: Cli, adjust: SandboxServer) -> None:
    done = cli("check-query", "warehouse", SQL, *EVENT, "--adjust-conn-id", "adjust_default")
    assert done.code == 0
    assert f"{APP_TOKEN[:4]}…" in done.out
    assert adjust.stats()["requests"] == 0


@pytest.fixture
def postgres(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection `warehouse`: a Postgres server, with a password that it does not ask for."""
    address = sa.make_url(postgres_url)
    fields = {"host": address.host or address.query["host"], "login": address.username, "schema": address.database}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "postgres", "password": PASSWORD, **fields}))


@pytest.mark.usefixtures("postgres")
def test_postgres_names_its_types(cli: Cli) -> None:
    sql = (
        "SELECT 'o-' || n AS order_id, gen_random_uuid() AS gps_adid, "
        f"timestamptz '{START.isoformat()}' + n * interval '1 second' AS created_at, "
        "1.25::numeric(10, 2) AS revenue, 'EUR' AS currency FROM generate_series(1, 5000000) n"
    )
    done = cli("check-query", "warehouse", sql, *EVENT, "-n", "0")
    assert done.code == 0
    assert re.search(r"valid +1,000  1,250\.00 EUR\n", done.out), done.out
    # With psycopg 3 the server's names, with psycopg2 those of its list, and never the number of the type.
    assert re.search(r"revenue +(numeric\(10,2\)|DECIMAL) +Decimal +sent as revenue", done.out), done.out
    assert re.search(r"created_at +(timestamptz|DATETIMETZ) +datetime", done.out), done.out


def test_psycopg2_types_have_names() -> None:
    assert [_driver_type(Column("a", kind, None, None, None, None, None)) for kind in (25, 1700, 1184, 2950)] == [
        "STRING",
        "DECIMAL",
        "DATETIMETZ",
        "2950",
    ]


@pytest.mark.usefixtures("postgres")
def test_what_the_database_says_is_a_line_without_the_password(cli: Cli) -> None:
    done = cli("check-query", "warehouse", f'SELECT "{PASSWORD}" FROM pg_class', *EVENT)
    assert done.code == 2
    assert 'failed, UndefinedColumn: column "***" does not exist\n' in done.err
