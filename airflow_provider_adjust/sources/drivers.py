"""The table of drivers, which maps a connection to its source."""

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

#: Keyed by the module or package of the connection's class. Drivers that are not listed need nothing special: SQLite, DuckDB,
#: Snowflake, Trino, Databricks.
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
    """The source for the connection, by the driver of its class or of a base class."""
    for each in type(connection).__mro__:
        module = each.__module__
        while module:
            if source := SOURCES.get(module):
                return source
            module = module.rpartition(".")[0]
    return _ANY_DRIVER
