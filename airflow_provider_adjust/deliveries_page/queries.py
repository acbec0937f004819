"""What the ledger says, in queries whose answers are bounded.

Each takes the DAGs whose deliveries may be shown, and none can be asked without. Lists are paged by where the last page
ended, not by a count of rows to pass over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from airflow_provider_adjust.deliveries_page.choice import Cursor, Filters, cursor_of, page_after
from airflow_provider_adjust.s2s.ledger.ledger import CLAIM_EXPIRES
from airflow_provider_adjust.s2s.ledger.schema import deliveries, held

PAGE_SIZE = 50
#: Days by kinds of events by reasons; a page with more would help nobody.
MOST_COUNTS = 5000

_c = deliveries.c
_TASK = (_c.dag_id, _c.run_id, _c.task_id, _c.map_index)
_T = TypeVar("_T")
_EVENT = (_c.occurred_at, _c.app_token, _c.event_token, _c.environment, _c.event_id)


@dataclass(frozen=True, slots=True)
class Count:
    """How many events of one kind and day came to one end, and their revenue. ``held`` has neither reason nor revenue."""

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
    """What one task instance came to."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    events: dict[str, int]
    written_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """One event as the ledger knows it; there is no device in it."""

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
    """A part of a list, and where the next part begins, if there is one."""

    items: list[_T]
    after: str | None


def dags_in(connection: sa.Connection) -> list[str]:
    """Every DAG that has sent something, by name. Goes from one to the next in the index, past all the rows between."""
    first = sa.select(sa.func.min(_c.dag_id).label("dag_id")).cte("dags", recursive=True)
    following = sa.select(sa.func.min(_c.dag_id)).where(_c.dag_id > first.c.dag_id).scalar_subquery()
    dags = first.union_all(sa.select(following).where(first.c.dag_id.is_not(None)))
    found = connection.scalars(sa.select(dags.c.dag_id).where(dags.c.dag_id.is_not(None)))
    return sorted(dag_id for dag_id in found if dag_id)


def counts(connection: sa.Connection, dag_ids: Collection[str], choice: Filters, now: datetime) -> list[Count]:
    """Events and revenue per day, kind of event, end and reason; at most ``MOST_COUNTS``, the latest first."""
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
        .where(*_chosen(dag_ids, choice, now))
        # By the names of the columns above: their expressions have parameters, and Postgres could not tell that two are one.
        .group_by("day", *kind, "shown_status", _c.reason, _c.currency)
        .order_by(sa.desc("day"), *kind)
        .limit(MOST_COUNTS)
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


def held_counts(connection: sa.Connection, dag_ids: Collection[str], choice: Filters) -> list[Count]:
    """Events per day and kind that were held, and so are in no other count."""
    if choice.status is not None or choice.reason is not None:
        return []
    kind = (held.c.day, held.c.app_token, held.c.environment, held.c.event_token)
    query = (
        sa.select(*kind, sa.func.sum(held.c.events).label("events"))
        .where(*_chosen_of_held(dag_ids, choice))
        .group_by(*kind)
        .order_by(held.c.day.desc())
        .limit(MOST_COUNTS)
    )
    return [
        Count(found.day, found.app_token, found.environment, found.event_token, "held", "", int(found.events))
        for found in connection.execute(query)
    ]


def runs(
    connection: sa.Connection, dag_ids: Collection[str], choice: Filters, now: datetime, *, with_held: bool
) -> Page[Run]:
    """Task instances and what they came to, by DAG and run, the last run first."""
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
        .where(*_chosen(dag_ids, choice, now))
        .group_by(*_TASK)
        .order_by(*(column.desc() for column in _TASK))
        .limit(PAGE_SIZE + 1)
    )
    if choice.after is not None:
        query = query.where(sa.tuple_(*_TASK) < sa.tuple_(*cursor_of(choice.after, (str, str, str, int))))
    found = connection.execute(query).all()
    were_held = _held_by(connection, found[:PAGE_SIZE], choice) if with_held else {}
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


def _held_by(connection: sa.Connection, found: Iterable[Any], choice: Filters) -> dict[tuple[Any, ...], int]:
    """What these task instances held."""
    pairs = {(record.dag_id, record.run_id) for record in found}
    task = (held.c.dag_id, held.c.run_id, held.c.task_id, held.c.map_index)
    query = (
        sa.select(*task, sa.func.sum(held.c.events))
        .where(
            *_chosen_of_held({dag_id for dag_id, _ in pairs}, choice),
            held.c.run_id.in_({run_id for _, run_id in pairs}),
        )
        .group_by(*task)
    )
    return {tuple(record[:4]): int(record[4]) for record in connection.execute(query)}


def events(connection: sa.Connection, dag_ids: Collection[str], choice: Filters, now: datetime) -> Page[Event]:
    """Events one by one, the earliest first."""
    shown = (_c.reason, _c.http_status, _c.revenue, _c.currency, *_TASK)
    query = (
        sa.select(*_EVENT, _status(now).label("shown_status"), *shown)
        .where(*_chosen(dag_ids, choice, now))
        .order_by(*_EVENT)
        .limit(PAGE_SIZE + 1)
    )
    if choice.after is not None:
        place = cursor_of(choice.after, (datetime, str, str, str, str))
        # The first of them by itself, too: not every database finds its place in an index by the whole.
        query = query.where(_c.occurred_at >= place[0], sa.tuple_(*_EVENT) > sa.tuple_(*place))
    found = connection.execute(query).all()
    return Page([Event(*record) for record in found[:PAGE_SIZE]], _after(found, len(_EVENT)))


def _after(found: Any, width: int) -> str | None:
    """Where the next page begins: behind the last row that this one shows."""
    if len(found) <= PAGE_SIZE:
        return None
    place: Cursor = tuple(found[PAGE_SIZE - 1][:width])
    return page_after(place)


def _status(now: datetime) -> sa.ColumnElement[str]:
    """The status as it is shown: an old claim belongs to a worker that was lost, and its event is in doubt."""
    return sa.case((sa.and_(_c.status == "sending", _c.updated_at < now - CLAIM_EXPIRES), "in_doubt"), else_=_c.status)


def _chosen(dag_ids: Collection[str], choice: Filters, now: datetime) -> Iterable[sa.ColumnElement[bool]]:
    yield _c.dag_id.in_(sorted(dag_ids))
    for name in ("dag_id", "run_id", "task_id", "map_index", "app_token", "event_token", "environment", "reason"):
        if (value := getattr(choice, name)) is not None:
            yield _c[name] == value
    if choice.status is not None:
        yield _status(now) == choice.status
    if choice.first_day is not None:
        yield _c.occurred_at >= datetime.combine(choice.first_day, time())
    if choice.last_day is not None:
        yield _c.occurred_at < datetime.combine(choice.last_day, time()) + timedelta(days=1)


def _chosen_of_held(dag_ids: Collection[str], choice: Filters) -> Iterable[sa.ColumnElement[bool]]:
    yield held.c.dag_id.in_(sorted(dag_ids))
    for name in ("dag_id", "run_id", "task_id", "map_index", "app_token", "event_token", "environment"):
        if (value := getattr(choice, name)) is not None:
            yield held.c[name] == value
    if choice.first_day is not None:
        yield held.c.day >= choice.first_day
    if choice.last_day is not None:
        yield held.c.day <= choice.last_day


def _as_date(day: date | str) -> date:
    """SQLite has no dates, only their text."""
    return day if isinstance(day, date) else date.fromisoformat(day)
