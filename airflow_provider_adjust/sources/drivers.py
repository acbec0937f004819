"""The table of drivers: which source reads through a connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_adjust.sources.bigquery import BIGQUERY
from airflow_provider_adjust.sources.clickhouse import CLICKHOUSE_DRIVER
from airflow_provider_adjust.sources.jdbc import JDBC
from airflow_provider_adjust.sources.mysql import MYSQL_CONNECTOR, MYSQLCLIENT, PYMYSQL
from airflow_provider_adjust.sources.odbc import ODBC
from airflow_provider_adjust.sources.postgres import PSYCOPG2, PSYCOPG3
from airflow_provider_adjust.sources.redshift import REDSHIFT
from airflow_provider_adjust.sources.source import Source

#: By the module of the connection's class, or the package that it is in. A driver that is not here needs nothing special:
#: SQLite, DuckDB, Snowflake, Trino, Databricks.
SOURCES: Final[Mapping[str, Source]] = {
    "MySQLdb": MYSQLCLIENT,
    "mysql.connector": MYSQL_CONNECTOR,
    "pymysql": PYMYSQL,
    "psycopg": PSYCOPG3,
    "psycopg2": PSYCOPG2,
    "redshift_connector": REDSHIFT,
    "airflow.providers.google.cloud.hooks.bigquery": BIGQUERY,
    "clickhouse_driver": CLICKHOUSE_DRIVER,
    "pyodbc": ODBC,
    "jaydebeapi": JDBC,
}
_ANY_DRIVER = Source()


def source_of(connection: Any) -> Source:
    """The source that reads through the connection, by the driver that its class, or a base of it, belongs to."""
    for each in type(connection).__mro__:
        module = each.__module__
        while module:
            if source := SOURCES.get(module):
                return source
            module = module.rpartition(".")[0]
    return _ANY_DRIVER
