"""The ledger's tables and its view, and their creation.

Times are UTC without an offset, since not every database stores one. Texts that are part of a key are compared byte by byte,
on every database.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles

from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

metadata = sa.MetaData()
#: The databases that can hold a ledger: they have row locks, enforced unique keys, and a comparison byte by byte.
DIALECTS = ("postgresql", "sqlite", "mysql", "mariadb")


class Name(sa.String):
    """Text that is compared byte by byte, including case, accents and trailing spaces."""


class _MySqlName(mysql.VARCHAR):
    """The same on MySQL and MariaDB, where most binary collations still ignore trailing spaces."""


@compiles(_MySqlName, "mysql", "mariadb")
def _mysql_name(name: _MySqlName, compiler: Any, **_: Any) -> str:
    collation = "utf8mb4_nopad_bin" if compiler.dialect.is_mariadb else "utf8mb4_0900_bin"
    return f"VARCHAR({name.length}) CHARACTER SET utf8mb4 COLLATE {collation}"


def _text(length: int) -> sa.String:
    return (
        Name(length)
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(_MySqlName(length), "mysql", "mariadb")
    )


def _moment() -> sa.DateTime:
    """A time with microseconds, which MySQL leaves out unless asked."""
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


LONGEST_RATE_GROUP = 64

#: SQLite generates numbers only in a column of type INTEGER.
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: Scopes, a handful of rows. Event ids are unique within a scope. ``destination`` is the host of Adjust's endpoint, since
#: Adjust does not have the events of a rehearsal. ``event_key`` is the value of the endpoint's key, such as the event token.
#: ``event_name`` and ``conn_id`` are the names of the event and the app for people: the last ones seen, or empty.
scopes = sa.Table(
    "adjust_scope",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("destination", _text(255), nullable=False),
    sa.Column("app_token", _text(64), nullable=False),
    sa.Column("endpoint", _text(32), nullable=False),
    sa.Column("event_key", _text(64), nullable=False),
    sa.Column("environment", _text(16), nullable=False),
    sa.Column("event_name", _text(250), nullable=False, server_default=""),
    sa.Column("conn_id", _text(250), nullable=False, server_default=""),
    sa.UniqueConstraint("destination", "app_token", "endpoint", "event_key", "environment", name="uq_adjust_scope"),
)
#: The name of a scope for people: the event token of events, or the name of another endpoint.
shown_key = sa.case((scopes.c.endpoint == sa.literal_column("'event'"), scopes.c.event_key), else_=scopes.c.endpoint)
#: All reasons so far, so that an event stores a number instead of a text.
reasons = sa.Table(
    "adjust_reason",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("code", _text(64), nullable=False),
    sa.UniqueConstraint("code", name="uq_adjust_reason"),
)
#: One row for each try of a sending task, even if it sent nothing. ``lease_until`` is the time at which its claims expire
#: unless renewed. ``is_latest``: no later try of the same task instance has begun. ``digest_keys`` has the comma-separated ids
#: of its digest keys; older providers had none. ``ids_are_digests``: its rows had no ids. ``environment`` has its
#: environments, comma-separated; empty if each row names it, or while it is not known. ``rate_group`` names the tries that
#: share one rate limit; empty for a try without a group.
tries = sa.Table(
    "adjust_try",
    metadata,
    sa.Column("id", _number, primary_key=True),
    sa.Column("dag_id", _text(250), nullable=False),
    sa.Column("run_id", _text(250), nullable=False),
    sa.Column("task_id", _text(250), nullable=False),
    sa.Column("map_index", sa.Integer, nullable=False),
    sa.Column("try_number", sa.Integer, nullable=False),
    sa.Column("state", _text(16), nullable=False),
    sa.Column("is_latest", sa.Boolean, nullable=False),
    sa.Column("started_at", _moment(), nullable=False),
    sa.Column("heartbeat_at", _moment(), nullable=False),
    sa.Column("lease_until", _moment(), nullable=False),
    sa.Column("ended_at", _moment()),
    sa.Column("read", sa.BigInteger, nullable=False),
    sa.Column("error", sa.String(500), nullable=False),
    sa.Column("rejected_path", sa.String(1000), nullable=False),
    sa.Column("digest_keys", sa.String(2000), nullable=False, server_default=""),
    sa.Column("ids_are_digests", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("environment", _text(32), nullable=False, server_default=""),
    sa.Column("rate_group", _text(LONGEST_RATE_GROUP), nullable=False, server_default=""),
    sa.Index("ix_adjust_try_run", "dag_id", "run_id"),
    sa.Index("ix_adjust_try_started", "started_at"),
    sa.Index("ix_adjust_try_rate_group", "rate_group", "ended_at"),
)
#: The counts of a try, for all outcomes. ``day`` is the UTC day on which the events happened; a row that could not be read has
#: neither day nor scope. ``number`` numbers a try's totals.
totals = sa.Table(
    "adjust_total",
    metadata,
    sa.Column("try_id", _number, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("scope_id", sa.Integer),
    sa.Column("day", sa.Date),
    sa.Column("outcome", _text(16), nullable=False),
    sa.Column("reason", _text(64), nullable=False),
    sa.Column("currency", _text(3)),
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("revenue", sa.Numeric(38, 10)),
    sa.Index("ix_adjust_total_day", "day"),
)
#: One row for each event that was ever claimed. ``try_id`` and ``position`` are the try that claimed it, and the row of its
#: input. ``lost_answers`` counts its requests without a known answer, over all tries. ``sent_at`` is the time that was sent if
#: the event was late, or shares its second with another event of its lanes.
events = sa.Table(
    "adjust_event",
    metadata,
    # This order of columns saves space: Postgres aligns an 8-byte value to a multiple of 8.
    sa.Column("occurred_at", _moment(), nullable=False, index=True),
    sa.Column("sent_at", _moment()),
    sa.Column("content", sa.BigInteger),
    sa.Column("try_id", _number, nullable=False, index=True),
    sa.Column("scope_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("status", sa.SmallInteger, nullable=False),
    sa.Column("reason", sa.SmallInteger, nullable=False),
    sa.Column("http_status", sa.SmallInteger),
    sa.Column("lost_answers", sa.SmallInteger, nullable=False),
    sa.Column("event_id", _text(255), primary_key=True),
    sa.Column("currency", _text(3)),
    sa.Column("revenue", sa.Numeric(38, 10)),
)
_has_other_time = events.c.sent_at.is_not(None)
sa.Index("ix_adjust_event_sent_at", events.c.sent_at, postgresql_where=_has_other_time, sqlite_where=_has_other_time)
#: The time at which Adjust books an event.
booked_at = sa.func.coalesce(events.c.sent_at, events.c.occurred_at)
#: The devices for which nothing is sent any more: they opted out, or were erased. ``device`` is a digest of the id's kind and
#: the id, made with the key that ``digest_key`` names; the id itself is not stored. A row applies to an app and environment;
#: ``destination`` is empty for Adjust, through any host, and ``loopback`` for a stand-in on this machine.
suppressions = sa.Table(
    "adjust_suppression",
    metadata,
    sa.Column("app_token", _text(64), primary_key=True),
    sa.Column("environment", _text(16), primary_key=True),
    sa.Column("destination", _text(16), primary_key=True),
    sa.Column("device", _text(64), primary_key=True),
    sa.Column("digest_key", _text(16), nullable=False),
    sa.Column("reason", _text(64), nullable=False),
    sa.Column("since", _moment(), nullable=False, index=True),
)
#: The last time that was sent for each lane, a device id and a scope, so that a late event is recognised before it is sent.
#: ``lane`` is a keyed digest of 64 bits.
lanes = sa.Table(
    "adjust_lane",
    metadata,
    sa.Column("last_at", _moment(), nullable=False, index=True),
    sa.Column("lane", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("scope_id", sa.Integer, primary_key=True, autoincrement=False),
)
#: One row for each requested erasure of a device: who requested it, when, and Adjust's answer. It is never pruned. ``device``
#: as in ``adjust_suppression``. ``status`` is ``waiting`` until the device's turn at ``asked_at``, then ``asked`` until the
#: answer is known.
erasures = sa.Table(
    "adjust_erasure",
    metadata,
    sa.Column("id", _number, primary_key=True),
    sa.Column("destination", _text(255), nullable=False),
    sa.Column("app_token", _text(64), nullable=False),
    sa.Column("environment", _text(16), nullable=False),
    sa.Column("device", _text(64), nullable=False),
    sa.Column("digest_key", _text(16), nullable=False),
    sa.Column("id_type", _text(32), nullable=False),
    sa.Column("status", _text(16), nullable=False),
    sa.Column("http_status", sa.SmallInteger),
    sa.Column("asked_at", _moment(), nullable=False, index=True),
    sa.Column("answered_at", _moment()),
    sa.Column("asked_by", _text(250), nullable=False),
    sa.Column("dag_id", _text(250), nullable=False),
    sa.Column("run_id", _text(250), nullable=False),
    sa.Column("task_id", _text(250), nullable=False),
    sa.UniqueConstraint("destination", "app_token", "environment", "device", name="uq_adjust_erasure"),
)
#: The last comparison with Adjust, for each scope, day and currency. ``source`` is ``report`` or ``export``; ``verdict`` a
#: word of the comparison; ``zone`` the time zone of the day. ``currency`` is empty if there is none.
verdicts = sa.Table(
    "adjust_verdict",
    metadata,
    sa.Column("scope_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("source", _text(16), primary_key=True),
    sa.Column("currency", _text(3), primary_key=True),
    sa.Column("verdict", _text(32), nullable=False),
    sa.Column("checked_at", _moment(), nullable=False),
    sa.Column("sent_events", sa.BigInteger),
    sa.Column("sent_revenue", sa.Numeric(38, 10)),
    sa.Column("seen_events", sa.BigInteger),
    sa.Column("seen_revenue", sa.Numeric(38, 10)),
    sa.Column("zone", _text(64), nullable=False, server_default="UTC"),
    sa.Column("dag_id", _text(250), nullable=False),
    sa.Column("run_id", _text(250), nullable=False),
    sa.Column("task_id", _text(250), nullable=False),
)
#: One row: the schema version of the tables.
versions = sa.Table("adjust_ledger_version", metadata, sa.Column("version", sa.Integer, primary_key=True))
#: 1 and 2: one wide table, ``adjust_delivery``. 3: the tables above, and a view of that name. 4: tries record their digest
#: keys. 5: names, rate groups, suppressed devices, lanes, erasures and verdicts.
VERSION = 5

#: The status of a claimed event until it is settled.
SENDING = "sending"
#: The numbers of the statuses in ``adjust_event``.
STATUS_NUMBERS = {
    SENDING: 0,
    Outcome.DELIVERED.value: 1,
    Outcome.DUPLICATE.value: 2,
    Outcome.REJECTED.value: 3,
    Outcome.IN_DOUBT.value: 4,
}
STATUSES = {number: name for name, number in STATUS_NUMBERS.items()}

#: The view, with readable values for queries. Events that a dead try was sending are in doubt.
deliveries = sa.Table(
    "adjust_delivery",
    sa.MetaData(),
    sa.Column("destination", sa.String),
    sa.Column("app_token", sa.String),
    sa.Column("endpoint", sa.String),
    sa.Column("event_token", sa.String),
    sa.Column("environment", sa.String),
    sa.Column("event_id", sa.String),
    sa.Column("status", sa.String),
    sa.Column("reason", sa.String),
    sa.Column("http_status", sa.Integer),
    sa.Column("occurred_at", sa.DateTime),
    sa.Column("revenue", sa.Numeric(38, 10)),
    sa.Column("currency", sa.String),
    sa.Column("dag_id", sa.String),
    sa.Column("run_id", sa.String),
    sa.Column("task_id", sa.String),
    sa.Column("map_index", sa.Integer),
    sa.Column("try_number", sa.Integer),
    sa.Column("updated_at", sa.DateTime),
)
_VIEW = """
CREATE VIEW adjust_delivery AS
SELECT s.destination, s.app_token, s.endpoint,
  CASE s.endpoint WHEN 'event' THEN s.event_key ELSE '' END AS event_token, s.environment, e.event_id,
  CASE e.status WHEN 1 THEN 'delivered' WHEN 2 THEN 'duplicate' WHEN 3 THEN 'rejected' WHEN 4 THEN 'in_doubt'
    ELSE CASE WHEN t.ended_at IS NULL AND t.lease_until >= {now} THEN 'sending' ELSE 'in_doubt' END END AS status,
  COALESCE(r.code, '') AS reason, e.http_status, e.occurred_at, e.revenue, e.currency,
  t.dag_id, t.run_id, t.task_id, t.map_index, t.try_number, COALESCE(t.ended_at, t.heartbeat_at) AS updated_at
FROM adjust_event e
JOIN adjust_scope s ON s.id = e.scope_id
JOIN adjust_try t ON t.id = e.try_id
LEFT JOIN adjust_reason r ON r.id = e.reason
"""
_NOW = {
    "postgresql": "(now() AT TIME ZONE 'UTC')",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "mysql": "UTC_TIMESTAMP(6)",
    "mariadb": "UTC_TIMESTAMP(6)",
}
_T = TypeVar("_T")


def is_booked_between(start: datetime, end: datetime) -> sa.ColumnElement[bool]:
    """Whether Adjust books the event in this time; two conditions, since each has its index."""
    since, until = (moment.astimezone(UTC).replace(tzinfo=None) for moment in (start, end))
    own, sent = events.c.occurred_at, events.c.sent_at
    return sa.or_(
        sa.and_(sent.is_(None), own >= since, own < until),
        sa.and_(sent >= since, sent < until),
    )


def database_now(connection: sa.Connection) -> datetime:
    """The database's clock, in UTC. It decides on leases, since workers' clocks may differ by minutes.

    SQLite uses the clock of the local machine, on which all its users run.
    """
    if connection.dialect.name == "postgresql":
        now = connection.scalar(sa.text("SELECT clock_timestamp() AT TIME ZONE 'UTC'"))
    elif connection.dialect.name == "sqlite":
        now = datetime.now(UTC).replace(tzinfo=None)
    else:
        now = connection.scalar(sa.text("SELECT UTC_TIMESTAMP(6)"))
    assert isinstance(now, datetime)  # noqa: S101 - for mypy
    return now


def create_view(connection: sa.Connection) -> None:
    """Create the view ``adjust_delivery``."""
    # Without parameters, so that no driver interprets the percent signs.
    connection.execution_options(no_parameters=True).exec_driver_sql(_VIEW.format(now=_NOW[connection.dialect.name]))


def drop_all(connection: sa.Connection) -> None:
    """Drop the view and the tables of every version."""
    for kind, name in existing(connection):
        connection.exec_driver_sql(f"DROP {kind} {name}")


def existing(connection: sa.Connection) -> list[tuple[str, str]]:
    """The existing parts of the ledger, by kind and name, a view before the tables that it reads."""
    inspector = sa.inspect(connection)
    names = {*metadata.tables, "adjust_delivery", "adjust_delivery_2", "adjust_held"}
    views, tables = set(inspector.get_view_names()), set(inspector.get_table_names())
    return [("VIEW", name) for name in sorted(names & views)] + [("TABLE", name) for name in sorted(names & tables)]


def refuse_unfit(engine: sa.Engine) -> None:
    """Refuse a database that cannot hold a ledger.

    :raises AdjustConfigurationError: it is not one of ``DIALECTS``.
    """
    if engine.dialect.name not in DIALECTS:
        raise AdjustConfigurationError(
            f"a ledger needs Postgres, SQLite, MySQL or MariaDB, and ledger_conn_id leads to {engine.dialect.name}: "
            "take another database"
        )


def set_up(engine: sa.Engine) -> None:
    """Configure the engine's connections for the ledger. It may be called again."""
    if engine.dialect.name == "sqlite":
        _listen_once(engine, "begin", _begin_immediate)
        on_connect = _leave_begin_to_sqlalchemy
    elif engine.dialect.name == "postgresql":
        on_connect = _prepare_nothing
    else:
        on_connect = _read_committed
    if _listen_once(engine, "connect", on_connect):
        engine.dispose()  # connections that were opened before are not configured


def _listen_once(engine: sa.Engine, name: str, listener: Callable[..., None]) -> bool:
    """Register the listener; return False if it was registered before."""
    if sa.event.contains(engine, name, listener):
        return False
    sa.event.listen(engine, name, listener)
    return True


def _leave_begin_to_sqlalchemy(connection: object, _: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]
    connection.execute("PRAGMA busy_timeout = 60000")  # type: ignore[attr-defined]


def _begin_immediate(connection: sa.Connection) -> None:
    """Take SQLite's write lock immediately, since two writers that began by reading could not both continue."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare_nothing(connection: object, _: object) -> None:
    """Disable prepared statements: PgBouncer in transaction mode runs each transaction on another server, which lacks them."""
    if hasattr(connection, "prepare_threshold"):  # psycopg 3; psycopg2 prepares nothing
        connection.prepare_threshold = None


def _read_committed(connection: object, _: object) -> None:
    """MySQL's default level would lock the gaps between rows, and tasks would wait for each other."""
    with connection.cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")


def retry_once(work: Callable[[], _T]) -> _T:
    """Retry once, since several mapped tasks may begin together, and one was faster. A permanent error is raised by the second
    attempt."""
    try:
        return work()
    except DBAPIError:
        return work()
