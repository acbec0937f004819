"""The page's queries of a ledger. Every result has a maximum size.

Each query takes the DAGs that the user may read and returns nothing of others: the database selects them, and each row is
compared once more here. Lists are paged by cursor and not by offset, so a late page costs what the first one does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from airflow_provider_adjust.deliveries_page.filters import Cursor, Filters, InvalidCursor, decode_cursor, encode_cursor
from airflow_provider_adjust.s2s.ledger.schema import (
    SHOWN_KEY,
    STATUS_NUMBERS,
    STATUSES,
    reasons,
    scopes,
    totals,
    tries,
)
from airflow_provider_adjust.s2s.ledger.schema import events as event_table
from airflow_provider_adjust.s2s.ledger.tries import LOST, RUNNING

PAGE_SIZE = 50
#: Rows of day, DAG, kind of event and reason that one page can sum up.
MAX_COUNTS = 10_000
#: The statuses of a run, in the order in which they are shown.
RUN_STATUSES = ("delivered", "duplicate", "rejected", "invalid", "expired", "in_doubt", "sending", "held")

_event = event_table.c
_try = tries.c
_TASK = (_try.dag_id, _try.run_id, _try.task_id, _try.map_index)
_T = TypeVar("_T")
#: Where an event came from: the time, the try and the row of its input. Events of an older ledger have no row.
_PLACE = (_event.occurred_at, _event.try_id, _event.position)
#: Events of one place that a cursor can pass; only an older ledger has more than one.
_MOST_PASSED = 1_000_000
#: What Adjust has counts for each try; of what is missing, the last try knows.
COUNTED = sa.or_(
    totals.c.outcome.in_(("delivered", "duplicate")), sa.and_(_try.is_latest, totals.c.outcome != "skipped")
)
#: A row that could not be read is of no scope: it has the environment that its try was set up for.
ENVIRONMENT = sa.func.coalesce(scopes.c.environment, _try.environment, "")
#: A row that could not be read has no day of its own: it counts on the day on which its try began.
_DAY = sa.func.coalesce(totals.c.day, sa.func.date(_try.started_at, type_=sa.Date), type_=sa.Date)


@dataclass(frozen=True, slots=True)
class Count:
    """Events of one DAG, kind, day, status and reason, and their revenue. A row that could not be read is of no kind."""

    dag_id: str
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


def has_senders_outside_dags(connection: sa.Connection) -> bool:
    """Whether something was sent from the command line, which has an empty name in the place of a DAG's."""
    return connection.scalar(sa.select(_try.id).where(_try.dag_id == "").limit(1)) is not None


def counts(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> list[Count]:
    """Events and revenue per day, kind of event, status and reason, the latest first; at most ``MAX_COUNTS``."""
    kind = (
        sa.func.coalesce(scopes.c.app_token, "").label("app_token"),
        ENVIRONMENT.label("shown_environment"),
        sa.func.coalesce(SHOWN_KEY, "").label("shown_key"),
    )
    query = (
        sa.select(
            _try.dag_id,
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
        .where(COUNTED, *_conditions(dag_ids, filters, _DAY))
        .group_by(
            _try.dag_id,
            "shown_day",
            "app_token",
            "shown_environment",
            "shown_key",
            "shown_status",
            totals.c.reason,
            totals.c.currency,
        )
        .order_by(sa.desc("shown_day"), "app_token", "shown_environment", "shown_key")
        .limit(MAX_COUNTS)
    )
    if filters.status is not None:
        query = query.where(totals.c.outcome == filters.status)
    if filters.reason is not None:
        query = query.where(totals.c.reason == filters.reason)
    found = [*of_dags(dag_ids, connection.execute(query)), *_unsettled(connection, dag_ids, filters, now)]
    return [
        Count(
            dag_id=each.dag_id,
            day=_as_date(each.shown_day),
            app_token=each.app_token,
            environment=each.shown_environment,
            event_token=each.shown_key,
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
    status = sa.case((is_alive(now), "sending"), else_="in_doubt")
    query = (
        sa.select(
            day.label("shown_day"),
            scopes.c.app_token,
            scopes.c.environment.label("shown_environment"),
            SHOWN_KEY.label("shown_key"),
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
            "shown_key",
            "shown_status",
            e.currency,
            *_TASK,
        )
    )
    return [each for each in of_dags(dag_ids, connection.execute(query)) if filters.status in {None, each.shown_status}]


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
                        (sa.and_(totals.c.outcome == name, COUNTED, of_status, of_reason), totals.c.events), else_=0
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
        query = query.where(of_status, of_reason, COUNTED)
    if filters.after is not None:
        query = query.where(sa.tuple_(*_TASK) < sa.tuple_(*decode_cursor(filters.after, (str, str, str, int))))
    found = connection.execute(query).all()
    shown = of_dags(dag_ids, found[:PAGE_SIZE])
    open_events = _unsettled_by_task(connection, dag_ids, filters, now)
    ends = _ends(connection, [record.last_try for record in shown], now)
    items = [
        Run(
            dag_id=record.dag_id,
            run_id=record.run_id,
            task_id=record.task_id,
            map_index=record.map_index,
            events={name: int(record._mapping[name]) for name in settled} | {"sending": 0},
            written_at=record.written_at,
            state=ends[record.last_try][0],
            error=ends[record.last_try][1],
        )
        for record in shown
    ]
    for run in items:
        for status, events_of_status in open_events.get(
            (run.dag_id, run.run_id, run.task_id, run.map_index), {}
        ).items():
            run.events[status] += events_of_status
    after = encode_cursor(tuple(shown[-1][:4])) if shown and len(found) > PAGE_SIZE else None
    return Page(items, after)


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
    state = sa.case((sa.and_(_try.ended_at.is_(None), ~is_alive(now)), LOST), else_=_try.state)
    query = sa.select(_try.id, state, _try.error).where(_try.id.in_(ids))
    return {number: (state, error) for number, state, error in connection.execute(query)}


def is_alive(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(_try.ended_at.is_(None), _try.lease_until >= now)


def events(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> Page[EventRow]:
    """Events one by one, the earliest first."""
    status = sa.case(
        (sa.and_(_event.status == STATUS_NUMBERS["sending"], ~is_alive(now)), STATUS_NUMBERS["in_doubt"]),
        else_=_event.status,
    )
    query = (
        sa.select(
            *_PLACE,
            scopes.c.app_token,
            SHOWN_KEY.label("shown_key"),
            scopes.c.environment,
            _event.event_id,
            status.label("shown_status"),
            reasons.c.code,
            _event.http_status,
            _event.revenue,
            _event.currency,
            *_TASK,
        )
        .join(tries, _try.id == _event.try_id)
        .join(scopes, scopes.c.id == _event.scope_id)
        .join(reasons, reasons.c.id == _event.reason, isouter=True)
        .where(*_selected(dag_ids, filters), *_day_conditions(filters, _event.occurred_at))
        # Beyond the place, so that each page has the same order.
        .order_by(*_PLACE, _event.scope_id, _event.event_id)
        .limit(PAGE_SIZE + 1)
    )
    if filters.status is not None:
        query = query.where(_has_status(filters.status, now))
    if filters.reason is not None:
        query = query.where(reasons.c.code == filters.reason)
    place: Cursor = ()
    passed = 0
    if filters.after is not None:
        place, passed = _decode_place(filters.after)
        # The first column is also compared alone: not every database uses an index for a comparison of whole rows.
        query = query.where(_event.occurred_at >= place[0], sa.tuple_(*_PLACE) >= sa.tuple_(*place)).offset(passed)
    found = connection.execute(query).all()
    items = [
        EventRow(
            occurred_at=each.occurred_at,
            app_token=each.app_token,
            event_token=each.shown_key,
            environment=each.environment,
            event_id=each.event_id,
            status=STATUSES[each.shown_status],
            reason=each.code or "",
            http_status=each.http_status,
            revenue=each.revenue,
            currency=each.currency,
            dag_id=each.dag_id,
            run_id=each.run_id,
            task_id=each.task_id,
            map_index=each.map_index,
        )
        for each in of_dags(dag_ids, found[:PAGE_SIZE])
    ]
    return Page(items, _after(found, place, passed))


def _has_status(status: str, now: datetime) -> sa.ColumnElement[bool]:
    """Whether an event is shown with that status. Those that are not sent are not in the table."""
    is_open = _event.status == STATUS_NUMBERS["sending"]
    if status == "sending":
        return sa.and_(is_open, is_alive(now))
    if status == "in_doubt":
        return sa.or_(_event.status == STATUS_NUMBERS[status], sa.and_(is_open, ~is_alive(now)))
    return _event.status == STATUS_NUMBERS[status] if status in STATUS_NUMBERS else sa.false()


def _decode_place(after: str) -> tuple[Cursor, int]:
    *place, passed = decode_cursor(after, (datetime, int, int, int))
    if not isinstance(passed, int) or not 0 <= passed <= _MOST_PASSED:
        raise InvalidCursor("after: this is not a cursor of this list")
    return tuple(place), passed


def _after(found: Sequence[Any], place: Cursor, passed: int) -> str | None:
    """The cursor of the next page: the place of this page's last event, and how many events of that place are passed."""
    if len(found) <= PAGE_SIZE:
        return None
    places = [tuple(record[: len(_PLACE)]) for record in found[:PAGE_SIZE]]
    last = places[-1]
    return encode_cursor((*last, places.count(last) + (passed if last == place else 0)))


def _may_be_shown(dag_ids: Collection[str]) -> sa.ColumnElement[bool]:
    return _try.dag_id.in_(sorted(dag_ids))


def of_dags(dag_ids: Collection[str], found: Iterable[Any]) -> list[Any]:
    """The rows of these DAGs: what a user may read is not left to the database's way to compare names."""
    return [row for row in found if row.dag_id in dag_ids]


_TASK_FILTERS = ("dag_id", "run_id", "task_id", "map_index")
_KINDS = {"app_token": scopes.c.app_token, "event_token": SHOWN_KEY, "environment": ENVIRONMENT}


def _conditions(
    dag_ids: Collection[str], filters: Filters, day: sa.ColumnElement[Any]
) -> Iterable[sa.ColumnElement[bool]]:
    """The filters on the task, the kind of event and the day."""
    yield from _selected(dag_ids, filters)
    if filters.first_day is not None:
        yield day >= filters.first_day
    if filters.last_day is not None:
        yield day <= filters.last_day


def _selected(dag_ids: Collection[str], filters: Filters) -> Iterable[sa.ColumnElement[bool]]:
    """The filters on the task and the kind of event."""
    yield _may_be_shown(dag_ids)
    for name in _TASK_FILTERS:
        if (value := getattr(filters, name)) is not None:
            yield _try[name] == value
    for name in _KINDS:
        if (value := getattr(filters, name)) is not None:
            yield _KINDS[name] == value


def _day_conditions(filters: Filters, moment: sa.ColumnElement[Any]) -> Iterable[sa.ColumnElement[bool]]:
    """The filters on the day of a moment, so that an index on it can be used."""
    if filters.first_day is not None:
        yield moment >= datetime.combine(filters.first_day, time())
    if filters.last_day is not None:
        yield moment < datetime.combine(filters.last_day, time()) + timedelta(days=1)


def _as_date(day: date | str) -> date:
    """The day as a date; SQLite returns text."""
    return day if isinstance(day, date) else date.fromisoformat(day)
