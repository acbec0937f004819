"""Redshift through redshift_connector, which reads the complete result before it returns the first row."""

from __future__ import annotations

import logging
from typing import Any

from airflow_provider_adjust.sources.postgres import REDSHIFT_BATCH, cursor_name
from airflow_provider_adjust.sources.source import Source

log = logging.getLogger(__name__)


class DeclaredCursor:
    """A server-side cursor made with SQL statements, since the driver has none."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._name: str | None = None

    @property
    def description(self) -> Any:
        return self._cursor.description

    def execute(self, sql: str, *parameters: Any) -> None:
        name = cursor_name()
        try:
            self._cursor.execute(f"DECLARE {name} CURSOR FOR {sql}", *parameters)
            self._name = name
        except Exception as error:
            # The cause may be the query or the cursor. Running the plain query shows which.
            self._connection.rollback()
            self._cursor.execute(sql, *parameters)
            log.warning(
                "The query cannot be read through a server-side cursor (%s), so the worker holds its complete result",
                type(error).__name__,
            )

    def fetchmany(self, size: int) -> Any:
        if self._name is None:
            return self._cursor.fetchmany(size)
        self._cursor.execute(f"FETCH FORWARD {size} FROM {self._name}")
        return self._cursor.fetchall()

    def close(self) -> None:
        self._cursor.close()


def _begin(connection: Any, timezone: str) -> None:
    """A server-side cursor needs a transaction."""
    connection.autocommit = False


def _largest_batch(connection: Any) -> int:
    return REDSHIFT_BATCH


REDSHIFT = Source(
    set_session=_begin, open_cursor=DeclaredCursor, largest_batch=_largest_batch, closes_connection_first=True
)
