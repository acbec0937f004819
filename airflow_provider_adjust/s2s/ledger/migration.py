"""Create the ledger's tables, and migrate those of an older provider to the current schema.

Alembic is not used: it would add a version table and a folder of scripts for one step, and that step must run inside the first
task, under a lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.ledger.names import refuse_folding
from airflow_provider_adjust.s2s.ledger.schema import (
    VERSION,
    create_view,
    events,
    metadata,
    refuse_unfit,
    retry_once,
    scopes,
    set_up,
    tries,
    versions,
)
from airflow_provider_adjust.s2s.ledger.sqlite_file import make_file

_LOCK = "adjust_ledger"
#: The number of the advisory lock on Postgres; any number that no other program uses.
_LOCK_NUMBER = 7_032_417_905_511
#: Seconds for which a task waits while another one migrates; a million events take half a minute.
_LOCK_WAIT = 900
#: Databases with transactional DDL.
_TRANSACTIONAL = {"sqlite", "postgresql"}
#: The name of an older table while its events are copied.
_OLD = "adjust_delivery_2"


def prepare(engine: sa.Engine) -> None:
    """Create missing tables, migrate older ones to the current schema, and refuse those of a newer provider.

    Tasks that begin at the same time wait for the one that does it.

    :raises AdjustConfigurationError: the database cannot hold a ledger, or treats different names as equal; its file is a
        link; or a newer version of the provider has changed it.
    """
    refuse_unfit(engine)
    make_file(engine)
    set_up(engine)
    retry_once(lambda: _prepare(engine))
    with engine.connect() as connection:
        refuse_folding(connection)


def _prepare(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        if _version(connection) == VERSION:
            return
    with engine.connect() as connection, _locked(connection):
        _migrate(connection)


def _version(connection: sa.Connection) -> int | None:
    """The schema version of the existing tables; None if there is no ledger."""
    if not sa.inspect(connection).has_table(versions.name):
        return None
    return connection.scalar(sa.select(versions.c.version))


@contextlib.contextmanager
def _locked(connection: sa.Connection) -> Iterator[None]:
    """Only one task at a time runs this. On SQLite and Postgres the transaction takes the lock."""
    if connection.dialect.name in _TRANSACTIONAL:
        yield
        return
    taken = connection.scalar(sa.text("SELECT GET_LOCK(:name, :wait)"), {"name": _LOCK, "wait": _LOCK_WAIT})
    connection.rollback()
    if taken != 1:
        raise AdjustConfigurationError(
            f"another task has been changing the ledger's tables for {_LOCK_WAIT} s; see whether it still runs"
        )
    try:
        yield
    finally:
        connection.execute(sa.text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK})
        connection.rollback()


def _migrate(connection: sa.Connection) -> None:
    """Migrate from any older schema to the current one, unless another task has done it.

    Postgres and SQLite do it in one transaction, so a kill undoes it. MySQL commits each change of a table on its own, so each
    step checks the existing tables, and the copy is in one transaction with the new version.
    """
    with connection.begin():
        if connection.dialect.name == "postgresql":
            # For the transaction rather than the session, which a connection pooler may share.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_NUMBER})")
        version = _version(connection)
        if version == VERSION:
            return
        if version is not None and version > VERSION:
            raise AdjustConfigurationError(
                f"the ledger has schema {version} of a newer provider; this one knows {VERSION}: update the provider"
            )
        _to_present_shape(connection, version)
        if connection.dialect.name in _TRANSACTIONAL:
            _drop_old(connection)
    if connection.dialect.name not in _TRANSACTIONAL:
        with connection.begin():
            _drop_old(connection)


def _to_present_shape(connection: sa.Connection, version: int | None) -> None:
    inspector = sa.inspect(connection)
    tables, views = set(inspector.get_table_names()), set(inspector.get_view_names())
    if "adjust_delivery" in tables and version is None:
        raise AdjustConfigurationError(
            "the database has a table adjust_delivery that no ledger made; name another database in ledger_conn_id"
        )
    if "adjust_delivery" in tables:
        connection.exec_driver_sql(f"ALTER TABLE adjust_delivery RENAME TO {_OLD}")
        tables.add(_OLD)
    metadata.create_all(connection)
    _add_columns(connection)
    if "adjust_delivery" not in views:
        create_view(connection)
    if _OLD in tables:
        _copy(connection, has_held="adjust_held" in tables)
    if version is None:
        connection.execute(versions.insert().values(version=VERSION))
    else:
        connection.execute(versions.update().values(version=VERSION))


def _add_columns(connection: sa.Connection) -> None:
    """Add the columns, and their indexes, that the tables of an older ledger lack."""
    for table in (tries, scopes, events):
        present = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                definition = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {definition}")
        for index in table.indexes:
            index.create(connection, checkfirst=True)


def _drop_old(connection: sa.Connection) -> None:
    for name in (_OLD, "adjust_held"):
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")


#: The first 16 hexadecimal digits of the old digest, as a number like the new one.
_CONTENT = {
    "postgresql": "CASE WHEN o.content ~ '^[0-9a-f]{16}' THEN ('x' || substr(o.content, 1, 16))::bit(64)::bigint END",
    "sqlite": "adjust_digest(o.content)",
    "mysql": "CAST(CAST(CONV(SUBSTR(o.content, 1, 16), 16, 10) AS UNSIGNED) AS SIGNED)",
    "mariadb": "CAST(CAST(CONV(SUBSTR(o.content, 1, 16), 16, 10) AS UNSIGNED) AS SIGNED)",
}
#: Older ledgers did not store the host, so their scopes have none until the first task claims their events.
_COPY_SCOPES = """
INSERT INTO adjust_scope (destination, app_token, endpoint, event_key, environment)
SELECT DISTINCT '', o.app_token, 'event', o.event_token, o.environment FROM {old} o"""
_COPY_TASKS = """
INSERT INTO adjust_try (dag_id, run_id, task_id, map_index, try_number, state, is_latest, started_at, heartbeat_at,
  lease_until, ended_at, {read}, error, rejected_path)
SELECT o.dag_id, o.run_id, o.task_id, o.map_index, 0, 'ended', {true}, MIN(o.updated_at), MAX(o.updated_at),
  MAX(o.updated_at), MAX(o.updated_at), COUNT(*), '', '' FROM {tasks} o
GROUP BY o.dag_id, o.run_id, o.task_id, o.map_index"""
_COPY_REASONS = "INSERT INTO adjust_reason (code) SELECT DISTINCT o.reason FROM {old} o"
_SCOPE = """JOIN adjust_scope s ON s.destination = '' AND s.app_token = o.app_token AND s.event_key = o.event_token
  AND s.environment = o.environment"""
_TRY = """JOIN adjust_try t ON t.dag_id = o.dag_id AND t.run_id = o.run_id AND t.task_id = o.task_id
  AND t.map_index = o.map_index"""
_COPY_EVENTS = """
INSERT INTO adjust_event (occurred_at, content, try_id, scope_id, position, status, reason, http_status, lost_answers,
  event_id, currency, revenue)
SELECT o.occurred_at, {content}, t.id, s.id, 0,
  CASE o.status WHEN 'delivered' THEN 1 WHEN 'duplicate' THEN 2 WHEN 'rejected' THEN 3 WHEN 'in_doubt' THEN 4 ELSE 0 END,
  r.id, o.http_status, 0, o.event_id, o.currency, o.revenue
FROM {old} o {scope} {try} JOIN adjust_reason r ON r.code = o.reason"""
_COPY_TOTALS = """
INSERT INTO adjust_total (try_id, number, scope_id, day, outcome, reason, currency, events, revenue)
SELECT t.id, ROW_NUMBER() OVER (PARTITION BY t.id ORDER BY s.id) - 1, s.id, {day},
  CASE o.status WHEN 'sending' THEN 'in_doubt' ELSE o.status END, o.reason, o.currency, COUNT(*), SUM(o.revenue)
FROM {old} o {scope} {try}
GROUP BY t.id, s.id, {day}, CASE o.status WHEN 'sending' THEN 'in_doubt' ELSE o.status END, o.reason, o.currency"""
_COPY_HELD = """
INSERT INTO adjust_total (try_id, number, scope_id, day, outcome, reason, currency, events, revenue)
SELECT t.id, 1000000 + ROW_NUMBER() OVER (PARTITION BY t.id ORDER BY o.day), s.id, o.day, 'held', '', NULL, o.events, NULL
FROM adjust_held o {scope} {try}"""
#: Tasks and scopes with only held events.
_HELD_SCOPES = """
INSERT INTO adjust_scope (destination, app_token, endpoint, event_key, environment)
SELECT DISTINCT '', o.app_token, 'event', o.event_token, o.environment FROM adjust_held o
WHERE NOT EXISTS (SELECT 1 FROM adjust_scope s WHERE s.destination = '' AND s.app_token = o.app_token
  AND s.event_key = o.event_token AND s.environment = o.environment)"""
_HELD_TASKS = """(SELECT h.dag_id, h.run_id, h.task_id, h.map_index, {day_start} AS updated_at FROM adjust_held h
  WHERE NOT EXISTS (SELECT 1 FROM adjust_try t WHERE t.dag_id = h.dag_id AND t.run_id = h.run_id
    AND t.task_id = h.task_id AND t.map_index = h.map_index))"""


def _copy(connection: sa.Connection, *, has_held: bool) -> None:
    """Fill the new tables from the old ones, after removing the remains of an interrupted copy."""
    name = connection.dialect.name
    words: dict[str, Any] = {
        "old": _OLD,
        "scope": _SCOPE,
        "try": _TRY,
        "content": _CONTENT[name],
        "read": connection.dialect.identifier_preparer.quote("read"),
        "true": "true" if name == "postgresql" else "1",
        "day": "date(o.occurred_at)" if name == "sqlite" else "CAST(o.occurred_at AS DATE)",
        "day_start": "h.day || ' 00:00:00.000000'" if name == "sqlite" else "CAST(h.day AS DATETIME)",
    }
    if name == "postgresql":
        words["day_start"] = "h.day::timestamp"
    if name == "sqlite":
        connection.connection.dbapi_connection.create_function("adjust_digest", 1, _digest)  # type: ignore[union-attr]
    for table in reversed(metadata.sorted_tables):
        if table is not versions:
            connection.execute(table.delete())
    statements = [_COPY_SCOPES, _COPY_TASKS.replace("{tasks}", _OLD), _COPY_REASONS, _COPY_EVENTS, _COPY_TOTALS]
    if has_held:
        statements += [_HELD_SCOPES, _COPY_TASKS.replace("{tasks}", _HELD_TASKS), _COPY_HELD]
    for statement in statements:
        text = statement
        for word, value in words.items():
            text = text.replace(f"{{{word}}}", value)
        connection.execution_options(no_parameters=True).exec_driver_sql(text)


def _digest(content: str) -> int | None:
    """The number of an old digest's first 8 bytes; None for a text that is not a digest."""
    try:
        return int.from_bytes(bytes.fromhex(content[:16]), "big", signed=True)
    except ValueError:
        return None
