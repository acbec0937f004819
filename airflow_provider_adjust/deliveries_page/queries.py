"""The page's queries of a ledger. Every result has a maximum size.

Each query takes the DAGs that the user may read and returns nothing of others. Lists are paged by cursor and not by
offset, so a late page costs what the first one does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from airflow_provider_adjust.deliveries_page.filters import Cursor, Filters, decode_cursor, encode_cursor
from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS, deliveries, scopes, totals, tries
from airflow_provider_adjust.s2s.ledger.schema import events as event_table
from airflow_provider_adjust.s2s.ledger.tries import LOST, RUNNING

PAGE_SIZE = 50
#: Rows of day, kind of event and reason that one page can show.
MAX_COUNTS = 5000
#: The statuses of a run, in the order in which they are shown.
RUN_STATUSES = ("delivered", "duplicate", "rejected", "invalid", "expired", "in_doubt", "sending", "held")

_c = deliveries.c
_try = tries.c
_TASK = (_try.dag_id, _try.run_id, _try.task_id, _try.map_index)
_T = TypeVar("_T")
_EVENT = (_c.occurred_at, _c.app_token, _c.event_token, _c.environment, _c.event_id)
#: What Adjust has counts for each try; of what is missing, the last try knows.
_COUNTS = sa.or_(
    totals.c.outcome.in_(("delivered", "duplicate")), sa.and_(_try.is_latest, totals.c.outcome != "skipped")
)
#: A row that could not be read has no day of its own: it counts on the day on which its try began.
_DAY = sa.func.coalesce(totals.c.day, sa.func.date(_try.started_at, type_=sa.Date), type_=sa.Date)


@dataclass(frozen=True, slots=True)
class Count:
    """Events of one kind, day, status and reason, and their revenue. A row that could not be read is of no kind."""

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
    """One task instance, its events by status, and how its last try ended."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    events: dict[str, int]
    written_at: datetime
    state: str
    error: str


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
    """Every DAG that has tried to send something, by name."""
    return sorted(filter(None, connection.scalars(sa.select(_try.dag_id).distinct())))


def counts(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> list[Count]:
    """Events and revenue per day, kind of event, status and reason, the latest first; at most ``MAX_COUNTS``."""
    kind = [sa.func.coalesce(scopes.c[name], "").label(name) for name in ("app_token", "environment", "event_key")]
    query = (
        sa.select(
            _DAY.label("shown_day"),
            *kind,
            totals.c.outcome.label("shown_status"),
            totals.c.reason,
            totals.c.currency,
            sa.func.sum(totals.c.events).label("events"),
            sa.func.sum(totals.c.revenue).label("revenue"),
        )
        .join(tries, _try.id == totals.c.try_id)
        .join(scopes, scopes.c.id == totals.c.scope_id, isouter=True)
        .where(_COUNTS, *_conditions(dag_ids, filters, _DAY))
        .group_by(
            "shown_day", "app_token", "environment", "event_key", "shown_status", totals.c.reason, totals.c.currency
        )
        .order_by(sa.desc("shown_day"), "app_token", "environment", "event_key")
        .limit(MAX_COUNTS)
    )
    if filters.status is not None:
        query = query.where(totals.c.outcome == filters.status)
    if filters.reason is not None:
        query = query.where(totals.c.reason == filters.reason)
    found = [*connection.execute(query), *_unsettled(connection, dag_ids, filters, now)]
    return [
        Count(
            day=_as_date(each.shown_day),
            app_token=each.app_token,
            environment=each.environment,
            event_token=each.event_key,
            status=each.shown_status,
            reason=each.reason,
            events=int(each.events),
            currency=each.currency,
            revenue=None if each.revenue is None else Decimal(str(each.revenue)),
        )
        for each in found
    ]


def _unsettled(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> list[Any]:
    """Events that are claimed and not settled: being sent, or in doubt since their try was killed."""
    if filters.reason is not None or filters.status not in {None, "sending", "in_doubt"}:
        return []
    e = event_table.c
    day = sa.func.date(e.occurred_at, type_=sa.Date)
    status = sa.case((_is_alive(now), "sending"), else_="in_doubt")
    query = (
        sa.select(
            day.label("shown_day"),
            scopes.c.app_token,
            scopes.c.environment,
            scopes.c.event_key,
            status.label("shown_status"),
            sa.literal_column("''").label("reason"),
            e.currency,
            sa.func.count().label("events"),
            sa.func.sum(e.revenue).label("revenue"),
            *_TASK,
        )
        .join(tries, _try.id == e.try_id)
        .join(scopes, scopes.c.id == e.scope_id)
        .where(
            _try.state.in_((RUNNING, LOST)),
            e.status == STATUS_NUMBERS["sending"],
            *_conditions(dag_ids, filters, day),
        )
        .group_by(
            "shown_day",
            scopes.c.app_token,
            scopes.c.environment,
            scopes.c.event_key,
            "shown_status",
            e.currency,
            *_TASK,
        )
    )
    return [each for each in connection.execute(query) if filters.status in {None, each.shown_status}]


def runs(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> Page[Run]:
    """Task instances and their events by status, by DAG and run, the last run first. One that sent nothing is there, too."""
    of_status = totals.c.outcome == filters.status if filters.status else sa.true()
    of_reason = totals.c.reason == filters.reason if filters.reason else sa.true()
    settled = [name for name in RUN_STATUSES if name != "sending"]
    query = (
        sa.select(
            *_TASK,
            *(
                sa.func.sum(
                    sa.case(
                        (sa.and_(totals.c.outcome == name, _COUNTS, of_status, of_reason), totals.c.events), else_=0
                    )
                ).label(name)
                for name in settled
            ),
            sa.func.max(sa.func.coalesce(_try.ended_at, _try.heartbeat_at)).label("written_at"),
            sa.func.max(_try.id).label("last_try"),
        )
        .select_from(tries)
        .join(totals, totals.c.try_id == _try.id, isouter=True)
        .join(scopes, scopes.c.id == totals.c.scope_id, isouter=True)
        .where(*_conditions(dag_ids, filters, _DAY))
        .group_by(*_TASK)
        .order_by(*(column.desc() for column in _TASK))
        .limit(PAGE_SIZE + 1)
    )
    if filters.status is not None or filters.reason is not None:
        query = query.where(of_status, of_reason, _COUNTS)
    if filters.after is not None:
        cursor = decode_cursor(filters.after, (str, str, str, int))
        query = query.where(sa.tuple_(*_TASK) < sa.tuple_(*map(sa.literal, cursor)))
    found = connection.execute(query).all()
    shown = found[:PAGE_SIZE]
    open_events = _unsettled_by_task(connection, dag_ids, filters, now)
    ends = _ends(connection, [record.last_try for record in shown], now)
    items = [
        Run(
            record.dag_id,
            record.run_id,
            record.task_id,
            record.map_index,
            {name: int(record._mapping[name]) for name in settled} | {"sending": 0},
            record.written_at,
            *ends[record.last_try],
        )
        for record in shown
    ]
    for run in items:
        for status, events_of_status in open_events.get(
            (run.dag_id, run.run_id, run.task_id, run.map_index), {}
        ).items():
            run.events[status] += events_of_status
    return Page(items, _after(found, 4))


def _unsettled_by_task(
    connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime
) -> dict[tuple[Any, ...], Counter[str]]:
    found: dict[tuple[Any, ...], Counter[str]] = {}
    for each in _unsettled(connection, dag_ids, filters, now):
        key = (each.dag_id, each.run_id, each.task_id, each.map_index)
        found.setdefault(key, Counter())[each.shown_status] += each.events
    return found


def _ends(connection: sa.Connection, ids: Collection[int], now: datetime) -> dict[int, tuple[str, str]]:
    """How each try ended: its state and its error. If its lease ran out, it was killed."""
    state = sa.case((sa.and_(_try.ended_at.is_(None), ~_is_alive(now)), LOST), else_=_try.state)
    query = sa.select(_try.id, state, _try.error).where(_try.id.in_(ids))
    return {number: (state, error) for number, state, error in connection.execute(query)}


def _is_alive(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(_try.ended_at.is_(None), _try.lease_until >= now)


def events(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> Page[EventRow]:
    """Events one by one, the earliest first."""
    shown = (
        _c.status,
        _c.reason,
        _c.http_status,
        _c.revenue,
        _c.currency,
        _c.dag_id,
        _c.run_id,
        _c.task_id,
        _c.map_index,
    )
    query = (
        sa.select(*_EVENT, *shown)
        .where(_c.dag_id.in_(sorted(dag_ids)), *_day_conditions(filters, _c.occurred_at))
        .order_by(*_EVENT)
        .limit(PAGE_SIZE + 1)
    )
    for name in (*_TASK_FILTERS, *_KIND_FILTERS, "status", "reason"):
        if (value := getattr(filters, name)) is not None:
            query = query.where(_c[name] == value)
    if filters.after is not None:
        cursor = decode_cursor(filters.after, (datetime, str, str, str, str))
        # The first column is also compared alone: not every database uses an index for a comparison of whole rows.
        query = query.where(_c.occurred_at >= cursor[0], sa.tuple_(*_EVENT) > sa.tuple_(*map(sa.literal, cursor)))
    found = connection.execute(query).all()
    return Page([EventRow(*tuple(record)) for record in found[:PAGE_SIZE]], _after(found, len(_EVENT)))


def _after(found: Any, width: int) -> str | None:
    """The cursor of the next page: the sort key of this page's last row."""
    if len(found) <= PAGE_SIZE:
        return None
    cursor: Cursor = tuple(found[PAGE_SIZE - 1][:width])
    return encode_cursor(cursor)


_TASK_FILTERS = ("dag_id", "run_id", "task_id", "map_index")
_KIND_FILTERS = ("app_token", "event_token", "environment")


def _conditions(
    dag_ids: Collection[str], filters: Filters, day: sa.ColumnElement[Any]
) -> Iterable[sa.ColumnElement[bool]]:
    """The filters on the task, the kind of event and the day."""
    yield _try.dag_id.in_(sorted(dag_ids))
    for name in _TASK_FILTERS:
        if (value := getattr(filters, name)) is not None:
            yield _try[name] == value
    for name in _KIND_FILTERS:
        if (value := getattr(filters, name)) is not None:
            yield scopes.c["event_key" if name == "event_token" else name] == value
    if filters.first_day is not None:
        yield day >= filters.first_day
    if filters.last_day is not None:
        yield day <= filters.last_day


def _day_conditions(filters: Filters, moment: sa.ColumnElement[Any]) -> Iterable[sa.ColumnElement[bool]]:
    """The filters on the day of a moment, so that an index on it can be used."""
    if filters.first_day is not None:
        yield moment >= datetime.combine(filters.first_day, time())
    if filters.last_day is not None:
        yield moment < datetime.combine(filters.last_day, time()) + timedelta(days=1)


def _as_date(day: date | str) -> date:
    """The day as a date; SQLite returns text."""
    return day if isinstance(day, date) else date.fromisoformat(day)
