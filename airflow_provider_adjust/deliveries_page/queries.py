"""The page's queries of a ledger, and the conditions that they share. Every result has a maximum size.

Each query takes the DAGs that the user may read, and returns nothing of others: the database selects them, and each row is
checked again here. Lists are paged by cursor rather than offset, so a late page costs as much as the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from airflow_provider_adjust.allowed_hosts import adjust_hosts
from airflow_provider_adjust.deliveries_page.filters import Filters
from airflow_provider_adjust.s2s.ledger import rehearsals
from airflow_provider_adjust.s2s.ledger.rehearsals import PRODUCTION, REHEARSAL
from airflow_provider_adjust.s2s.ledger.schema import (
    STATUS_NUMBERS,
    booked_at,
    events,
    scopes,
    shown_key,
    totals,
    tries,
    verdicts,
)
from airflow_provider_adjust.s2s.ledger.tries import LOST, RUNNING

PAGE_SIZE = 50
#: Rows of day, DAG, kind of event and reason that one page can sum up.
MAX_COUNTS = 10_000
#: Longer lists are not counted completely.
MOST_COUNTED = 1_000
MOST_HOSTS = 5

_try = tries.c
TASK = (_try.dag_id, _try.run_id, _try.task_id, _try.map_index)
T = TypeVar("T")
#: Delivered events count in each try, missing ones in the last try only. A total is empty if another task has sent all its
#: events.
COUNTED = sa.and_(
    totals.c.events > 0,
    sa.or_(totals.c.outcome.in_(("delivered", "duplicate")), sa.and_(_try.is_latest, totals.c.outcome != "skipped")),
)
#: A row that could not be read has no day of its own: it counts on the day on which its try began.
DAY = sa.func.coalesce(totals.c.day, sa.func.date(_try.started_at, type_=sa.Date), type_=sa.Date)


@dataclass(frozen=True, slots=True)
class Count:
    """Events of one DAG, kind, day, status and reason, and their revenue. A row that could not be read has no kind."""

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
    #: The event's name for people, and the connection to the app.
    event_name: str = ""
    conn_id: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and the cursor of the next page if there is one.

    ``first`` is the number of the page's first row, ``total`` the number of all rows, which are counted up to ``MOST_COUNTED``.
    """

    items: list[T]
    after: str | None
    first: int = 1
    total: int = 0


def shown_environment() -> sa.ColumnElement[str]:
    """The environment of a scope as people are shown it: what did not go to Adjust is a rehearsal."""
    return rehearsals.shown_environment(adjust_hosts())


def environment_of_total(of_try: sa.FromClause = tries) -> sa.ColumnElement[str]:
    """The same of a total: a row that could not be read is of no scope, and has the environment that its try was set up for."""
    return sa.func.coalesce(shown_environment(), set_up_environment(of_try), "")


def set_up_environment(of_try: sa.FromClause = tries) -> sa.ColumnElement[str]:
    """Where a try was set up to send, as people are shown it."""
    return rehearsals.set_up_environment(adjust_hosts(), of_try)


def dags_in(connection: sa.Connection) -> list[str]:
    """Every DAG that has tried to send something or has compared it with Adjust, by name."""
    asked = sa.union(sa.select(_try.dag_id), sa.select(verdicts.c.dag_id))
    return sorted(filter(None, connection.scalars(asked)))


def has_senders_outside_dags(connection: sa.Connection) -> bool:
    """Whether something was sent from the command line, which has an empty DAG id."""
    return connection.scalar(sa.select(_try.id).where(_try.dag_id == "").limit(1)) is not None


def environments(connection: sa.Connection, dag_ids: Collection[str]) -> list[str]:
    """The environments that these DAGs have sent to, or were set up for; production first."""
    found: set[str] = set()
    shown = shown_environment()
    for known in connection.scalars(sa.select(shown).distinct()).all():
        of_it = (
            sa.select(totals.c.try_id)
            .join(tries, _try.id == totals.c.try_id)
            .join(scopes, scopes.c.id == totals.c.scope_id)
            .where(shown == known, may_be_shown(dag_ids))
        )
        if connection.scalar(of_it.limit(1)) is not None:
            found.add(known)
    for known in connection.scalars(sa.select(set_up_environment()).distinct().where(may_be_shown(dag_ids))):
        found.update(known.split(","))
    return sorted(found - {""}, key=lambda name: (name != PRODUCTION, name))


def hosts_of_rehearsals(connection: sa.Connection, dag_ids: Collection[str]) -> list[str]:
    """Where the DAGs have sent what is shown as a rehearsal; a few of the hosts."""
    host = scopes.c.destination
    hosts = (
        sa.select(host)
        .distinct()
        .join(totals, totals.c.scope_id == scopes.c.id)
        .join(tries, _try.id == totals.c.try_id)
        .where(shown_environment() == REHEARSAL, may_be_shown(dag_ids))
    )
    return [*connection.scalars(hosts.order_by(host).limit(MOST_HOSTS))]


def first_day(connection: sa.Connection, dag_ids: Collection[str], filters: Filters) -> date | None:
    """The first day with events of the DAGs: no day before it is missing."""
    query = (
        sa.select(totals.c.day)
        .join(tries, _try.id == totals.c.try_id)
        .join(scopes, scopes.c.id == totals.c.scope_id)
        .where(totals.c.day.is_not(None), *selected(dag_ids, filters))
        .order_by(totals.c.day)
        .limit(1)
    )
    return connection.scalar(query)


def counts(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> list[Count]:
    """Events and revenue per day, kind of event, status and reason, the latest first; at most ``MAX_COUNTS``."""
    kind = (
        sa.func.coalesce(scopes.c.app_token, "").label("app_token"),
        environment_of_total().label("shown_environment"),
        sa.func.coalesce(shown_key, "").label("shown_key"),
    )
    names = [sa.func.coalesce(sa.func.max(scopes.c[name]), "").label(name) for name in ("event_name", "conn_id")]
    query = (
        sa.select(
            _try.dag_id,
            DAY.label("shown_day"),
            *kind,
            *names,
            totals.c.outcome.label("shown_status"),
            totals.c.reason,
            totals.c.currency,
            sa.func.sum(totals.c.events).label("events"),
            sa.func.sum(totals.c.revenue).label("revenue"),
        )
        .join(tries, _try.id == totals.c.try_id)
        .join(scopes, scopes.c.id == totals.c.scope_id, isouter=True)
        .where(COUNTED, *conditions(dag_ids, filters, DAY))
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
    found = [*of_dags(dag_ids, connection.execute(query)), *unsettled(connection, dag_ids, filters, now)]
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
            revenue=as_amount(each.revenue),
            event_name=each.event_name,
            conn_id=each.conn_id,
        )
        for each in found
    ]


def unsettled(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> list[Any]:
    """Events that are claimed and not settled: being sent, or in doubt because their try was killed."""
    if filters.reason is not None or filters.status not in {None, "sending", "in_doubt"}:
        return []
    e = events.c
    day = sa.func.date(booked_at, type_=sa.Date)
    status = sa.case((is_alive(now), "sending"), else_="in_doubt")
    kind = (scopes.c.app_token, scopes.c.event_name, scopes.c.conn_id)
    query = (
        sa.select(
            day.label("shown_day"),
            *kind,
            shown_key.label("shown_key"),
            shown_environment().label("shown_environment"),
            status.label("shown_status"),
            sa.literal_column("''").label("reason"),
            e.currency,
            sa.func.count().label("events"),
            sa.func.sum(e.revenue).label("revenue"),
            *TASK,
        )
        .join(tries, _try.id == e.try_id)
        .join(scopes, scopes.c.id == e.scope_id)
        .where(
            # By the try first, since few tries are open, and there are many events.
            e.try_id.in_(sa.select(_try.id).where(_try.state.in_((RUNNING, LOST)))),
            e.status == STATUS_NUMBERS["sending"],
            *conditions(dag_ids, filters, day),
        )
        .group_by("shown_day", "shown_key", *kind, "shown_environment", "shown_status", e.currency, *TASK)
    )
    return [each for each in of_dags(dag_ids, connection.execute(query)) if filters.status in {None, each.shown_status}]


def is_alive(now: datetime) -> sa.ColumnElement[bool]:
    """Whether the try still holds its lease."""
    return sa.and_(_try.ended_at.is_(None), _try.lease_until >= now)


def state(now: datetime) -> sa.Case[Any]:
    """How the try ended; one with an expired lease was killed."""
    return sa.case((sa.and_(_try.ended_at.is_(None), ~is_alive(now)), LOST), else_=_try.state)


def number_of(connection: sa.Connection, rows: sa.Select[Any]) -> int:
    """The number of rows of the query, at most one more than ``MOST_COUNTED``."""
    some = rows.order_by(None).limit(MOST_COUNTED + 1).subquery()
    return connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def may_be_shown(dag_ids: Collection[str]) -> sa.ColumnElement[bool]:
    """Whether the try belongs to one of the DAGs."""
    return _try.dag_id.in_(sorted(dag_ids))


def of_dags(dag_ids: Collection[str], found: Iterable[Any]) -> list[Any]:
    """The rows of these DAGs, checked here, since permissions must not depend on the database's collation."""
    return [row for row in found if row.dag_id in dag_ids]


_TASK_FILTERS = ("dag_id", "run_id", "task_id", "map_index")


def conditions(
    dag_ids: Collection[str], filters: Filters, day: sa.ColumnElement[Any]
) -> Iterable[sa.ColumnElement[bool]]:
    """The filters on the task, the kind of event and the day."""
    yield from selected(dag_ids, filters)
    yield from days(filters, day)


def days(filters: Filters, day: sa.ColumnElement[Any]) -> Iterable[sa.ColumnElement[bool]]:
    """The filters on a day."""
    if filters.first_day is not None:
        yield day >= filters.first_day
    if filters.last_day is not None:
        yield day <= filters.last_day


def selected(dag_ids: Collection[str], filters: Filters) -> Iterable[sa.ColumnElement[bool]]:
    """The filters on the task and the kind of event."""
    yield from of_tasks(dag_ids, filters)
    yield from of_kind(filters)


def of_tasks(dag_ids: Collection[str], filters: Filters) -> Iterable[sa.ColumnElement[bool]]:
    """The filters on the task."""
    yield may_be_shown(dag_ids)
    for name in _TASK_FILTERS:
        if (value := getattr(filters, name)) is not None:
            yield _try[name] == value


def of_kind(filters: Filters) -> Iterable[sa.ColumnElement[bool]]:
    """The filters on the kind of event; a row that could not be read is of no kind."""
    yield from _of_scope(filters, environment_of_total())


def of_scope(filters: Filters) -> Iterable[sa.ColumnElement[bool]]:
    """The same on a scope alone."""
    return _of_scope(filters, shown_environment())


def _of_scope(filters: Filters, environment: sa.ColumnElement[Any]) -> Iterable[sa.ColumnElement[bool]]:
    if filters.app_token is not None:
        yield scopes.c.app_token == filters.app_token
    if filters.event_token is not None:
        yield shown_key == filters.event_token
    if filters.environment is not None:
        yield is_in(environment, filters.environment)


def is_in(column: sa.ColumnElement[Any], environment: str) -> sa.ColumnElement[bool]:
    """Whether it belongs to the environment. Unknown or several environments belong to each."""
    return sa.or_(column.in_((environment, "")), column.contains(","))


def moments(filters: Filters, moment: sa.ColumnElement[Any]) -> Iterable[sa.ColumnElement[bool]]:
    """The filters on the day of a moment, in a form that can use its index."""
    if filters.first_day is not None:
        yield moment >= datetime.combine(filters.first_day, time())
    if filters.last_day is not None:
        yield moment < datetime.combine(filters.last_day, time()) + timedelta(days=1)


def as_amount(found: Any) -> Decimal | None:
    """A sum of revenue; SQLite returns it as a float."""
    return None if found is None else Decimal(str(found))


def tasks_in(found: Sequence[tuple[Any, ...]]) -> sa.ColumnElement[bool]:
    """Whether the try is of one of these task instances."""
    return sa.tuple_(*TASK).in_([tuple(each) for each in found])


def _as_date(day: date | str) -> date:
    """The day as a date; SQLite returns text."""
    return day if isinstance(day, date) else date.fromisoformat(day)
