"""MySQL and MariaDB: mysqlclient, mysql-connector and PyMySQL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any

from airflow_provider_adjust.sources.source import ReadValue, Source

#: The protocol's number of the type TIMESTAMP. DATETIME has another.
_TIMESTAMP = 7
#: The server waits so long for a reader that is slow; its own 60 s are less than one slowdown by Adjust.
_PATIENCE = 24 * 60 * 60
#: A TIMESTAMP comes in the session's time zone, and the drivers do not say which one that is.
SET_UTC = "SET time_zone = '+00:00'"
BE_PATIENT = f"SET SESSION net_write_timeout = {_PATIENCE}, SESSION net_read_timeout = {_PATIENCE}"


def set_session(connection: Any) -> None:
    """Have TIMESTAMP columns come in UTC, and the server wait for a slow reader."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(SET_UTC)
        # A server that only speaks MySQL's protocol may not know these.
        with suppress(Exception):
            cursor.execute(BE_PATIENT)


def _value_reader(column: Any) -> ReadValue | None:
    return _in_utc if column[1] == _TIMESTAMP else None


def _in_utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


# Each opens a cursor that holds one row, of tuples, whatever cursor the Airflow connection asks for.


def _cursor_of_mysqlclient(connection: Any) -> Any:
    from MySQLdb.cursors import SSCursor

    return connection.cursor(SSCursor)


def _cursor_of_pymysql(connection: Any) -> Any:
    from pymysql.cursors import SSCursor

    class Cursor(SSCursor):  # type: ignore[misc] # it may have no types
        _result: Any

        def close(self) -> None:
            """Forget the rest of the result. The connection is closed, and the driver would still try to read it."""
            if self._result is not None:
                self._result.unbuffered_active = False
            self._result = self.connection = None

    return connection.cursor(Cursor)


def _cursor_of_mysql_connector(connection: Any) -> Any:
    return connection.cursor(buffered=False, dictionary=False)


def _source(open_cursor: Callable[[Any], Any]) -> Source:
    return Source(
        set_session=set_session, open_cursor=open_cursor, value_reader=_value_reader, closes_connection_first=True
    )


MYSQLCLIENT = _source(_cursor_of_mysqlclient)
PYMYSQL = _source(_cursor_of_pymysql)
MYSQL_CONNECTOR = _source(_cursor_of_mysql_connector)
