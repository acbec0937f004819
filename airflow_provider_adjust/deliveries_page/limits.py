"""The limits of the page's queries: they are read-only, and slow ones are cancelled."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

#: Seconds after which the database cancels a query, since slow queries delay sending tasks.
STATEMENT_TIMEOUT_S = 5
#: Seconds after which an answer starts no further query.
ANSWER_TIMEOUT_S = 8
#: Seconds to connect to the database.
CONNECT_TIMEOUT_S = 5

#: Drivers with a connection timeout of this name.
_CONNECT_TIMEOUT = {"psycopg2", "psycopg", "pymysql", "mysqldb"}
#: SQLite checks the clock after this many steps, every few milliseconds.
_SQLITE_STEPS = 100_000
#: Postgres' SQLSTATE, and the error numbers of MySQL and MariaDB, for a cancelled slow query.
_TOO_SLOW = {"57014", 3024, 1969}


class AnswerTooSlow(Exception):
    """The answer has used up its time."""


def limit_connecting(engine: sa.Engine) -> None:
    """Limit the time to connect to the database."""
    if engine.dialect.driver in _CONNECT_TIMEOUT:
        sa.event.listen(engine, "do_connect", _set_connect_timeout)


def _set_connect_timeout(dialect: Any, record: Any, arguments: Any, keywords: dict[str, Any]) -> None:
    keywords.setdefault("connect_timeout", CONNECT_TIMEOUT_S)


def restrict(connection: sa.Connection) -> None:
    """Make the connection read-only, and cancel slow queries. It must be new, and closed after the answer."""
    if connection.dialect.name == "postgresql":
        connection.execution_options(postgresql_readonly=True)
        # For this transaction only, since a connection pooler may share the session.
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
    """SQLite has no timeout for queries, but calls a progress handler, which may interrupt them."""
    driver: Any = connection.connection.dbapi_connection
    began: list[float] = [time.monotonic()]

    def begin(*_: Any) -> None:
        began[0] = time.monotonic()

    sa.event.listen(connection, "before_cursor_execute", begin)
    driver.set_progress_handler(lambda: time.monotonic() - began[0] > STATEMENT_TIMEOUT_S, _SQLITE_STEPS)


def is_too_slow(error: Exception) -> bool:
    """Whether the database cancelled the query because it took too long."""
    cause: Any = getattr(error, "orig", None) or error
    codes = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None), *getattr(cause, "args", ())[:1]}
    return isinstance(error, AnswerTooSlow) or not _TOO_SLOW.isdisjoint(codes) or "interrupted" in codes
