"""The statements that read and write the ledger's table, for any database; Postgres gets its arrays.

There a batch is one parameter for each column instead of one for each row and column, which costs a quarter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError

from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.ledger.schema import deliveries, held

#: Columns that differ from event to event; the others are the same for a whole batch.
_EVENT_COLUMNS = ("event_id", "content", "occurred_at", "revenue", "currency")
_columns = deliveries.c


@dataclass(frozen=True, slots=True)
class TaskInstanceId:
    """The Airflow task instance that claims events."""

    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1


class Scope(NamedTuple):
    """An event id identifies an event within these: one order may be a purchase and a first purchase.

    ``key`` is the value of the endpoint's key, such as the event token. The table has it in the column ``event_token``.
    """

    app_token: str
    key: str
    environment: str

    def as_columns(self) -> dict[str, str]:
        """The values by the names of the table's columns."""
        return dict(zip(SCOPE_COLUMNS, self, strict=True))


#: The table's columns that hold a scope, in the order of its fields.
SCOPE_COLUMNS = ("app_token", "event_token", "environment")


def insert_new(
    connection: sa.Connection, scope: Scope, records: Sequence[Mapping[str, Any]], common: Mapping[str, Any]
) -> dict[str, Any]:
    """Insert the events that the table does not have; return the records of those that it has, locked, by event id."""
    ids = [record["event_id"] for record in records]
    whole = {**scope.as_columns(), **common}
    if connection.dialect.name == "postgresql":
        new = set(connection.scalars(_insert_arrays(whole, records)))
        return {} if len(new) == len(ids) else _known(connection, scope, [key for key in ids if key not in new])
    known = _known(connection, scope, ids)
    fresh = [{**whole, **record} for record in records if record["event_id"] not in known]
    if fresh:
        connection.execute(deliveries.insert(), fresh)
    return known


def _insert_arrays(whole: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> Any:
    """Insert what no other task has inserted; on a conflict, wait for the end of the other transaction."""
    arrays = [
        sa.bindparam(name, [record[name] for record in records], postgresql.ARRAY(_columns[name].type))
        for name in _EVENT_COLUMNS
    ]
    each = sa.func.unnest(*arrays).table_valued(*_EVENT_COLUMNS).render_derived()
    constants = [sa.literal(value, _columns[name].type).label(name) for name, value in whole.items()]
    rows = sa.select(*constants, *(each.c[name] for name in _EVENT_COLUMNS))
    insert = postgresql.insert(deliveries).from_select([*whole, *_EVENT_COLUMNS], rows)
    return insert.on_conflict_do_nothing().returning(_columns.event_id)


def _known(connection: sa.Connection, scope: Scope, ids: list[str]) -> dict[str, Any]:
    query = sa.select(deliveries).where(*_scope_filter(scope), _id_in(connection, ids))
    in_order = query.order_by(_columns.event_id).with_for_update()
    return {record.event_id: record for record in connection.execute(in_order)}


def update(connection: sa.Connection, scope: Scope, ids: list[str], values: Mapping[str, Any]) -> None:
    """Write the same values to all of the events."""
    connection.execute(sa.update(deliveries).where(*_scope_filter(scope), _id_in(connection, ids)).values(values))


def delete_claimed(connection: sa.Connection, scope: Scope, ids: list[str], claim: str) -> None:
    """Delete events that were claimed and certainly did not reach Adjust."""
    delete_where(connection, scope, ids, _columns.claim == claim)


def delete_where(connection: sa.Connection, scope: Scope, ids: list[str], *conditions: sa.ColumnElement[bool]) -> int:
    """Delete the events for which the conditions hold; return how many they were."""
    return connection.execute(
        sa.delete(deliveries).where(*_scope_filter(scope), _id_in(connection, ids), *conditions)
    ).rowcount


def _scope_filter(scope: Scope) -> tuple[sa.ColumnElement[bool], ...]:
    return (*(_columns[name] == value for name, value in scope.as_columns().items()),)


def _id_in(connection: sa.Connection, ids: list[str]) -> sa.ColumnElement[bool]:
    if connection.dialect.name == "postgresql":
        array = sa.bindparam("event_ids", ids, postgresql.ARRAY(_columns.event_id.type))
        return _columns.event_id == sa.any_(array)
    return _columns.event_id.in_(ids)


#: A race is lost to another task that went on, so there must be more of these than tasks that send the same events.
_ATTEMPTS = 20
#: SQLSTATE of a serialization failure and of a deadlock, and MySQL's number for the latter.
_RACE_CODES = {"40001", "40P01", 1213}
_T = TypeVar("_T")


def retry_on_conflict(work: Callable[[], _T]) -> _T:
    """Retry a transaction that lost a race (unique violation, deadlock, serialization failure)."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except DBAPIError as error:
            if not _is_lost_race(error):
                raise
    return work()


def _is_lost_race(error: DBAPIError) -> bool:
    """Tell a unique violation, a deadlock or a serialization failure from other errors."""
    cause: Any = error.orig
    codes = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None), *getattr(cause, "args", ())[:1]}
    return isinstance(error, IntegrityError) or not _RACE_CODES.isdisjoint(codes)


class HeldCounts:
    """Counts of the present try, by the day on which the events happened. A new try begins with none."""

    def __init__(self, task_instance: TaskInstanceId) -> None:
        self._task_instance = asdict(task_instance)
        self._counts: Counter[tuple[Scope, date]] = Counter()
        #: There are counts that may not be written.
        self.changed = False

    def add(self, scope: Scope, event: Event) -> None:
        self._counts[scope, event.occurred_at.astimezone(UTC).date()] += 1
        self.changed = True

    def forget(self, connection: sa.Connection) -> None:
        """Delete what an earlier try held: it is offered to this one."""
        own = (held.c[name] == value for name, value in self._task_instance.items())
        connection.execute(sa.delete(held).where(*own))

    def write(self, connection: sa.Connection) -> None:
        """Put the present counts into the place of those that were written before."""
        if not self.changed:
            return
        self.forget(connection)
        # A copy, since the delivery counts on while this is written.
        counts = dict(self._counts)
        connection.execute(held.insert(), [self._record(place, counts[place]) for place in sorted(counts)])

    def _record(self, place: tuple[Scope, date], events: int) -> dict[str, Any]:
        scope, day = place
        return self._task_instance | scope.as_columns() | {"day": day, "events": events}


def prune_held(connection: sa.Connection, before: date) -> None:
    """Delete the counts of earlier days."""
    connection.execute(sa.delete(held).where(held.c.day < before))
