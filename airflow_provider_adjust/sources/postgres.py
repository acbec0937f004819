"""Postgres, and databases with its protocol such as Redshift, through psycopg 2 and 3."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import Any

from airflow_provider_adjust.sources.source import Source

#: Redshift reports the version of the Postgres that it derives from, 8.0.2.
_OLDEST_POSTGRES = 8_01_00
#: The most rows that a single-node Redshift returns at a time.
REDSHIFT_BATCH = 1000
#: A slow reader is idle within a transaction. LOCAL, since the session is shared behind a pooler.
_BE_PATIENT = "SET LOCAL idle_in_transaction_session_timeout = 0"
_TYPES_OF_TIME = ("timestamptz", "timestamp", "date")


def cursor_name() -> str:
    """A unique name for a server-side cursor."""
    return f"adjust_{uuid.uuid4().hex}"


def _set_session(connection: Any, timezone: str) -> None:
    """Set the server to wait for a slow reader, if it can."""
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(_BE_PATIENT)
    except Exception:
        # Redshift does not know it. The error has ended the transaction, which was still empty.
        connection.rollback()


class _RepeatedName(Exception):
    """A JSON object has a repeated name."""


def _load_json(data: str | bytes) -> Any:
    """The value, with every digit of its numbers. If a name is repeated, the text instead, so that its row is refused."""
    try:
        return json.loads(data, parse_float=Decimal, object_pairs_hook=_object)
    except _RepeatedName:
        return data if isinstance(data, str) else data.decode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RepeatedName
    return found


def _cursor_of_psycopg3(connection: Any) -> Any:
    from psycopg.rows import tuple_row
    from psycopg.types.json import set_json_loads

    cursor = connection.cursor(name=cursor_name(), row_factory=tuple_row)
    set_json_loads(_load_json, cursor)
    for name in _TYPES_OF_TIME:
        loader = cursor.adapters.get_loader(cursor.adapters.types[name].oid, 0)
        cursor.adapters.register_loader(name, _or_text(loader))
    return cursor


def _or_text(loader_class: Any) -> Any:
    """A loader that returns the text of a time without a Python value, such as ``infinity``, so that its row is refused."""
    from psycopg import DataError
    from psycopg.adapt import Loader

    class LoaderOrText(Loader):
        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._load: Callable[[Any], Any] = loader_class(oid, context).load

        def load(self, data: Any) -> Any:
            try:
                return self._load(data)
            except DataError:
                return bytes(data).decode()

    return LoaderOrText


def _cursor_of_psycopg2(connection: Any) -> Any:
    from psycopg2 import extras
    from psycopg2.extensions import cursor as plain_cursor

    cursor = connection.cursor(name=cursor_name(), cursor_factory=plain_cursor)
    extras.register_default_json(cursor, loads=_load_json)
    extras.register_default_jsonb(cursor, loads=_load_json)
    return cursor


def _largest_batch(connection: Any) -> int | None:
    version = connection.info.server_version
    return REDSHIFT_BATCH if version < _OLDEST_POSTGRES else None


def _source(open_cursor: Callable[[Any], Any]) -> Source:
    return Source(
        set_session=_set_session, open_cursor=open_cursor, largest_batch=_largest_batch, closes_connection_first=True
    )


PSYCOPG2 = _source(_cursor_of_psycopg2)
PSYCOPG3 = _source(_cursor_of_psycopg3)
