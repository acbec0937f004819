"""ODBC through pyodbc, which returns times without a time zone for every database type."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from airflow_provider_adjust.sources import mysql
from airflow_provider_adjust.sources.source import Source

#: ODBC's number of the query for the database's product name.
_SQL_DBMS_NAME = 17


def _set_session(connection: Any, timezone: str) -> None:
    """Set the session's time zone to the reader's, for databases that convert times with a zone to that of the session."""
    product = str(connection.getinfo(_SQL_DBMS_NAME)).lower()
    if "mysql" in product or "mariadb" in product:
        mysql.set_session(connection, timezone)
    elif "postgres" in product:
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"SET TIME ZONE '{timezone}'")


ODBC = Source(set_session=_set_session)
