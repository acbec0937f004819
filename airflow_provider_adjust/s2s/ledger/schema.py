"""The ledger's tables, and how they are made and migrated.

Times are UTC without an offset, since not every database keeps one.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

metadata = sa.MetaData()
#: One row for each event that was ever claimed. ``status`` is ``sending`` or an outcome.
deliveries = sa.Table(
    "adjust_delivery",
    metadata,
    sa.Column("app_token", sa.String(64), primary_key=True),
    sa.Column("event_token", sa.String(64), primary_key=True),
    sa.Column("environment", sa.String(16), primary_key=True),
    sa.Column("event_id", sa.String(255), primary_key=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(64), nullable=False),
    sa.Column("http_status", sa.Integer),
    sa.Column("content", sa.String(32), nullable=False),
    sa.Column("occurred_at", sa.DateTime, nullable=False, index=True),
    sa.Column("revenue", sa.Numeric(38, 10)),
    sa.Column("currency", sa.String(3)),
    sa.Column("claim", sa.String(32), nullable=False),
    sa.Column("dag_id", sa.String(250), nullable=False),
    sa.Column("run_id", sa.String(250), nullable=False),
    sa.Column("task_id", sa.String(250), nullable=False),
    sa.Column("map_index", sa.Integer, nullable=False),
    sa.Column("updated_at", sa.DateTime, nullable=False),
    # Only of columns that stay as they were claimed: with one that settling changes, such as the status, Postgres would
    # write every index again for each event.
    sa.Index("ix_adjust_delivery_dag", "dag_id", "occurred_at"),
    sa.Index("ix_adjust_delivery_run", "dag_id", "run_id"),
)
#: How many events a task instance held in its last try, by the day on which they happened. They were not sent, so they
#: have no row above.
held = sa.Table(
    "adjust_held",
    metadata,
    sa.Column("dag_id", sa.String(250), nullable=False),
    sa.Column("run_id", sa.String(250), nullable=False),
    sa.Column("task_id", sa.String(250), nullable=False),
    sa.Column("map_index", sa.Integer, nullable=False),
    sa.Column("app_token", sa.String(64), nullable=False),
    sa.Column("event_token", sa.String(64), nullable=False),
    sa.Column("environment", sa.String(16), nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),
    # No key: all of these together are longer than MySQL allows one to be.
    sa.Index("ix_adjust_held_run", "dag_id", "run_id"),
)
#: One row: which of the shapes below the tables have.
versions = sa.Table("adjust_ledger_version", metadata, sa.Column("version", sa.Integer, primary_key=True))
#: 1: ``adjust_delivery`` without the indexes that begin with ``dag_id``. 2: these, and ``adjust_held``.
VERSION = 2


def prepare(engine: sa.Engine) -> None:
    """Make the tables where they are missing, and refuse those of a newer provider.

    :raises AdjustConfigurationError: a newer version of the provider has changed the table.
    """
    if engine.dialect.name == "sqlite":
        _let_sqlite_writers_wait(engine)
    try:
        _create(engine)
    except DBAPIError:
        # Several mapped tasks begin at once, and one was faster; an error that stands is raised now.
        _create(engine)


def _create(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        metadata.create_all(connection)
        version = connection.scalar(sa.select(versions.c.version))
        if version is None:
            connection.execute(versions.insert().values(version=VERSION))
        elif version > VERSION:
            raise AdjustConfigurationError(
                f"the ledger has the shape {version} of a newer provider; this one knows {VERSION}: update the provider"
            )
        elif version < VERSION:
            _upgrade(connection)


def _upgrade(connection: sa.Connection) -> None:
    """Bring tables of an older provider to the present shape; ``create_all`` has made those that were missing."""
    # One task does it, and the others wait for that task to end.
    connection.execute(sa.select(versions.c.version).with_for_update())
    for index in sorted(deliveries.indexes, key=lambda index: str(index.name)):
        index.create(connection, checkfirst=True)
    connection.execute(versions.update().values(version=VERSION))


def _let_sqlite_writers_wait(engine: sa.Engine) -> None:
    """Take SQLite's write lock at once: two writers that began by reading could not both continue."""
    if sa.event.contains(engine, "begin", _begin_immediate):
        return
    sa.event.listen(engine, "connect", _leave_begin_to_sqlalchemy)
    sa.event.listen(engine, "begin", _begin_immediate)


def _leave_begin_to_sqlalchemy(connection: object, _: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]
    connection.execute("PRAGMA busy_timeout = 60000")  # type: ignore[attr-defined]


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
