"""Streams the rows of a query from any ``DbApiHook`` connection; the result is never loaded whole."""

from __future__ import annotations

import pkgutil
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import BaseHook

from airflow_provider_adjust.airflow_versions import AirflowException
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.redaction import escape

Parameters = Iterable[Any] | Mapping[str, Any] | None


#: The hook that queries, for connection types with another hook of their own.
_HOOKS_THAT_QUERY: Final = {
    "databricks": "airflow.providers.databricks.hooks.databricks_sql:DatabricksSqlHook",
    "google_cloud_platform": "airflow.providers.google.cloud.hooks.bigquery:BigQueryHook",
}


def sql_hook(sql_conn_id: str, hook_params: Mapping[str, Any] | None, *, argument: str = "sql_conn_id") -> DbApiHook:
    """The hook that queries the connection's database.

    :param argument: what the user calls the connection, for the message.
    :raises AdjustConfigurationError: the connection is not one to a database that Airflow can query.
    """
    arguments = dict(hook_params or {})
    if name := _HOOKS_THAT_QUERY.get(BaseHook.get_connection(sql_conn_id).conn_type or ""):
        hook_class = pkgutil.resolve_name(name)
        hook = hook_class(**{hook_class.conn_name_attr: sql_conn_id}, **arguments)
    else:
        try:
            hook = BaseHook.get_hook(sql_conn_id, hook_params=arguments)
        except AirflowException as error:
            # The kind of connection has no hook here: its provider is not installed, or it never had one.
            raise AdjustConfigurationError(
                f"{argument} {sql_conn_id!r} cannot be opened ({escape(str(error), 100)}); it must be a database connection, "
                "and its provider must be installed"
            ) from None
    if not isinstance(hook, DbApiHook):
        raise AdjustConfigurationError(
            f"{argument} {sql_conn_id!r} is a {type(hook).__name__}; it must be a database connection (a DbApiHook)"
        )
    return hook


@contextmanager
def stream_rows(hook: DbApiHook, sql: str, parameters: Parameters, fetch_size: int) -> Iterator[QueryRows]:
    """Rows as mappings, fetched ``fetch_size`` at a time for as long as the context lasts."""
    with closing(hook.get_conn()) as connection, closing(_open_cursor(hook, connection)) as cursor:
        if parameters is None:
            cursor.execute(sql)
        else:
            cursor.execute(sql, parameters)
        yield QueryRows(cursor, fetch_size)


def _open_cursor(hook: DbApiHook, connection: Any) -> Any:
    """A server-side cursor where the driver has one: others fetch the whole result on execute."""
    if hook.conn_type in {"postgres", "redshift"} and type(connection).__module__.startswith("psycopg"):
        return connection.cursor(name=f"adjust_{uuid.uuid4().hex}")
    if type(connection).__module__.startswith("MySQLdb"):
        from MySQLdb.cursors import SSCursor

        return connection.cursor(SSCursor)
    return connection.cursor()


class QueryRows(Iterator[dict[str, Any]]):
    """The rows of a query, once, as mappings. Its columns are known before the first row is taken.

    ``description`` is the cursor's: a sequence for each column, with its name and its type. Of two columns with one name, a
    row has the last: who reads the rows checks ``columns`` first.
    """

    def __init__(self, cursor: Any, fetch_size: int) -> None:
        # A server-side cursor knows its columns only once it has fetched.
        first = cursor.fetchmany(fetch_size)
        self.description: Sequence[Any] = tuple(cursor.description or ())
        self.columns = _folded(self.description)
        self._rows = self._read(cursor, fetch_size, first)

    def __next__(self) -> dict[str, Any]:
        return next(self._rows)

    def _read(self, cursor: Any, fetch_size: int, batch: Any) -> Iterator[dict[str, Any]]:
        while batch:
            for record in batch:
                yield dict(zip(self.columns, record, strict=True))
            batch = cursor.fetchmany(fetch_size)


def _folded(description: Iterable[Any] | None) -> list[str]:
    names = [str(column[0]) for column in description or ()]
    if not names:
        raise AdjustConfigurationError("the sql returns no rows and no columns; it must be one SELECT")
    return [name.lower() for name in names] if all(name == name.upper() for name in names) else names


def column_names(description: Iterable[Any] | None) -> list[str]:
    """The result's columns. Where all are upper case, the database has folded unquoted aliases (Snowflake, Oracle).

    :raises AdjustConfigurationError: there is no result, or two columns have one name.
    """
    names = _folded(description)
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise AdjustConfigurationError(
            f"the sql returns more than one column named {escape(', '.join(repeated), 200)}; alias them apart"
        )
    return names
