"""What a database may spend on an answer of the page: nothing is written, and a slow query is cancelled."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

#: Seconds after which the database cancels a query. A slow query slows the senders down.
STATEMENT_TIMEOUT_S = 5
#: Seconds after which an answer begins no further query.
ANSWER_TIMEOUT_S = 8
#: Seconds for the database to take the connection.
CONNECT_TIMEOUT_S = 5

#: Drivers that know a timeout for connecting, by that name.
_CONNECT_TIMEOUT = {"psycopg2", "psycopg", "pymysql", "mysqldb"}
#: Between two looks at the clock, SQLite does this many steps: a few milliseconds.
_SQLITE_STEPS = 100_000
#: Postgres' SQLSTATE, and the numbers of MySQL and MariaDB, for a query that took too long.
_TOO_SLOW = {"57014", 3024, 1969}


class AnswerTooSlow(Exception):
    """The answer has taken as long as it may."""


def limit_connecting(engine: sa.Engine) -> None:
    """Wait for the database only for so long."""
    if engine.dialect.driver in _CONNECT_TIMEOUT:
        sa.event.listen(engine, "do_connect", _set_connect_timeout)


def _set_connect_timeout(dialect: Any, record: Any, arguments: Any, keywords: dict[str, Any]) -> None:
    keywords.setdefault("connect_timeout", CONNECT_TIMEOUT_S)


def restrict(connection: sa.Connection) -> None:
    """Have the database refuse to write and cancel what is slow. The connection must be new, and closed after the answer."""
    if connection.dialect.name == "postgresql":
        connection.execution_options(postgresql_readonly=True)
        # For this transaction only: a connection pooler may give the session to another client next.
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_S * 1000}")
    elif connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {STATEMENT_TIMEOUT_S * 1000}")
        _interrupt_sqlite(connection)
    else:
        in_seconds = getattr(connection.dialect, "is_mariadb", False)
        limit = f"max_statement_time = {STATEMENT_TIMEOUT_S}"
        limit = limit if in_seconds else f"max_execution_time = {STATEMENT_TIMEOUT_S * 1000}"
        connection.exec_driver_sql(f"SET SESSION {limit}")
        connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
    until = time.monotonic() + ANSWER_TIMEOUT_S

    def check(*_: Any) -> None:
        if time.monotonic() > until:
            raise AnswerTooSlow

    sa.event.listen(connection, "before_cursor_execute", check)


def _interrupt_sqlite(connection: sa.Connection) -> None:
    """SQLite has no timeout of its own; it asks now and then whether to go on."""
    driver: Any = connection.connection.dbapi_connection
    began: list[float] = [time.monotonic()]

    def begin(*_: Any) -> None:
        began[0] = time.monotonic()

    sa.event.listen(connection, "before_cursor_execute", begin)
    driver.set_progress_handler(lambda: time.monotonic() - began[0] > STATEMENT_TIMEOUT_S, _SQLITE_STEPS)


def is_too_slow(error: Exception) -> bool:
    """Whether the database has cancelled the query since it took too long."""
    cause: Any = getattr(error, "orig", None) or error
    codes = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None), *getattr(cause, "args", ())[:1]}
    return isinstance(error, AnswerTooSlow) or not _TOO_SLOW.isdisjoint(codes) or "interrupted" in codes
