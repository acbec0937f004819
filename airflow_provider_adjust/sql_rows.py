"""Stream the rows of a query from any ``DbApiHook`` connection, without loading the complete result."""

from __future__ import annotations

import logging
import pkgutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseHook

from airflow_provider_adjust.airflow_versions import AirflowException
from airflow_provider_adjust.s2s.endpoints.endpoint import endpoint_named
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.times import load_timezone
from airflow_provider_adjust.s2s.redaction import escape, quote
from airflow_provider_adjust.sources.drivers import source_of
from airflow_provider_adjust.sources.names import match_names
from airflow_provider_adjust.sources.source import Source

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

log = logging.getLogger(__name__)

Parameters = Iterable[Any] | Mapping[str, Any] | None
#: The types of drivers for bytes. The first has no stable ``repr`` for a fingerprint, only an address.
_BYTES_OF_DRIVERS: Final = frozenset({memoryview, bytearray})

#: The hook for queries, for connection types with a different default hook.
_HOOKS_THAT_QUERY: Final = {
    "databricks": "airflow.providers.databricks.hooks.databricks_sql:DatabricksSqlHook",
    "google_cloud_platform": "airflow.providers.google.cloud.hooks.bigquery:BigQueryHook",
}


def sql_hook(sql_conn_id: str, hook_params: Mapping[str, Any] | None, *, argument: str = "sql_conn_id") -> DbApiHook:
    """The hook that queries the connection's database.

    :param argument: the name of the argument, for the message.
    :raises AdjustConfigurationError: the connection is not a database that Airflow can query.
    """
    # Not at the top, since each task would wait for it, even one that reads no database.
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    arguments = dict(hook_params or {})
    if name := _HOOKS_THAT_QUERY.get(BaseHook.get_connection(sql_conn_id).conn_type or ""):
        hook_class = pkgutil.resolve_name(name)
        hook = hook_class(**{hook_class.conn_name_attr: sql_conn_id}, **arguments)
    else:
        try:
            hook = BaseHook.get_hook(sql_conn_id, hook_params=arguments)
        except AirflowException as error:
            # The connection type has no hook here: its provider is not installed, or has no such hook.
            raise AdjustConfigurationError(
                f"{argument} {sql_conn_id!r} cannot be opened ({escape(str(error), 100)}); it must be a database connection, "
                "and its provider must be installed"
            ) from None
    if not isinstance(hook, DbApiHook):
        raise AdjustConfigurationError(
            f"{argument} {sql_conn_id!r} is a {type(hook).__name__}; it must be a database connection (a DbApiHook)"
        )
    return hook


def known_names(options: RowOptions, route_by: str | None = None) -> tuple[Collection[str], Collection[str]]:
    """The column names that a sending task knows: those in its arguments, and then Adjust's."""
    return options.column_names | {*filter(None, [route_by])}, endpoint_named(options.endpoint).parameters.keys()


@contextmanager
def stream_rows(
    hook: DbApiHook,
    sql: str,
    parameters: Parameters,
    fetch_size: int,
    known_names: Sequence[Collection[str]] = (),
    timezone: str = "UTC",
) -> Iterator[QueryRows]:
    """Rows as mappings, fetched ``fetch_size`` at a time within the context.

    :param known_names: the column names that the reader knows, for databases that fold their case.
    :param timezone: IANA name of the reader's zone for times without an offset. It is also set in the session, if the database
        or its driver drops the zone of times.
    :raises AdjustConfigurationError: the SQL is not one SELECT, it returns no or unreadable columns, or the zone is not known.
    """
    from airflow_provider_adjust.sources.statement import one_select  # which loads a SQL parser

    statement = one_select(sql)
    load_timezone(timezone)  # refuses unknown names; all others can be quoted in SQL
    connection = hook.get_conn()
    source = source_of(connection)
    cursor = None
    try:
        source.set_session(connection, timezone)
        cursor = source.open_cursor(connection)
        # Without parameters, a % is a plain character. Airflow's hooks treat empty parameters as none.
        cursor.execute(statement, *([parameters] if parameters else []))
        yield QueryRows(source, connection, cursor, fetch_size, known_names, timezone)
    finally:
        # An error here would hide why reading failed, and after the last row it does not matter.
        _close_all([connection, cursor] if source.closes_connection_first else [cursor, connection])


def _close_all(those: Iterable[Any]) -> None:
    for each in those:
        try:
            if each is not None:
                each.close()
        except Exception as error:
            log.debug("A %s could not be closed (%s)", type(each).__name__, type(error).__name__)


class QueryRows(Iterator[dict[str, Any]]):
    """The rows of a query as mappings, for one iteration. The columns are known before the first row is read.

    ``description`` is that of the cursor: a sequence for each column, with its name and type. ``values`` are the rows without
    column names. Check ``columns`` for repeated names first, since a mapping keeps only the last of them.

    :raises AdjustConfigurationError: there are no columns, or unreadable ones.
    """

    def __init__(
        self,
        source: Source,
        connection: Any,
        cursor: Any,
        fetch_size: int,
        known_names: Sequence[Collection[str]] = (),
        timezone: str = "UTC",
    ) -> None:
        self._source = source
        self._timezone = timezone
        self._cursor = cursor
        self._fetch_size = min(fetch_size, source.largest_batch(connection) or fetch_size)
        self._fetched = 0
        # A server-side cursor knows its columns only after the first fetch.
        first = self._fetch()
        self.description: Sequence[Any] = tuple(cursor.description or ())
        self.columns = _matched(self.description, known_names)
        used = set().union(*known_names)
        for name, column in zip(self.columns, self.description, strict=True):
            if name in used and (problem := source.problem_of(column)):
                raise AdjustConfigurationError(f"the column {quote(name)} of the sql {escape(problem, 120)}")
        self.values = self._read(first)

    def __next__(self) -> dict[str, Any]:
        return dict(zip(self.columns, next(self.values), strict=True))

    def _read(self, batch: Sequence[Any]) -> Iterator[Sequence[Any]]:
        own_names = [column[0] for column in self.description]
        readers = [self._source.value_reader(column, self._timezone) for column in self.description]
        reads = any(readers)
        while batch:
            for record in batch:
                # An Airflow connection may set its driver to return mappings.
                values = [record[name] for name in own_names] if isinstance(record, Mapping) else record
                if reads:
                    values = [read(value) if read else value for read, value in zip(readers, values, strict=True)]
                if not _BYTES_OF_DRIVERS.isdisjoint(map(type, values)):
                    values = [bytes(value) if type(value) in _BYTES_OF_DRIVERS else value for value in values]
                yield values
            batch = self._fetch()

    def _fetch(self) -> Sequence[Any]:
        try:
            batch: Sequence[Any] = self._cursor.fetchmany(self._fetch_size)
        except (ValueError, TypeError, OverflowError) as error:
            if type(error).__module__ != "builtins":
                raise  # an error of a library, such as a gateway's answer that is not JSON; a retry may help
            # The driver failed rather than the database, for example on a date before Christ. Its message may contain the value.
            raise AdjustConfigurationError(
                f"the driver cannot read a value in the {self._fetch_size:,} rows of the sql after row {self._fetched:,} "
                f"({type(error).__name__}); cast the column to text, or leave such rows out"
            ) from None
        self._fetched += len(batch)
        return batch


def _matched(description: Iterable[Any] | None, known_names: Sequence[Collection[str]]) -> list[str]:
    names = [str(column[0]) for column in description or ()]
    if not names:
        raise AdjustConfigurationError("the sql returns no rows and no columns; it must be one SELECT")
    return match_names(names, known_names)


def column_names(description: Iterable[Any] | None, known_names: Sequence[Collection[str]] = ()) -> list[str]:
    """The result's column names, in the case that the reader expects.

    :raises AdjustConfigurationError: there is no result, or two columns have the same name.
    """
    names = _matched(description, known_names)
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise AdjustConfigurationError(
            f"the sql returns more than one column named {escape(', '.join(repeated), 200)}; give each another alias"
        )
    return names
