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
#: Seconds that the server waits for a slow reader. Its default of 60 s is less than one slowdown by Adjust.
_PATIENCE = 24 * 60 * 60
#: The server's error number for an unknown time zone.
_UNKNOWN_ZONE = re.compile(r"\b1298\b")
_BE_PATIENT = f"SET SESSION net_write_timeout = {_PATIENCE}, SESSION net_read_timeout = {_PATIENCE}"


def set_session(connection: Any, timezone: str) -> None:
    """Set the session to the reader's time zone, and to wait for a slow reader.

    TIMESTAMP values, and expressions of them, are returned in the session's zone, which the drivers do not report.

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
        # Other servers that use MySQL's protocol may not know these.
        with suppress(Exception):
            cursor.execute(_BE_PATIENT)


def _value_reader(column: Any, timezone: str) -> ReadValue | None:
    if column[1] != _TIMESTAMP:
        return None
    zone = load_timezone(timezone)

    def in_utc(value: Any) -> Any:
        # A local time that occurs twice is ambiguous, so it stays unchanged and is refused.
        if not isinstance(value, datetime) or is_at_a_change(value, zone):
            return value
        return value.replace(tzinfo=zone).astimezone(UTC)

    return in_utc


# Each opens a cursor that holds one row, as a tuple, whatever cursor class the Airflow connection sets.


def _cursor_of_mysqlclient(connection: Any) -> Any:
    from MySQLdb.cursors import SSCursor

    return connection.cursor(SSCursor)


def _cursor_of_pymysql(connection: Any) -> Any:
    from pymysql.cursors import SSCursor

    class Cursor(SSCursor):  # type: ignore[misc] # it may have no types
        _result: Any

        def close(self) -> None:
            """Discard the rest of the result, which the driver would otherwise read from the closed connection."""
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
