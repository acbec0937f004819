"""The page's queries of a ledger. Every result has a maximum size.

Each query takes the DAGs that the user may read and returns nothing of others. Lists are paged by cursor and not by
offset, so a late page costs what the first one does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from airflow_provider_adjust.deliveries_page.filters import Cursor, Filters, decode_cursor, encode_cursor
from airflow_provider_adjust.s2s.ledger.ledger import CLAIM_EXPIRES
from airflow_provider_adjust.s2s.ledger.schema import deliveries, held

PAGE_SIZE = 50
#: Rows of day, kind of event and reason that one page can show.
MAX_COUNTS = 5000

_c = deliveries.c
_TASK = (_c.dag_id, _c.run_id, _c.task_id, _c.map_index)
_T = TypeVar("_T")
_EVENT = (_c.occurred_at, _c.app_token, _c.event_token, _c.environment, _c.event_id)


@dataclass(frozen=True, slots=True)
class Count:
    """Events of one kind, day, status and reason, and their revenue. ``held`` has neither reason nor revenue."""

    day: date
    app_token: str
    environment: str
    event_token: str
    status: str
    reason: str
    events: int
    currency: str | None = None
    revenue: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One task instance, and its events by status."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    events: dict[str, int]
    written_at: datetime


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of the ledger. The ledger holds no device ids."""

    occurred_at: datetime
    app_token: str
    event_token: str
    environment: str
    event_id: str
    status: str
    reason: str
    http_status: int | None
    revenue: Decimal | None
    currency: str | None
    dag_id: str
    run_id: str
    task_id: str
    map_index: int


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """One page of a list, and the cursor of the next page if there is one."""

    items: list[_T]
    after: str | None


def dags_in(connection: sa.Connection) -> list[str]:
    """Every DAG that has sent something, by name. The query jumps from DAG to DAG in the index and reads no other row."""
    first = sa.select(sa.func.min(_c.dag_id).label("dag_id")).cte("dags", recursive=True)
    following = sa.select(sa.func.min(_c.dag_id)).where(_c.dag_id > first.c.dag_id).scalar_subquery()
    dags = first.union_all(sa.select(following).where(first.c.dag_id.is_not(None)))
    found = connection.scalars(sa.select(dags.c.dag_id).where(dags.c.dag_id.is_not(None)))
    return sorted(dag_id for dag_id in found if dag_id)


def counts(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> list[Count]:
    """Events and revenue per day, kind of event, status and reason, the latest first; at most ``MAX_COUNTS``."""
    kind = (_c.app_token, _c.environment, _c.event_token)
    query = (
        sa.select(
            sa.func.date(_c.occurred_at).label("day"),
            *kind,
            _status(now).label("shown_status"),
            _c.reason,
            _c.currency,
            sa.func.count().label("events"),
            sa.func.sum(_c.revenue).label("revenue"),
        )
        .where(*_conditions(dag_ids, filters, now))
        # By column names: the expressions have parameters, and Postgres does not see that two of them are the same.
        .group_by("day", *kind, "shown_status", _c.reason, _c.currency)
        .order_by(sa.desc("day"), *kind)
        .limit(MAX_COUNTS)
    )
    return [
        Count(
            day=_as_date(found.day),
            app_token=found.app_token,
            environment=found.environment,
            event_token=found.event_token,
            status=found.shown_status,
            reason=found.reason,
            events=found.events,
            currency=found.currency,
            revenue=None if found.revenue is None else Decimal(str(found.revenue)),
        )
        for found in connection.execute(query)
    ]


def held_counts(connection: sa.Connection, dag_ids: Collection[str], filters: Filters) -> list[Count]:
    """Held events per day and kind. They are in no other count."""
    if filters.status is not None or filters.reason is not None:
        return []
    kind = (held.c.day, held.c.app_token, held.c.environment, held.c.event_token)
    query = (
        sa.select(*kind, sa.func.sum(held.c.events).label("events"))
        .where(*_held_conditions(dag_ids, filters))
        .group_by(*kind)
        .order_by(held.c.day.desc())
        .limit(MAX_COUNTS)
    )
    return [
        Count(found.day, found.app_token, found.environment, found.event_token, "held", "", int(found.events))
        for found in connection.execute(query)
    ]


def runs(
    connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime, *, with_held: bool
) -> Page[Run]:
    """Task instances and their events by status, by DAG and run, the last run first."""
    status = _status(now)
    query = (
        sa.select(
            *_TASK,
            *(
                sa.func.sum(sa.case((status == name, 1), else_=0)).label(name)
                for name in ("delivered", "duplicate", "rejected", "in_doubt", "sending")
            ),
            sa.func.max(_c.updated_at).label("written_at"),
        )
        .where(*_conditions(dag_ids, filters, now))
        .group_by(*_TASK)
        .order_by(*(column.desc() for column in _TASK))
        .limit(PAGE_SIZE + 1)
    )
    if filters.after is not None:
        query = query.where(sa.tuple_(*_TASK) < sa.tuple_(*decode_cursor(filters.after, (str, str, str, int))))
    found = connection.execute(query).all()
    were_held = _held_by(connection, found[:PAGE_SIZE], filters) if with_held else {}
    items = [
        Run(
            record.dag_id,
            record.run_id,
            record.task_id,
            record.map_index,
            {name: int(record._mapping[name]) for name in ("delivered", "duplicate", "rejected", "in_doubt", "sending")}
            | {"held": were_held.get(tuple(record[:4]), 0)},
            record.written_at,
        )
        for record in found[:PAGE_SIZE]
    ]
    return Page(items, _after(found, 4))


def _held_by(connection: sa.Connection, found: Iterable[Any], filters: Filters) -> dict[tuple[Any, ...], int]:
    """How many events each of these task instances held."""
    pairs = {(record.dag_id, record.run_id) for record in found}
    task = (held.c.dag_id, held.c.run_id, held.c.task_id, held.c.map_index)
    query = (
        sa.select(*task, sa.func.sum(held.c.events))
        .where(
            *_held_conditions({dag_id for dag_id, _ in pairs}, filters),
            held.c.run_id.in_({run_id for _, run_id in pairs}),
        )
        .group_by(*task)
    )
    return {tuple(record[:4]): int(record[4]) for record in connection.execute(query)}


def events(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> Page[EventRow]:
    """Events one by one, the earliest first."""
    shown = (_c.reason, _c.http_status, _c.revenue, _c.currency, *_TASK)
    query = (
        sa.select(*_EVENT, _status(now).label("shown_status"), *shown)
        .where(*_conditions(dag_ids, filters, now))
        .order_by(*_EVENT)
        .limit(PAGE_SIZE + 1)
    )
    if filters.after is not None:
        cursor = decode_cursor(filters.after, (datetime, str, str, str, str))
        # The first column is also compared alone: not every database uses an index for a comparison of whole rows.
        query = query.where(_c.occurred_at >= cursor[0], sa.tuple_(*_EVENT) > sa.tuple_(*cursor))
    found = connection.execute(query).all()
    return Page([EventRow(*record) for record in found[:PAGE_SIZE]], _after(found, len(_EVENT)))


def _after(found: Any, width: int) -> str | None:
    """The cursor of the next page: the sort key of this page's last row."""
    if len(found) <= PAGE_SIZE:
        return None
    cursor: Cursor = tuple(found[PAGE_SIZE - 1][:width])
    return encode_cursor(cursor)


def _status(now: datetime) -> sa.ColumnElement[str]:
    """The status to show. An expired claim means that its worker was lost, so its event is in doubt."""
    return sa.case((sa.and_(_c.status == "sending", _c.updated_at < now - CLAIM_EXPIRES), "in_doubt"), else_=_c.status)


def _conditions(dag_ids: Collection[str], filters: Filters, now: datetime) -> Iterable[sa.ColumnElement[bool]]:
    yield _c.dag_id.in_(sorted(dag_ids))
    for name in ("dag_id", "run_id", "task_id", "map_index", "app_token", "event_token", "environment", "reason"):
        if (value := getattr(filters, name)) is not None:
            yield _c[name] == value
    if filters.status is not None:
        yield _status(now) == filters.status
    if filters.first_day is not None:
        yield _c.occurred_at >= datetime.combine(filters.first_day, time())
    if filters.last_day is not None:
        yield _c.occurred_at < datetime.combine(filters.last_day, time()) + timedelta(days=1)


def _held_conditions(dag_ids: Collection[str], filters: Filters) -> Iterable[sa.ColumnElement[bool]]:
    yield held.c.dag_id.in_(sorted(dag_ids))
    for name in ("dag_id", "run_id", "task_id", "map_index", "app_token", "event_token", "environment"):
        if (value := getattr(filters, name)) is not None:
            yield held.c[name] == value
    if filters.first_day is not None:
        yield held.c.day >= filters.first_day
    if filters.last_day is not None:
        yield held.c.day <= filters.last_day


def _as_date(day: date | str) -> date:
    """The day as a date; SQLite returns text."""
    return day if isinstance(day, date) else date.fromisoformat(day)
