"""Rows are streamed from real servers through each driver, and what goes wrong on the way leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import create_autospec

import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook
from operators.adjust_account import EVENT_TOKEN, START, TaskStateStore, recorded
from operators.sending import has_task_state_store
from own_warehouses import CONN_ID, Warehouse
from sources.driver_hooks import drivers

from airflow_provider_adjust.events_ready import ReadyQuery
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.times import load_timezone, read_time
from airflow_provider_adjust.s2s.events.values import load_object
from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sql_rows import stream_rows
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

MYSQL = ("pymysql", "mysqlclient", "mysql-connector")
POSTGRES = ("psycopg2", "psycopg3", "redshift_connector")
mysql = drivers(*MYSQL)
postgres = drivers("psycopg2", "psycopg3")
redshift = drivers("redshift_connector")
each = drivers(*MYSQL, *POSTGRES)

#: Reading them all takes a minute.
MANY = 100_000_000


class Interrupted(Exception):
    """What an exception of a task's own is here."""


def numbers(warehouse: Warehouse, count: int, columns: str = "number") -> str:
    if warehouse.driver.server == "mariadb":
        return f"SELECT {columns} FROM (SELECT seq AS number FROM seq_1_to_{count}) AS numbers"
    return f"SELECT {columns} FROM generate_series(1, {count}) AS number"


@each
def test_a_result_is_read_as_it_is_needed_and_a_failure_reads_no_more(warehouse: Warehouse) -> None:
    sql = numbers(warehouse, MANY)
    if warehouse.driver.server == "postgres":
        # A set that a FROM makes is made whole.
        sql = f"SELECT generate_series(1, {MANY}) AS number"
    started = time.monotonic()
    with (  # noqa: PT012
        warehouse.nothing_left(),
        pytest.raises(Interrupted, match="of the task"),
        stream_rows(warehouse.hook(), sql, None, 3) as rows,
    ):
        assert [next(rows)["number"] for _ in range(4)] == [1, 2, 3, 4]
        raise Interrupted("of the task")
    assert time.monotonic() - started < 15


@each
def test_a_reader_that_stops_early_leaves_nothing(warehouse: Warehouse) -> None:
    with warehouse.nothing_left(), stream_rows(warehouse.hook(), numbers(warehouse, 100_000), None, 100) as rows:
        assert next(rows) == {"number": 1}


@each
@pytest.mark.parametrize("how", ["killed", "cut"])
def test_a_session_that_is_lost_is_the_drivers_error_and_leaves_nothing(warehouse: Warehouse, how: str) -> None:
    read = 0
    sql = numbers(warehouse, 1_000_000, "number, 'x' AS text")
    with (  # noqa: PT012
        warehouse.nothing_left() as session,
        pytest.raises(Exception) as failure,
        stream_rows(warehouse.hook(), sql, None, 10) as rows,
    ):
        for read, row in enumerate(rows, start=1):
            assert row["number"] == read
            if read == 5:
                warehouse.kill(session()) if how == "killed" else warehouse.proxy.cut()
    assert 5 <= read < 1_000_000
    assert not isinstance(failure.value, AdjustConfigurationError)
    assert str(failure.value)


@contextmanager
def impatient(warehouse: Warehouse) -> Iterator[None]:
    """The server ends sessions of new clients that make it wait for a second."""
    if warehouse.driver.server == "mariadb":
        set_to, back = "SET GLOBAL net_write_timeout = {}", ("1", "60")
    else:
        set_to, back = "ALTER ROLE postgres SET idle_in_transaction_session_timeout = {}", ("'1s'", "0")
    warehouse.run(set_to.format(back[0]))
    try:
        yield
    finally:
        warehouse.run(set_to.format(back[1]))


@drivers(*MYSQL, "psycopg2", "psycopg3")
def test_a_slow_reader_keeps_its_session(warehouse: Warehouse) -> None:
    sql = numbers(warehouse, 50_000, "number, REPEAT('x', 200) AS text")
    with (
        impatient(warehouse),
        warehouse.nothing_left() as session,
        stream_rows(warehouse.hook(), sql, None, 100) as rows,
    ):
        assert next(rows)["number"] == 1
        if warehouse.driver.server == "mariadb":
            waited = f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {session()} AND time_ms > 3000"
        else:
            waited = (
                f"SELECT COUNT(*) FROM pg_stat_activity WHERE pid = {session()} "
                "AND state = 'idle in transaction' AND now() - state_change > interval '3s'"
            )
        warehouse.wait(waited)
        assert sum(1 for _ in rows) == 49_999


@postgres
def test_a_role_that_may_not_set_the_patience_reads_all_the_same(warehouse: Warehouse) -> None:
    """Redshift, and some servers that speak Postgres' protocol, do not know the setting."""
    from airflow_provider_adjust.sources import postgres

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "_BE_PATIENT", "SET LOCAL no_such_setting = 0")
        with warehouse.nothing_left(), stream_rows(warehouse.hook(), numbers(warehouse, 3), None, 100) as rows:
            assert [row["number"] for row in rows] == [1, 2, 3]


@drivers(*MYSQL, "psycopg2", "psycopg3")
def test_the_servers_own_limit_of_a_statement_stays_and_is_the_drivers_error(warehouse: Warehouse) -> None:
    limit, none, asked = {
        "mariadb": (
            "SET GLOBAL max_statement_time = 0.5",
            "SET GLOBAL max_statement_time = 0",
            "SELECT SLEEP(30) AS n",
        ),
        "postgres": (
            "ALTER ROLE postgres SET statement_timeout = '500ms'",
            "ALTER ROLE postgres RESET statement_timeout",
            "SELECT pg_sleep(30)::text AS n",
        ),
    }[warehouse.driver.server]
    warehouse.run(limit)
    try:
        with (
            warehouse.nothing_left(),
            pytest.raises(Exception, match=r"(?i)timeout|max_statement_time|interrupted"),
            stream_rows(warehouse.hook(), asked, None, 10) as rows,
        ):
            list(rows)
    finally:
        warehouse.run(none)


@drivers("pymysql", "mysqlclient", "psycopg2", "psycopg3")
def test_rows_are_rows_whatever_cursor_the_connection_asks_for(warehouse: Warehouse) -> None:
    cursors = ["dictcursor", "namedtuplecursor", "realdictcursor", "sscursor", "ssdictcursor"]
    used = cursors if warehouse.driver.server == "mariadb" else cursors[: 3 if warehouse.driver.psycopg == 2 else 2]
    for cursor in used:
        with stream_rows(warehouse.hook(cursor=cursor), "SELECT 'a' AS revenue, 'b' AS currency", None, 10) as rows:
            assert list(rows) == [{"revenue": "a", "currency": "b"}]


@each
def test_empty_parameters_are_none_and_a_semicolon_ends_the_statement(warehouse: Warehouse) -> None:
    for parameters in (None, {}, [], ()):
        sql = "SELECT 'a' AS n WHERE 'xay' LIKE '%a%';\n -- the end;\n"
        with stream_rows(warehouse.hook(), sql, parameters, 10) as rows:
            assert list(rows) == [{"n": "a"}]
    with stream_rows(warehouse.hook(), "SELECT 'a' AS n WHERE 'xay' LIKE %s;", ["%a%"], 10) as rows:
        assert list(rows) == [{"n": "a"}]


@each
def test_a_statement_that_changes_something_is_refused_and_not_run(warehouse: Warehouse) -> None:
    warehouse.run("DROP TABLE IF EXISTS kept", "CREATE TABLE kept (number INT)")
    for sql in (
        "INSERT INTO kept VALUES (1)",
        "SELECT 1 AS a; INSERT INTO kept VALUES (1)",
        "INSERT INTO kept VALUES (1); SELECT 1 AS a",
    ):
        with (
            pytest.raises(AdjustConfigurationError, match="it must be one SELECT"),
            stream_rows(warehouse.hook(), sql, None, 10),
        ):
            pass
    assert warehouse.run("SELECT COUNT(*) FROM kept") == [(0,)]


@each
def test_bytes_are_bytes(warehouse: Warehouse) -> None:
    binary = "CAST('abc' AS BINARY(3))" if warehouse.driver.server == "mariadb" else "'abc'::bytea"
    with stream_rows(warehouse.hook(), f"SELECT {binary} AS token", None, 10) as rows:
        [row] = rows
    # redshift_connector has bytea as its hexadecimal text, since Redshift has no such type.
    assert row["token"] in (
        (b"abc",) if "redshift" not in warehouse.driver.hook else ("616263", "\\x616263", b"616263")
    )


# --- MySQL ------------------------------------------------------------------------------------------------------------


@mysql
def test_a_timestamp_is_a_moment_and_a_datetime_stays_as_it_was_written(warehouse: Warehouse) -> None:
    warehouse.run(
        "DROP TABLE IF EXISTS moments",
        "CREATE TABLE moments (ts TIMESTAMP(6) NULL, dt DATETIME(6), d DATE)",
        "SET time_zone = '+00:00'",
    )
    moment = "'2026-05-01 12:30:00.5'"
    # One session: AUTOCOMMIT with a pool of none gives each statement of `run` the same one.
    warehouse.run(
        "SET time_zone = '+00:00'", f"INSERT INTO moments VALUES ({moment}, {moment}, {moment}), (NULL, NULL, NULL)"
    )
    warehouse.run("SET GLOBAL time_zone = '-02:00'")
    try:
        with stream_rows(warehouse.hook(), "SELECT ts, dt, d FROM moments ORDER BY dt IS NULL", None, 10) as rows:
            first, second = rows
    finally:
        warehouse.run("SET GLOBAL time_zone = 'SYSTEM'")
    written = datetime(2026, 5, 1, 12, 30, 0, 500_000)
    assert first == {"ts": written.replace(tzinfo=UTC), "dt": written, "d": written.date()}
    assert second == {"ts": None, "dt": None, "d": None}


#: Moments at which the clocks of Berlin change, and their offsets from then on.
_BERLIN = {
    datetime(2025, 10, 26, 1, tzinfo=UTC): 3600,
    datetime(2026, 3, 29, 1, tzinfo=UTC): 7200,
    datetime(2026, 10, 25, 1, tzinfo=UTC): 3600,
    datetime(2027, 3, 28, 1, tzinfo=UTC): 7200,
}


def _load_zone_tables(warehouse: Warehouse) -> None:
    """Like `mysql_tzinfo_to_sql`, which not every server's package contains."""
    tables = ("time_zone", "time_zone_name", "time_zone_transition", "time_zone_transition_type")
    changes = ", ".join(f"(1, {at.timestamp():.0f}, {offset // 3600 - 1})" for at, offset in _BERLIN.items())
    warehouse.run(
        *(f"DELETE FROM mysql.{table}" for table in tables),
        "INSERT INTO mysql.time_zone VALUES (1, 'N')",
        "INSERT INTO mysql.time_zone_name VALUES ('Europe/Berlin', 1)",
        "INSERT INTO mysql.time_zone_transition_type VALUES (1, 0, 3600, 0, 'CET'), (1, 1, 7200, 1, 'CEST')",
        f"INSERT INTO mysql.time_zone_transition VALUES {changes}",
    )


@mysql
def test_every_time_of_a_query_means_the_operators_timezone(warehouse: Warehouse) -> None:
    _load_zone_tables(warehouse)
    moment = int(datetime(2026, 5, 1, 12, 30, tzinfo=UTC).timestamp())
    warehouse.run(
        "DROP TABLE IF EXISTS zoned",
        "CREATE TABLE zoned (ts TIMESTAMP NULL, dt DATETIME, number BIGINT)",
        f"INSERT INTO zoned VALUES (FROM_UNIXTIME({moment}), '2026-05-01 14:30:00', {moment})",
    )
    expressions = (
        *("ts", "dt", "COALESCE(NULL, ts)", "FROM_UNIXTIME(number)", "ts + INTERVAL 0 SECOND", "CAST(ts AS DATETIME)"),
        "CAST(ts AS CHAR)",
    )
    for timezone in ("Europe/Berlin", "Etc/GMT-2", "Africa/Maputo"):
        for expression in expressions:
            sql = (
                f"SELECT {expression} AS created_at FROM zoned "
                "WHERE ts >= '2026-05-01 14:30:00' AND ts < '2026-05-01 14:30:01'"
            )
            with stream_rows(warehouse.hook(), sql, None, 10, timezone=timezone) as rows:
                [row] = rows
            found = read_time("created_at", row["created_at"], load_timezone(timezone))
            assert int(found.timestamp()) == moment, (timezone, expression)


@mysql
def test_a_timestamp_that_the_clocks_show_twice_is_refused_and_its_seconds_are_sent(warehouse: Warehouse) -> None:
    _load_zone_tables(warehouse)
    zone = load_timezone("Europe/Berlin")
    first = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp())
    warehouse.run("DROP TABLE IF EXISTS twice", "CREATE TABLE twice (ts TIMESTAMP NULL)")
    moments = [first - 3600, first, first + 3600, first + 7200]
    warehouse.run(*(f"INSERT INTO twice VALUES (FROM_UNIXTIME({moment}))" for moment in moments))
    sql = "SELECT ts, UNIX_TIMESTAMP(ts) AS seconds FROM twice ORDER BY seconds"
    with stream_rows(warehouse.hook(), sql, None, 10, timezone="Europe/Berlin") as rows:
        found = list(rows)
    assert [int(read_time("created_at", row["seconds"], zone).timestamp()) for row in found] == moments
    assert [int(found[at]["ts"].timestamp()) for at in (0, 3)] == [moments[0], moments[3]]
    for at in (1, 2):
        with pytest.raises(InvalidEvent, match="where the clocks of Europe/Berlin change"):
            read_time("created_at", found[at]["ts"], zone)


@mysql
def test_a_zone_that_the_server_does_not_know_is_one_sentence(warehouse: Warehouse) -> None:
    with (
        warehouse.nothing_left(),
        pytest.raises(
            AdjustConfigurationError, match=r"does not know the timezone America/New_York; load its zone tables"
        ),
        stream_rows(warehouse.hook(), "SELECT 1 AS a", None, 10, timezone="America/New_York"),
    ):
        pass


@mysql
def test_the_task_sends_what_its_timezone_means(adjust: SandboxServer, warehouse: Warehouse) -> None:
    moment = int((START - timedelta(hours=1)).timestamp())
    warehouse.hook()
    sql = f"SELECT FROM_UNIXTIME({moment}) AS created_at, 1 AS order_id, 'device-1' AS gps_adid"
    arguments: dict[str, Any] = {"sql_conn_id": CONN_ID, "sql": sql, "event_token": EVENT_TOKEN, "id_field": "order_id"}
    SqlToAdjustOperator(task_id="send", timezone="Etc/GMT-2", **arguments).execute({})
    [event] = adjust.events()
    assert event["params"]["created_at_unix"] == str(moment)


@drivers("pymysql", "psycopg2")
def test_the_session_means_the_operators_timezone_over_odbc(warehouse: Warehouse) -> None:
    """ODBC's own drivers are tried where they are installed; the server's answers are the same over any."""
    product = {"mariadb": "MariaDB", "postgres": "PostgreSQL"}[warehouse.driver.server]
    asked = {"mariadb": "SELECT @@time_zone AS zone", "postgres": "SELECT current_setting('TimeZone') AS zone"}
    expected = {"mariadb": "+02:00", "postgres": "Etc/GMT-2"}[warehouse.driver.server]
    opened = warehouse.hook().get_conn()

    class Connection:
        __module__ = "pyodbc"
        cursor, close = opened.cursor, opened.close

        def getinfo(self, question: int) -> str:
            assert question == 17
            return product

    hook = create_autospec(DbApiHook, instance=True)
    hook.get_conn.return_value = Connection()
    with stream_rows(hook, asked[warehouse.driver.server], None, 10, timezone="Etc/GMT-2") as rows:
        assert list(rows) == [{"zone": expected}]


# --- Postgres ---------------------------------------------------------------------------------------------------------


@postgres
def test_the_sensor_reads_rows_whatever_cursor_the_connection_asks_for(warehouse: Warehouse) -> None:
    sql = (
        "SELECT COUNT(*) AS count, NOW() - INTERVAL '1 hour' AS count FROM generate_series(1, 5) WHERE 'a' LIKE '%a%';"
    )
    for extra in ({}, {"cursor": "dictcursor"}):
        warehouse.hook(**extra)
        query = ReadyQuery(sql=sql, sql_conn_id=CONN_ID, parameters={}, settle_for=timedelta(minutes=1))
        with warehouse.nothing_left():
            result = query.poll()
        assert "5 events are ready" in str(result)


@postgres
def test_a_time_without_end_does_not_stop_the_delivery(warehouse: Warehouse) -> None:
    """psycopg 2 gives Python's last moment for it."""
    sql = "SELECT 'infinity'::timestamptz AS a, '-infinity'::timestamp AS b, 'infinity'::date AS c, now() AS d"
    with stream_rows(warehouse.hook(), sql, None, 10) as rows:
        [row] = rows
    assert isinstance(row["d"], datetime)
    if warehouse.driver.psycopg == 3:
        assert (row["a"], row["b"], row["c"]) == ("infinity", "-infinity", "infinity")


@postgres
def test_a_time_that_no_driver_can_hold_is_one_sentence(warehouse: Warehouse) -> None:
    sql = "SELECT number, CASE number WHEN 15 THEN '0044-03-15 BC'::date END AS d FROM generate_series(1, 30) AS number"
    if warehouse.driver.psycopg == 3:
        with stream_rows(warehouse.hook(), sql, None, 10) as rows:
            assert [row["d"] for row in rows if row["d"]] == ["0044-03-15 BC"]
        return
    with (
        pytest.raises(AdjustConfigurationError, match="cannot read a value in the 10 rows of the sql after row 10"),
        stream_rows(warehouse.hook(), sql, None, 10) as rows,
    ):
        list(rows)


@postgres
def test_numbers_in_json_keep_their_digits(warehouse: Warehouse) -> None:
    sql = """SELECT '{"a": 1.50, "b": "x"}'::jsonb AS a, '12345678901234567890.10'::json AS b, '"x"'::jsonb AS c"""
    with stream_rows(warehouse.hook(), sql, None, 10) as rows:
        assert list(rows) == [
            {"a": {"a": Decimal("1.50"), "b": "x"}, "b": Decimal("12345678901234567890.10"), "c": "x"}
        ]


@postgres
def test_json_with_a_name_twice_is_refused(warehouse: Warehouse) -> None:
    texts = ('{"a": "1", "a": "2"}', '{"b": {"a": 1, "a": 1}}', '{"b": [{"a": 1, "a": 2}], "c": "é"}')
    for text in texts:
        with stream_rows(warehouse.hook(), f"SELECT '{text}'::json AS callback_params", None, 10) as rows:
            [row] = rows
        assert row == {"callback_params": text}
        with pytest.raises(InvalidEvent) as refused:
            load_object("callback_params", row["callback_params"])
        assert refused.value.reason == "repeated_parameter"
    with stream_rows(warehouse.hook(), """SELECT '{"a": 1, "b": {"a": 1}}'::json AS a""", None, 10) as rows:
        assert list(rows) == [{"a": {"a": 1, "b": {"a": 1}}}]


@postgres
def test_a_redshift_of_one_node_is_asked_for_no_more_than_it_hands_on(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_adjust.sources import postgres

    monkeypatch.setattr(postgres, "_OLDEST_POSTGRES", 10**9)
    with stream_rows(warehouse.hook(), numbers(warehouse, 2500), None, 2000) as rows:
        assert rows._fetch_size == 1000
        assert sum(1 for _ in rows) == 2500


# --- Redshift ---------------------------------------------------------------------------------------------------------


@redshift
def test_redshift_is_read_by_its_own_cursor(warehouse: Warehouse) -> None:
    """The statements are Redshift's and Postgres' both; the server here is a Postgres."""
    with (
        warehouse.nothing_left() as session,
        stream_rows(warehouse.hook(), numbers(warehouse, 2500), None, 2000) as rows,
    ):
        assert next(rows) == {"number": 1}
        [(query,)] = warehouse.run(f"SELECT query FROM pg_stat_activity WHERE pid = {session()}")
        assert query.startswith("FETCH FORWARD 1000 FROM adjust_")
        assert sum(1 for _ in rows) == 2499


@redshift
def test_what_redshift_declares_no_cursor_for_is_read_whole_and_the_log_says_so(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    with stream_rows(warehouse.hook(), "SHOW server_version", None, 10) as rows:
        assert len(list(rows)) == 1
    assert "the worker holds its complete result" in caplog.text
    with (
        pytest.raises(Exception, match="no_such_table"),
        stream_rows(warehouse.hook(), "SELECT 1 FROM no_such_table", None, 10),
    ):
        pass


# --- the task ---------------------------------------------------------------------------------------------------------


@each
@has_task_state_store
def test_a_retry_after_a_killed_session_sends_each_event_once(adjust: SandboxServer, warehouse: Warehouse) -> None:
    count, start = 3000, int((START - timedelta(hours=1)).timestamp())
    # Every hundredth row has bytes where there must be text, and is refused.
    nothing = "CAST('x' AS BINARY(3))" if warehouse.driver.server == "mariadb" else "'x'::bytea"
    columns = f"""
        CONCAT('o-', number) AS order_id, CONCAT('device-', number) AS gps_adid, 'EUR' AS currency, 1.5 AS revenue,
        {start} + number AS created_at, REPEAT('x', 1000) AS user_agent,
        CASE MOD(number, 100) WHEN 0 THEN {nothing} END AS external_device_id
    """
    sql = numbers(warehouse, count, columns) + " ORDER BY number"
    warehouse.hook()
    context: Any = {"task_state_store": TaskStateStore()}
    before = warehouse.sessions()

    class Killed(SqlToAdjustOperator):
        def rows(self, context: Any, stack: Any) -> Iterator[Any]:
            rows = super().rows(context, stack)
            yield next(iter(rows))
            [session] = warehouse.sessions() - before
            warehouse.kill(session)
            yield from rows

    arguments: dict[str, Any] = {
        "task_id": "send",
        "sql_conn_id": CONN_ID,
        "sql": sql,
        "event_token": EVENT_TOKEN,
        "id_field": "order_id",
        "max_rejected": 0.5,
        "fetch_size": 50,
    }
    with warehouse.nothing_left(), pytest.raises(Exception, match=r"(?i)connection|terminat|lost"):
        Killed(**arguments).execute(context)
    assert len(recorded(adjust)) < count * 0.9
    result = SqlToAdjustOperator(**arguments).execute(context)
    # Redshift's driver gives bytes as text.
    refused = count + 1 if "redshift" in warehouse.driver.hook else 100
    sent = [f"device-{number}" for number in range(1, count + 1) if number % refused]
    assert (result["read"], result["delivered"]) == (count, len(sent))
    assert sorted(recorded(adjust), key=str) == sorted(sent)
