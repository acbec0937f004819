"""``check-query``: the columns and the first rows of a query, read like ``SqlToAdjustOperator`` but not sent."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook

from airflow_provider_adjust.cli.check import check, parser_of
from airflow_provider_adjust.cli.rows import connection_must_exist
from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, AdjustError
from airflow_provider_adjust.s2s.events.first_contact import check_columns, column_meanings
from airflow_provider_adjust.s2s.redaction import escape, mask_values, quote
from airflow_provider_adjust.sql_rows import known_names, sql_hook, stream_rows

_JINJA = re.compile(r"\{\{|\{%|\{#")
#: The operator's default.
_FETCH_SIZE = 2000
_LONGEST_MESSAGE = 300


def check_query(options: Namespace, terminal: Terminal) -> int:
    """Show the query's columns, its first events, masked, and what would be refused of its first rows."""
    sql = _sql(options)
    parameters = _json(options.parameters, "--parameters", list | dict)
    hook_params = _json(options.hook_params, "--hook-params", dict)
    for flag, value, least in (("--limit", options.limit, 1), ("--events", options.events, 0)):
        if value < least:
            raise AdjustConfigurationError(f"{flag} is {value:,}; give a number from {least} on")
    parser, assumed = parser_of(options)
    if _JINJA.search(sql):
        terminal.warn("The query has Jinja templates, which are not rendered here: the database gets it unchanged")
    with connection_must_exist(options.sql_conn_id):
        hook = sql_hook(options.sql_conn_id, hook_params, argument="CONN")
    with (
        _database_errors(options.sql_conn_id),
        stream_rows(
            hook,
            sql,
            parameters,
            min(options.limit + 1, _FETCH_SIZE),
            known_names(parser.options),
            parser.options.timezone,
        ) as rows,
    ):
        names, description = rows.columns, rows.description
        found = list(islice(rows, options.limit + 1))
    head = ("column", "type of the driver", "value in Python", "meaning")
    kinds = (_driver_type(column) for column in description)
    table = zip(
        map(escape, names), kinds, _python_types(names, found), column_meanings(names, parser.options), strict=True
    )
    terminal.table("Columns", head, list(table))
    check_columns(names, "the sql", parser.options)
    more = len(found) > options.limit
    title = f"The first {options.limit:,} rows of the query" if more else "All rows of the query"
    # An iterator, since the rows of a query are not sorted.
    checked = iter(found[: options.limit])
    return check(parser, checked, terminal, title=title, shown=options.events, hidden=assumed)


def _sql(options: Namespace) -> str:
    if (options.sql is None) == (options.file is None):
        raise AdjustConfigurationError("give either SQL or --file, and not both")
    if options.sql is not None:
        return str(options.sql)
    try:
        return Path(options.file).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise AdjustConfigurationError(f"{options.file} cannot be read: {error}") from None


def _json(text: str | None, flag: str, kind: Any) -> Any:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        shape = "object" if kind is dict else "list or object"
        raise AdjustConfigurationError(f"{flag} takes the text of a JSON {shape}")
    return value


@contextmanager
def _database_errors(conn_id: str) -> Iterator[None]:
    """One line with the error of the database or its driver, without the connection's password."""
    try:
        yield
    except AdjustError:
        raise
    except Exception as error:
        message = str(error).strip().partition("\n")[0]
        if password := BaseHook.get_connection(conn_id).password:
            message = message.replace(password, "***")
        raise AdjustConfigurationError(
            f"the query on {quote(conn_id)} failed, {type(error).__name__}: "
            f"{mask_values(escape(message, _LONGEST_MESSAGE))}"
        ) from None


def _driver_type(column: Sequence[Any]) -> str:
    """The type as the driver names it: some give a number, some nothing."""
    if name := getattr(column, "type_display", None):  # psycopg 3
        return escape(name, 60)
    kind = column[1]
    if type(column).__module__ == "psycopg2.extensions":
        from psycopg2.extensions import string_types

        # Its description has the type's number alone, and this is the list by which it reads values.
        kind = getattr(string_types.get(kind), "name", kind)
    return "" if kind is None else escape(getattr(kind, "__name__", None) or str(kind), 60)


def _python_types(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The type of each column's first value; empty if there is none."""
    for name in names:
        values = (row[name] for row in rows if row[name] is not None)
        yield next((type(value).__name__ for value in values), "")
