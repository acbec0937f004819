"""Read-only sessions on the ledgers that the page shows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from airflow.sdk import BaseHook

from airflow_provider_adjust.deliveries_page.limits import (
    STATEMENT_TIMEOUT_S,
    AnswerTooSlow,
    is_too_slow,
    limit_connecting,
    restrict,
)
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.ledger.names import refuse_folding
from airflow_provider_adjust.s2s.ledger.schema import VERSION, versions
from airflow_provider_adjust.s2s.ledger.sqlite_file import is_missing
from airflow_provider_adjust.sql_rows import sql_hook

_lock = threading.Lock()
#: By connection id: the connection at that time, and its engine.
_engines: dict[str, tuple[str, sa.Engine]] = {}

log = logging.getLogger(__name__)


class LedgerReadError(Exception):
    """A ledger cannot be read. The message says why, and contains no part of its connection."""


@dataclass(frozen=True, slots=True)
class LedgerSession:
    """A database connection to a ledger, open for one answer."""

    connection: sa.Connection


@contextmanager
def open_session(conn_id: str) -> Iterator[LedgerSession]:
    """Open the ledger for one answer. A changed Airflow connection takes effect with the next request.

    :raises LedgerReadError: the connection does not exist, its database fails, is slow or treats different names as equal, or
        no task has used the ledger yet.
    """
    engine = _engine(conn_id)
    if is_missing(engine):
        raise _no_ledger_yet(conn_id)
    try:
        with engine.connect() as connection:
            restrict(connection)
            _check_shape(connection, conn_id)
            _check_names(connection, conn_id)
            yield LedgerSession(connection)
    except (sa.exc.SQLAlchemyError, AnswerTooSlow) as error:
        raise _read_error(conn_id, error) from None


def _engine(conn_id: str) -> sa.Engine:
    """The engine of the current connection. It is cached for its compiled queries.

    It has no pool: the page opens few connections at a time, and none outlives its answer or a fork.
    """
    try:
        uri = BaseHook.get_connection(conn_id).get_uri()
        with _lock:
            known_uri, engine = _engines.get(conn_id, (None, None))
        if engine is None or known_uri != uri:
            engine = sql_hook(conn_id, None).get_sqlalchemy_engine(engine_kwargs={"poolclass": sa.pool.NullPool})
            limit_connecting(engine)
            with _lock:
                _engines[conn_id] = (uri, engine)
        return engine
    except Exception as error:  # whatever the hook of another provider may raise
        raise _read_error(conn_id, error) from None


def _read_error(conn_id: str, error: Exception) -> LedgerReadError:
    """An error with only the type of the cause, since its text may contain the statement and the database's address."""
    cause = type(getattr(error, "orig", None) or error).__name__
    log.warning("The ledger of connection %r could not be read: %s", conn_id, cause)
    if is_too_slow(error):
        return LedgerReadError(
            f"The ledger of the connection {conn_id!r} takes more than {STATEMENT_TIMEOUT_S} seconds to answer this. "
            "Select fewer days, one DAG or one run."
        )
    return LedgerReadError(
        f"The ledger of the connection {conn_id!r} could not be read ({cause}). "
        "Check that the API server has the connection and the database's provider, and can reach the database."
    )


def _no_ledger_yet(conn_id: str) -> LedgerReadError:
    return LedgerReadError(
        f"The database of the connection {conn_id!r} has no ledger yet. "
        "The first task that runs with it as ledger_conn_id creates one."
    )


def _check_shape(connection: sa.Connection, conn_id: str) -> None:
    if not sa.inspect(connection).has_table(versions.name):
        raise _no_ledger_yet(conn_id)
    version = connection.scalar(sa.select(versions.c.version))
    if version is not None and version > VERSION:
        raise LedgerReadError(
            f"The ledger of the connection {conn_id!r} was written by a newer provider. Update the provider on the API server."
        )
    if version != VERSION:
        raise LedgerReadError(
            f"The ledger of the connection {conn_id!r} is of an older provider. The next task that sends with it "
            "upgrades it."
        )


def _check_names(connection: sa.Connection, conn_id: str) -> None:
    """Refuse a database that treats two DAG ids as equal, since it would show a user the wrong DAG."""
    try:
        refuse_folding(connection)
    except AdjustConfigurationError as error:
        raise LedgerReadError(f"The ledger of the connection {conn_id!r} cannot be shown: {error}.") from None
