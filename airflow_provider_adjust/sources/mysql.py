"""MySQL and MariaDB: mysqlclient, mysql-connector and PyMySQL."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.times import is_at_a_change, load_timezone
from airflow_provider_adjust.sources.source import ReadValue, Source
from airflow_provider_adjust.sources.zones import fixed_offset

#: The protocol's number of the type TIMESTAMP. DATETIME has another.
_TIMESTAMP = 7
#: The server waits so long for a reader that is slow; its own 60 s are less than one slowdown by Adjust.
_PATIENCE = 24 * 60 * 60
#: The server's number of the error that it does not know the time zone.
_UNKNOWN_ZONE = re.compile(r"\b1298\b")
_BE_PATIENT = f"SET SESSION net_write_timeout = {_PATIENCE}, SESSION net_read_timeout = {_PATIENCE}"


def set_session(connection: Any, timezone: str) -> None:
    """Have the server mean the reader's time zone, too, and wait for a slow reader.

    A TIMESTAMP, and what an expression makes of it, comes in the session's zone, and the drivers do not say which one it is.

    :raises AdjustConfigurationError: the server does not know the zone.
    """
    with closing(connection.cursor()) as cursor:
        try:
            cursor.execute(f"SET time_zone = '{fixed_offset(timezone) or timezone}'")
        except Exception as error:
            if not _UNKNOWN_ZONE.search(str(error)):
                raise
            raise AdjustConfigurationError(
                f"the database does not know the timezone {timezone}; load its zone tables (mysql_tzinfo_to_sql), or use "
                "timezone='UTC' and a query that returns UTC"
            ) from None
        # A server that only speaks MySQL's protocol may not know these.
        with suppress(Exception):
            cursor.execute(_BE_PATIENT)


def _value_reader(column: Any, timezone: str) -> ReadValue | None:
    if column[1] != _TIMESTAMP:
        return None
    zone = load_timezone(timezone)

    def in_utc(value: Any) -> Any:
        # Which of the two moments is meant by a time that comes twice is not known, so it stays as it is and is refused.
        if not isinstance(value, datetime) or is_at_a_change(value, zone):
            return value
        return value.replace(tzinfo=zone).astimezone(UTC)

    return in_utc


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
