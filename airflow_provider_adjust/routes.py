"""Open the hooks of a sending task, one per route, and its ledger."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.airflow_versions import AirflowException, AirflowNotFoundException
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.s2s.delivery.options import SendOptions
from airflow_provider_adjust.s2s.delivery.route import Route
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, AdjustError, LedgerUnavailable
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.rehearsals import REHEARSAL
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.sql_rows import sql_hook

log = logging.getLogger(__name__)

#: Messages of Postgres and MySQL about a wrong user, password or database. Their drivers give no code for it.
_WRONG_LOGIN = re.compile(r"authentication failed|access denied|does not exist|unknown database|pg_hba", re.IGNORECASE)
#: Errors of hooks that have no engine for the connection, or lack a library.
_NO_ENGINE = (
    AirflowException,
    sa.exc.ArgumentError,
    ImportError,
    NotImplementedError,
    AttributeError,
    TypeError,
    ValueError,
)


def hooks_by_route(
    adjust_conn_id: str | Mapping[str, str], route_by: str | None, options: RowOptions
) -> dict[str | None, AdjustS2SHook]:
    """The hook for each value of the column ``route_by``; a single hook has the key None.

    :raises AdjustConfigurationError: there are several connections without the column, or the column without them.
    """
    if isinstance(adjust_conn_id, str):
        if route_by is not None:
            raise AdjustConfigurationError(
                "route_by needs adjust_conn_id to be a mapping of the column's values to connections"
            )
        return {None: _hook(adjust_conn_id, options)}
    if route_by is None or not adjust_conn_id:
        raise AdjustConfigurationError("several connections need route_by, the column that names a row's connection")
    return {route: _hook(conn_id, options) for route, conn_id in adjust_conn_id.items()}


def _hook(conn_id: str, options: RowOptions) -> AdjustS2SHook:
    return AdjustS2SHook(conn_id, app_token=options.app_token, environment=options.environment)


def destination_line(route: Route, memory: str) -> str:
    """The first line of the log, so that a rehearsal is not mistaken for a real delivery."""
    return f"Sending to {destination(route, memory)}"


def destination(route: Route, memory: str) -> str:
    """The destination of a route's events: URL, app, event token, environment, connection.

    :param memory: what prevents the events from being sent again, as text.
    """
    parser = route.parser
    given = parser.defaults
    app = given.get("app_token")
    # Airflow masks the complete app token in its logs, since its field's name contains "token". Its start distinguishes apps.
    parts = [f"app {app[:4]}..." if app else "the app that each row names"]
    if parser.event_tokens:
        names = ", ".join(f"{name} ({token})" for name, token in sorted(parser.event_tokens.items()))
        parts.append(f"event tokens {names}")
    elif parser.endpoint.has_tokens:
        token = given.get("event_token")
        parts.append(f"event token {token}" if token else "the event token that each row names")
    else:
        parts.append(parser.endpoint.title)
    environment = given.get("environment")
    if "environment" in parser.endpoint.parameters:
        parts.append(f"environment {environment}" if environment else "the environment that each row names")
    if route.shown_environment == REHEARSAL:
        parts.append("a rehearsal: this host is not Adjust's")
    return f"{route.target.url}: {', '.join(parts)}; connection {route.connection}, {memory}"


def task_instance_id(ti: Any, task_id: str) -> TaskInstanceId:
    """The Airflow task instance that claims events; all empty outside of Airflow."""
    return TaskInstanceId(
        dag_id=getattr(ti, "dag_id", ""),
        run_id=getattr(ti, "run_id", ""),
        task_id=getattr(ti, "task_id", task_id),
        map_index=getattr(ti, "map_index", -1),
        try_number=getattr(ti, "try_number", 1),
    )


@contextmanager
def open_ledger(
    ledger_conn_id: str | None,
    sender: TaskInstanceId,
    sending: SendOptions,
    *,
    retry_unknown_devices: timedelta | None = None,
) -> Iterator[Ledger | None]:
    """The ledger within the context, which also records how the try ends; None without a connection.

    :raises AdjustConfigurationError: ``retry_unknown_devices`` is set without a ledger; or the connection's database cannot
        hold a ledger, its login is wrong, or its ledger belongs to a newer provider.
    :raises LedgerUnavailable: the database cannot be reached or used now.
    """
    if ledger_conn_id is None:
        if retry_unknown_devices is not None:
            raise AdjustConfigurationError("retry_unknown_devices needs ledger_conn_id, which remembers the devices")
        yield None
        return
    with ledger_engine(ledger_conn_id) as engine:
        with named_ledger_errors(ledger_conn_id):
            ledger = Ledger(
                engine,
                sender,
                on_in_doubt=sending.on_in_doubt,
                max_resends=sending.max_resends,
                id_scope=sending.id_scope,
                retry_unknown_devices=retry_unknown_devices,
                batch_size=max(64, 2 * sending.max_in_flight),
                on_wait=_say_that_it_waits,
            )
        with closing(ledger), _recorded_end(ledger):
            yield ledger


def _say_that_it_waits(seconds: float) -> None:
    log.warning(
        "An earlier try of this task did not record its end; waiting up to %.0f s until its claims can be taken over",
        seconds,
    )


@contextmanager
def _recorded_end(ledger: Ledger) -> Iterator[None]:
    """Record in the ledger how the try ends."""
    error: str | None = None
    try:
        yield
    except BaseException as failure:
        # The message of another library's error may contain values of rows.
        first_line = f": {failure}".partition("\n")[0] if isinstance(failure, AdjustError) else ""
        error = f"{type(failure).__name__}{first_line}"
        raise
    finally:
        try:
            ledger.end(error)
        except Exception as failure:
            # All outcomes were already written, or the delivery has already failed because of it.
            log.warning("The end of this try could not be recorded in the ledger (%s)", type(failure).__name__)


@contextmanager
def ledger_engine(ledger_conn_id: str) -> Iterator[sa.Engine]:
    """The engine. Its connections are closed at the end of the context.

    :raises AdjustConfigurationError: the connection's database cannot hold a ledger.
    """
    try:
        engine = sql_hook(ledger_conn_id, None, argument="ledger_conn_id").get_sqlalchemy_engine()
    except (AdjustConfigurationError, AirflowNotFoundException):
        raise
    except _NO_ENGINE as error:
        raise AdjustConfigurationError(
            f"ledger_conn_id {ledger_conn_id!r} gives no database connection ({type(error).__name__}); a ledger needs "
            "Postgres, SQLite, MySQL or MariaDB, and Airflow's provider for it"
        ) from None
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def named_ledger_errors(ledger_conn_id: str) -> Iterator[None]:
    """Translate errors of the ledger's database: they name the argument, without the text of the database's library.

    :raises AdjustConfigurationError: the database refuses the login.
    :raises LedgerUnavailable: the database cannot be reached, or fails.
    """
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        # ``from None``, since its text may contain the statement and the database's address.
        cause = getattr(error, "orig", None) or error
        kind = type(cause).__name__
        if isinstance(error, sa.exc.OperationalError) and _WRONG_LOGIN.search(str(cause)):
            raise AdjustConfigurationError(
                f"the database of ledger_conn_id {ledger_conn_id!r} refuses the login ({kind}); check the connection's "
                "login, password and database"
            ) from None
        raise LedgerUnavailable(
            f"the ledger of ledger_conn_id {ledger_conn_id!r} cannot be used ({kind}): check that its database runs, that "
            "the worker reaches it, and that the login may create tables and write"
        ) from None
