"""ODBC: pyodbc, whose times have no time zone, whatever the database's type."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from airflow_provider_adjust.sources import mysql
from airflow_provider_adjust.sources.source import Source

#: ODBC's number of the question for the name of the database's product.
_SQL_DBMS_NAME = 17


def _set_session(connection: Any, timezone: str) -> None:
    """Have types with a time zone come in the reader's, from the databases that convert them to the session's."""
    product = str(connection.getinfo(_SQL_DBMS_NAME)).lower()
    if "mysql" in product or "mariadb" in product:
        mysql.set_session(connection, timezone)
    elif "postgres" in product:
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"SET TIME ZONE '{timezone}'")


ODBC = Source(set_session=_set_session)
