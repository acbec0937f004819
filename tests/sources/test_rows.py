"""Whatever a driver hands on, a row is a mapping of the names that its reader knows to plain values."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections import OrderedDict, namedtuple
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.providers.sqlite.hooks.sqlite import SqliteHook

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sources.drivers import SOURCES, source_of
from airflow_provider_adjust.sql_rows import stream_rows


class Cursor:
    """A driver's cursor with a result of the test's own: what a driver may hand on, no database here does."""

    def __init__(self, columns: list[tuple[Any, ...]], records: list[Any]) -> None:
        self.description = columns
        self._records = iter(records)

    def execute(self, sql: str, *parameters: Any) -> None:
        self.executed = (sql, *parameters)

    def fetchmany(self, size: int) -> list[Any]:
        found = []
        for record in self._records:
            if isinstance(record, Exception):
                raise record
            found.append(record)
            if len(found) == size:
                break
        return found

    def close(self) -> None:
        pass


class Connection:
    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def cursor(self) -> Cursor:
        return self._cursor

    def close(self) -> None:
        pass


class Hook(DbApiHook):
    """Neither this hook nor its connection says what it is: a third party's."""

    conn_name_attr = "conn_id"

    def __init__(self, connection: Any) -> None:
        super().__init__(log_sql=False)
        self._given = connection

    def get_conn(self) -> Any:
        return self._given


def rows_of(columns: list[Any], records: list[Any], known: Any = (), connection_class: Any = Connection) -> list[Any]:
    described = [column if isinstance(column, tuple) else (column, None) for column in columns]
    with stream_rows(Hook(connection_class(Cursor(described, records))), "SELECT 1", None, 2, known) as rows:
        return list(rows)


def _dict_row(cursor: sqlite3.Cursor, record: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, record, strict=True)}


def _named_row(cursor: sqlite3.Cursor, record: tuple[Any, ...]) -> Any:
    return namedtuple("Purchase", [column[0] for column in cursor.description])(*record)


@pytest.mark.parametrize("factory", [None, sqlite3.Row, _dict_row, _named_row])
def test_every_kind_of_record_is_a_row(factory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f'{{"conn_type": "sqlite", "host": "{tmp_path / "a.db"}"}}')
    get_conn = SqliteHook.get_conn

    def connect(hook: SqliteHook) -> Any:
        connection = get_conn(hook)
        connection.row_factory = factory
        return connection

    monkeypatch.setattr(SqliteHook, "get_conn", connect)
    with stream_rows(SqliteHook("warehouse"), "SELECT 1 AS a, 'x' AS B UNION SELECT 2, 'y'", None, 1, [{"b"}]) as rows:
        assert list(rows) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_the_rows_of_sqlalchemy_are_rows() -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        result = connection.execute(sa.text("SELECT 1 AS a, 'x' AS b"))
        [row] = result
    for record in (row, row._mapping, OrderedDict(b="x", a=1), [1, "x"]):
        assert rows_of(["a", "b"], [record]) == [{"a": 1, "b": "x"}]


def test_the_bytes_of_a_driver_are_bytes_and_other_values_stay() -> None:
    values = [
        *(1, 1.5, Decimal("1.50"), "text", None, True, b"a"),
        *(uuid.UUID(int=1), ip_address("192.0.2.1"), datetime(2026, 5, 1, tzinfo=UTC), ["a"], {"a": 1}),
    ]
    given = [*values, memoryview(b"abc"), bytearray(b"abc")]
    [row] = rows_of([f"c{number}" for number in range(len(given))], [tuple(given)])
    assert list(row.values()) == [*values, b"abc", b"abc"]


def test_a_value_that_the_driver_cannot_read_ends_with_the_place_and_without_the_value() -> None:
    for error in (ValueError("year 10000 of a person"), OverflowError("x"), TypeError("x")):
        with pytest.raises(AdjustConfigurationError, match=f"after row 2 .{type(error).__name__}.; cast") as failure:
            rows_of(["a"], [(1,), (2,), error])
        assert "person" not in str(failure.value)
    with pytest.raises(json.JSONDecodeError):  # a ValueError, but not from an answer of the database
        rows_of(["a"], [(1,), json.JSONDecodeError("no JSON", "<html>", 0)])


def _of_module(module: str) -> type[Connection]:
    return type("Connection", (Connection,), {"__module__": module})


def test_a_struct_of_bigquery_is_refused_before_its_first_row_where_it_is_used() -> None:
    bigquery = _of_module("airflow.providers.google.cloud.hooks.bigquery")
    for kind in ("RECORD", "STRUCT"):
        columns = [("order_id", "STRING"), ("Callback_Params", kind), ("other", kind)]
        with pytest.raises(
            AdjustConfigurationError, match=r"'callback_params' of the sql is a STRUCT.*TO_JSON_STRING"
        ) as failure:
            rows_of(columns, [("o-1", {"f": []}, {})], [{"callback_params"}], bigquery)
        assert len(str(failure.value)) < 200
    # A column that is not sent is not a reason.
    assert rows_of([("order_id", "STRING"), ("other", "RECORD")], [("o-1", {})], [{"order_id"}], bigquery)


def test_javas_times_and_ids_are_their_text() -> None:
    def java(name: str) -> Any:
        return type(name, (), {"__str__": lambda self: "2026-05-01T12:30Z"})()

    time, other = java("java.time.OffsetDateTime"), java("org.h2.jdbc.JdbcClob")
    assert rows_of(["a", "b"], [(time, other)], (), _of_module("jaydebeapi")) == [
        {"a": "2026-05-01T12:30Z", "b": other}
    ]


def test_a_connection_is_read_by_the_source_of_its_driver_or_of_the_class_that_it_extends() -> None:
    for module in SOURCES:
        for name in (module, f"{module}.connections"):
            connection = _of_module(name)(Cursor([], []))
            assert source_of(connection) is SOURCES[module]
            extended = type("Own", (type(connection),), {"__module__": "company.hooks"})
            assert source_of(extended(Cursor([], []))) is SOURCES[module]
    assert source_of(_of_module("psycopg2x")(Cursor([], []))) is source_of(object())


class Stubborn(Connection):
    def close(self) -> None:
        raise RuntimeError("Unread result found")


def test_an_error_while_closing_hides_nothing() -> None:
    def stream() -> Any:
        return stream_rows(Hook(Stubborn(Cursor([("a", None)], [(1,)]))), "SELECT 1", None, 2)

    with stream() as rows:
        assert list(rows) == [{"a": 1}]
    with pytest.raises(LookupError, match="the reason"), stream():
        raise LookupError("the reason")


def test_empty_parameters_are_none() -> None:
    for parameters, executed in [
        (None, ("SELECT 1",)),
        ({}, ("SELECT 1",)),
        ([], ("SELECT 1",)),
        ((), ("SELECT 1",)),
        ("", ("SELECT 1",)),
        ([0], ("SELECT 1", [0])),
        ({"a": None}, ("SELECT 1", {"a": None})),
    ]:
        cursor = Cursor([("a", None)], [])
        with stream_rows(Hook(Connection(cursor)), "SELECT 1;", parameters, 2) as rows:
            assert list(rows) == []
        assert cursor.executed == executed
