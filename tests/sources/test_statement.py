"""One SELECT is read: without the semicolon at its end, and nothing else is run."""

from __future__ import annotations

import pytest

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sources.statement import one_select


def test_what_is_read_stays_as_it_was_written() -> None:
    for sql, read in {
        "SELECT 1": "SELECT 1",
        " SELECT 1;\n": "SELECT 1",
        "SELECT 1;;\n;": "SELECT 1",
        "/* who asks */ SELECT 1; -- the end; really\n": "/* who asks */ SELECT 1 -- the end; really",
        "SELECT ';' AS a, `b;c`, \"d;e\", $$f;g$$ -- h;i": "SELECT ';' AS a, `b;c`, \"d;e\", $$f;g$$ -- h;i",
        "SELECT 'it''s; fine', '100%';": "SELECT 'it''s; fine', '100%'",
        "WITH a AS (SELECT (1)) SELECT * FROM a;": "WITH a AS (SELECT (1)) SELECT * FROM a",
        "(SELECT 1) UNION (SELECT 2)": "(SELECT 1) UNION (SELECT 2)",
        "FROM purchases SELECT *": "FROM purchases SELECT *",
        "VALUES (1, 2)": "VALUES (1, 2)",
        "CALL purchases_of_day()": "CALL purchases_of_day()",
        # A backslash escapes a quote here, and stands for itself there.
        r"SELECT 'it\'s; fine'": r"SELECT 'it\'s; fine'",
        r"SELECT 'C:\' AS a, ';' AS b": r"SELECT 'C:\' AS a, ';' AS b",
    }.items():
        assert one_select(sql) == read


def test_what_is_not_one_select_is_refused_before_it_is_run() -> None:
    for sql, words in {
        "": "the sql is empty",
        " -- SELECT 1\n;": "the sql is empty",
        "SELECT 1; SELECT 2": "several statements",
        "SELECT 1; DELETE FROM purchases": "several statements",
        "SET TIME ZONE 'UTC'; SELECT 1;": "several statements",
        "INSERT INTO purchases VALUES (1)": "begins with INSERT",
        "/* a */ update purchases SET revenue = 0": "begins with UPDATE",
        "CREATE TABLE a AS SELECT 1": "begins with CREATE",
        "TRUNCATE purchases": "begins with TRUNCATE",
        "WITH a AS (SELECT (1)) DELETE FROM purchases": "begins with DELETE",
        "REPLACE INTO purchases VALUES (1)": "begins with REPLACE",
    }.items():
        with pytest.raises(AdjustConfigurationError, match=words):
            one_select(sql)


def test_a_list_of_statements_is_refused() -> None:
    with pytest.raises(AdjustConfigurationError, match="not a list of statements"):
        one_select(["SELECT 1"])  # type: ignore[arg-type]


def test_a_long_list_of_values_is_read_soon() -> None:
    sql = f"SELECT * FROM purchases WHERE order_id IN ({', '.join(map(str, range(50_000)))})"
    assert one_select(sql + ";") == sql
