"""Single events, latest first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.deliveries_page.filters import Cursor, Filters, InvalidCursor, decode_cursor, encode_cursor
from airflow_provider_adjust.deliveries_page.queries import (
    MOST_COUNTED,
    PAGE_SIZE,
    TASK,
    Page,
    is_alive,
    moments,
    number_of,
    of_dags,
    of_scope,
    of_tasks,
    shown_environment,
)
from airflow_provider_adjust.s2s.answers.reasons import Reason, reason_of
from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS, STATUSES, reasons, scopes, shown_key, tries
from airflow_provider_adjust.s2s.ledger.schema import events as event_table

_event = event_table.c
_try = tries.c
#: The place of an event: its time, its try and the row of its input. Events of older ledgers have no row.
_PLACE = (_event.occurred_at, _event.try_id, _event.position)
#: The most events of one place that a cursor can skip; only older ledgers have more than one.
_MOST_PASSED = 1_000_000


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of the ledger, which has no device ids."""

    occurred_at: datetime
    app_token: str
    conn_id: str
    event_token: str
    event_name: str
    environment: str
    event_id: str
    status: str
    reason: Reason | None
    http_status: int | None
    revenue: Decimal | None
    currency: str | None
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int


def events(
    connection: sa.Connection,
    dag_ids: Collection[str],
    filters: Filters,
    now: datetime,
    *,
    size: int | None = None,
    counted: bool = True,
) -> Page[EventRow]:
    """One page of the events.

    :param counted: count all events.
    """
    size = PAGE_SIZE if size is None else size
    rows = _matching(connection, dag_ids, filters, now)
    shown = rows.join(scopes, scopes.c.id == _event.scope_id).join(reasons, reasons.c.id == _event.reason, isouter=True)
    query = shown.add_columns(
        scopes.c.app_token,
        scopes.c.conn_id,
        shown_key.label("shown_key"),
        scopes.c.event_name,
        shown_environment().label("shown_environment"),
        _event.event_id,
        _shown_status(now).label("shown_status"),
        reasons.c.code,
        _event.http_status,
        _event.revenue,
        _event.currency,
        *TASK,
        _try.try_number,
        # In addition to the place, so that each page has the same order.
    ).order_by(*(column.desc() for column in _PLACE), _event.scope_id, _event.event_id)
    place: Cursor = ()
    passed = before = 0
    if filters.after is not None:
        place, passed, before = _decode_place(filters.after)
        # The first column is also compared alone, since not every database uses an index for row comparisons.
        query = query.where(_event.occurred_at <= place[0], sa.tuple_(*_PLACE) <= sa.tuple_(*place)).offset(passed)
    # The first page is read together with the count, since finding rare events costs more than fetching them.
    is_counting = counted and filters.after is None
    found = connection.execute(query.limit(max(size, MOST_COUNTED) + 1 if is_counting else size + 1)).all()
    items = [
        EventRow(
            occurred_at=each.occurred_at,
            app_token=each.app_token,
            conn_id=each.conn_id,
            event_token=each.shown_key,
            event_name=each.event_name,
            environment=each.shown_environment,
            event_id=each.event_id,
            status=STATUSES[each.shown_status],
            reason=_reason(each.code, STATUSES[each.shown_status]),
            http_status=each.http_status,
            revenue=each.revenue,
            currency=each.currency,
            dag_id=each.dag_id,
            run_id=each.run_id,
            task_id=each.task_id,
            map_index=each.map_index,
            try_number=each.try_number,
        )
        for each in of_dags(dag_ids, found[:size])
    ]
    is_last = len(found) <= size
    known = is_last or is_counting
    total = before + len(of_dags(dag_ids, found)) if known else number_of(connection, rows) if counted else 0
    return Page(items, _after(found, place, passed, before, size), before + 1, total)


def _matching(connection: sa.Connection, dag_ids: Collection[str], filters: Filters, now: datetime) -> sa.Select[Any]:
    """The places of the events that the filters select.

    Kinds of events and reasons are few, so their numbers are read first: then a database can estimate how many events have
    them. Otherwise Postgres expects a handful, and reads the events of one try after another.
    """
    # A sum has no index. Without this, SQLite would use the index of ids or tries, although that of times selects fewer rows.
    by_time = connection.dialect.name == "sqlite" and (filters.dag_id or filters.run_id or filters.event_id) is None
    scope_id, try_id = (_event.scope_id + 0, _event.try_id + 0) if by_time else (_event.scope_id, _event.try_id)
    query = (
        sa.select(*_PLACE)
        .join(tries, _try.id == try_id)
        .where(*of_tasks(dag_ids, filters), *moments(filters, _event.occurred_at))
    )
    kinds = [*of_scope(filters)]
    if kinds or filters.event_id is not None:
        query = query.where(scope_id.in_(connection.scalars(sa.select(scopes.c.id).where(*kinds)).all()))
    if filters.event_id is not None:
        query = query.where(_event.event_id == filters.event_id)
    if filters.status is not None:
        query = query.where(_has_status(filters.status, now))
    if filters.reason is not None:
        numbers = connection.scalars(sa.select(reasons.c.id).where(reasons.c.code == filters.reason)).all()
        query = query.where(_event.reason.in_(numbers))
    return query


def _shown_status(now: datetime) -> sa.Case[Any]:
    """The status; events that a dead try was sending are in doubt."""
    is_lost = sa.and_(_event.status == STATUS_NUMBERS["sending"], ~is_alive(now))
    return sa.case((is_lost, STATUS_NUMBERS["in_doubt"]), else_=_event.status)


def _reason(code: str | None, status: str) -> Reason | None:
    if code:
        return reason_of(code)
    return reason_of("no_answer") if status == "in_doubt" else None


def _has_status(status: str, now: datetime) -> sa.ColumnElement[bool]:
    """Whether an event is shown with this status. Events that were not sent are not in the table."""
    is_open = _event.status == STATUS_NUMBERS["sending"]
    if status == "sending":
        return sa.and_(is_open, is_alive(now))
    if status == "in_doubt":
        # Read as a list first, since only then Postgres knows how few they are.
        is_either = _event.status.in_((STATUS_NUMBERS["sending"], STATUS_NUMBERS[status]))
        return sa.and_(is_either, sa.or_(_event.status == STATUS_NUMBERS[status], ~is_alive(now)))
    return _event.status == STATUS_NUMBERS[status] if status in STATUS_NUMBERS else sa.false()


def _decode_place(after: str) -> tuple[Cursor, int, int]:
    *place, passed, before = decode_cursor(after, (datetime, int, int, int, int))
    if not isinstance(passed, int) or not 0 <= passed <= _MOST_PASSED or not isinstance(before, int) or before < 0:
        raise InvalidCursor("after: this is not a cursor of this list")
    return tuple(place), passed, before


def _after(found: Sequence[Any], place: Cursor, passed: int, before: int, size: int) -> str | None:
    """The cursor of the next page: the place of this page's last event, and the number of events to skip there.

    It also has the number of events before the page, for display.
    """
    if len(found) <= size:
        return None
    places = [tuple(record[: len(_PLACE)]) for record in found[:size]]
    last = places[-1]
    return encode_cursor((*last, places.count(last) + (passed if last == place else 0), before + size))
