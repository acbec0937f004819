"""A hook to MySQL and MariaDB for the tries: Airflow's own hook needs a driver that must be compiled."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import BaseHook

from airflow_provider_adjust import sql_rows
from campaign.ledgers import engine_of


class PyMySqlHook(DbApiHook):
    conn_name_attr = "mysql_conn_id"
    conn_type = "mysql"

    def get_sqlalchemy_engine(self, engine_kwargs: dict[str, Any] | None = None) -> sa.Engine:
        connection = BaseHook.get_connection(self.get_conn_id())
        given = {"conn_type": "mysql", "schema": connection.schema, "extra": connection.extra_dejson}
        return sa.create_engine(engine_of(given).url, **(engine_kwargs or {}))


def use_pymysql() -> None:
    """Make the provider use it for connections to MySQL."""
    sql_rows._HOOKS_THAT_QUERY["mysql"] = "campaign.pymysql_hook:PyMySqlHook"
