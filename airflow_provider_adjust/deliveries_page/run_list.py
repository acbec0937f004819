"""Task instances that tried to send, latest first, over all DAGs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.deliveries_page.filters import Filters, InvalidCursor, decode_cursor, encode_cursor
from airflow_provider_adjust.deliveries_page.queries import (
    COUNTED,
    DAY,
    PAGE_SIZE,
    TASK,
    Page,
    as_amount,
    conditions,
    days,
    environment_of_total,
    is_alive,
    is_in,
    moments,
    number_of,
    of_dags,
    of_kind,
    of_tasks,
    set_up_environment,
    state,
    tasks_in,
    unsettled,
)
from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS, events, scopes, shown_key, totals, tries

_try = tries.c
_DELIVERED = ("delivered", "duplicate")


@dataclass(slots=True)
class Run:
    """One task instance: its last try, and its events over all tries, as far as the filters select them."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str
    error: str
    rejected_path: str
    read: int
    try_number: int
    began_at: datetime
    duration: timedelta
    events: Counter[str] = field(default_factory=Counter)
    revenue: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    missing_revenue: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.dag_id, self.run_id, self.task_id, self.map_index

    @property
    def missing(self) -> list[tuple[str, int]]:
        """The undelivered events, by status."""
        return [(status, count) for status, count in self.events.items() if status not in {*_DELIVERED, "sending"}]

    def add(self, status: str, count: int, currency: str | None, revenue: Decimal | None) -> None:
        """Add events."""
        self.events[status] += count
        if currency and revenue is not None and status not in {"duplicate", "sending"}:
            (self.revenue if status == "delivered" else self.missing_revenue)[currency] += revenue


def runs(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> Page[Run]:
    """One page of the task instances, including those that sent nothing."""
    rows = sa.select(_try.id).where(_try.is_latest, *of_tasks(dag_ids, filters), *_that_match(filters, now))
    query = rows.add_columns(
        *TASK,
        state(now).label("shown_state"),
        _try.error,
        _try.rejected_path,
        _try.read,
        _try.try_number,
        _try.started_at,
        sa.func.coalesce(_try.ended_at, sa.case((is_alive(now), now), else_=_try.heartbeat_at)).label("seen_at"),
    ).order_by(_try.started_at.desc(), _try.id.desc())
    before = 0
    if filters.after is not None:
        *place, passed = decode_cursor(filters.after, (datetime, int, int))
        if not isinstance(passed, int) or passed < 0:
            raise InvalidCursor("after: this is not a cursor of this list")
        before = passed
        query = query.where(_try.started_at <= place[0], sa.tuple_(_try.started_at, _try.id) < sa.tuple_(*place))
    found = connection.execute(query.limit(PAGE_SIZE + 1)).all()
    items = [_run(each) for each in of_dags(dag_ids, found[:PAGE_SIZE])]
    _add_counts(connection, dag_ids, items, filters, now)
    after = None
    if len(found) > PAGE_SIZE:
        last = found[PAGE_SIZE - 1]
        after = encode_cursor((last.started_at, last.id, before + PAGE_SIZE))
    return Page(items, after, before + 1, number_of(connection, rows))


def _run(found: Any) -> Run:
    return Run(
        dag_id=found.dag_id,
        run_id=found.run_id,
        task_id=found.task_id,
        map_index=found.map_index,
        state=found.shown_state,
        error=found.error,
        rejected_path=found.rejected_path,
        read=found.read,
        try_number=found.try_number,
        began_at=found.started_at,
        duration=max(timedelta(), _as_datetime(found.seen_at) - found.started_at),
    )


def _that_match(filters: Filters, now: datetime) -> Iterable[sa.ColumnElement[bool]]:
    """Whether any try of the task instance has counts that the filters select, or the last one has none at all."""
    other = tries.alias("other")
    same = [other.c[column.name] == column for column in TASK]
    counted = (
        sa.select(sa.literal(1))
        .select_from(totals)
        .join(other, other.c.id == totals.c.try_id)
        .join(scopes, scopes.c.id == totals.c.scope_id, isouter=True)
        .where(*same, *_of_total(filters, other))
        .correlate(tries)
    )
    ways: list[sa.ColumnElement[bool]] = [sa.exists(counted)]
    kinds = (filters.app_token, filters.event_token, filters.status, filters.reason)
    if not any(kinds):
        nothing = ~sa.exists().where(totals.c.try_id == _try.id).correlate(tries)
        ways.append(sa.and_(nothing, *moments(filters, _try.started_at), *_set_up_for(filters)))
    if filters.reason is None and filters.status in {None, "sending", "in_doubt"}:
        claimed = (
            sa.select(sa.literal(1))
            .select_from(events)
            .join(scopes, scopes.c.id == events.c.scope_id)
            .where(
                events.c.try_id == _try.id,
                events.c.status == STATUS_NUMBERS["sending"],
                *of_kind(filters),
                *moments(filters, events.c.occurred_at),
            )
            .correlate(tries)
        )
        alive = {"sending": is_alive(now), "in_doubt": ~is_alive(now)}
        is_open = alive[filters.status] if filters.status else sa.true()
        ways.append(sa.and_(_try.state.in_(("running", "lost")), is_open, sa.exists(claimed)))
    yield sa.or_(*ways)


def _of_total(filters: Filters, other: sa.FromClause) -> Iterable[sa.ColumnElement[bool]]:
    day = sa.func.coalesce(totals.c.day, sa.func.date(other.c.started_at, type_=sa.Date), type_=sa.Date)
    yield from days(filters, day)
    if filters.app_token is not None:
        yield scopes.c.app_token == filters.app_token
    if filters.event_token is not None:
        yield shown_key == filters.event_token
    if filters.environment is not None:
        yield is_in(environment_of_total(other), filters.environment)
    if filters.status is not None:
        yield totals.c.outcome == filters.status
    if filters.reason is not None:
        yield totals.c.reason == filters.reason
    if filters.status is not None or filters.reason is not None:
        yield totals.c.events > 0
        yield sa.or_(other.c.is_latest, totals.c.outcome.in_(_DELIVERED))


def _set_up_for(filters: Filters) -> Iterable[sa.ColumnElement[bool]]:
    if filters.environment is not None:
        yield is_in(set_up_environment(), filters.environment)


def _add_counts(
    connection: sa.Connection, dag_ids: Collection[str], found: Sequence[Run], filters: Filters, now: datetime
) -> None:
    """Add the events of the task instances that the filters select."""
    by_key = {run.key: run for run in found}
    if not by_key:
        return
    query = (
        sa.select(
            *TASK,
            totals.c.outcome.label("shown_status"),
            totals.c.currency,
            sa.func.sum(totals.c.events).label("events"),
            sa.func.sum(totals.c.revenue).label("revenue"),
        )
        .join(tries, _try.id == totals.c.try_id)
        .join(scopes, scopes.c.id == totals.c.scope_id, isouter=True)
        .where(COUNTED, tasks_in([*by_key]), *conditions(dag_ids, filters, DAY))
        .group_by(*TASK, totals.c.outcome, totals.c.currency)
    )
    if filters.status is not None:
        query = query.where(totals.c.outcome == filters.status)
    if filters.reason is not None:
        query = query.where(totals.c.reason == filters.reason)
    for each in (*connection.execute(query), *unsettled(connection, dag_ids, filters, now)):
        run = by_key.get((each.dag_id, each.run_id, each.task_id, each.map_index))
        if run is not None:
            run.add(each.shown_status, int(each.events), each.currency, as_amount(each.revenue))


def _as_datetime(found: datetime | str) -> datetime:
    """A time; SQLite returns the text of one that was computed."""
    return found if isinstance(found, datetime) else datetime.fromisoformat(found)
