"""Adjust the totals of an earlier try when one of its events gets another outcome, so that each event counts once."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS, STATUSES, totals, tries
from airflow_provider_adjust.s2s.ledger.tries import Holder, TaskInstanceId, TotalKey

_IN_DOUBT, _REJECTED = STATUS_NUMBERS[Outcome.IN_DOUBT.value], STATUS_NUMBERS[Outcome.REJECTED.value]
_NOTHING = Decimal(0)


class TakenOver:
    """Events that other tasks left refused or in doubt, and that this try sends now, so that they no longer count there."""

    def __init__(self) -> None:
        self._events: Counter[tuple[int, TotalKey]] = Counter()
        self._revenue: dict[tuple[int, TotalKey], Decimal] = {}

    def add(self, record: Any, reason: str, holder: Holder, task: TaskInstanceId) -> None:
        """Record a claimed event. Missing events of an earlier try of the same task do not count anyway."""
        if record.status in {_IN_DOUBT, _REJECTED} and not holder.is_of(task):
            key = holder.id, _key(record, reason)
            self._events[key] += 1
            self._revenue[key] = self._revenue.get(key, _NOTHING) + (record.revenue or _NOTHING)

    def write(self, connection: sa.Connection) -> None:
        """Remove them from the totals, in the same order in all tasks."""
        for try_id, key in sorted(self._events, key=repr):
            _take(connection, try_id, key, self._events[try_id, key], self._revenue[try_id, key])


def left_in_doubt(record: Any) -> dict[str, Any]:
    """The columns of an event that a killed try was sending: it is in doubt, and the kill counts as one more lost answer."""
    return {"status": _IN_DOUBT, "lost_answers": record.lost_answers + 1}


def move_total(connection: sa.Connection, record: Any, old_reason: str, outcome: Outcome, reason: str) -> None:
    """Move the event to another total of its try.

    Events that a killed try was sending are in none of its totals yet, and are shown as in doubt everywhere.
    """
    key = _key(record, old_reason)
    if record.status == _IN_DOUBT:
        _take(connection, record.try_id, key, 1, record.revenue or _NOTHING)
    key = key._replace(outcome=outcome.value, reason=reason)
    where = (totals.c.try_id == record.try_id, *_is(key), totals.c.reason == reason)
    if not _add(connection, where, 1, record.revenue):
        highest = sa.select(sa.func.max(totals.c.number)).where(totals.c.try_id == record.try_id)
        number = connection.scalar(highest)
        values = {"try_id": record.try_id, "number": 0 if number is None else number + 1, **key._asdict()}
        connection.execute(totals.insert().values(**values, events=1, revenue=record.revenue))


def _key(record: Any, reason: str) -> TotalKey:
    currency = None if record.revenue is None else record.currency
    day = (record.sent_at or record.occurred_at).date()
    return TotalKey(record.scope_id, day, STATUSES[record.status], reason, currency)


def _take(connection: sa.Connection, try_id: int, key: TotalKey, count: int, revenue: Decimal) -> None:
    """Remove events from the counts of the task's last try, which are the ones that are shown.

    It may have left an event in doubt for another reason. A running try writes its own counts.
    """
    of_event, last = tries.alias(), tries.c
    same_task = [last[name] == of_event.c[name] for name in ("dag_id", "run_id", "task_id", "map_index")]
    counted = (
        sa.select(totals.c.try_id, totals.c.number)
        .join(tries, last.id == totals.c.try_id)
        .join(of_event, sa.and_(*same_task))
        .where(of_event.c.id == try_id, last.is_latest, last.ended_at.is_not(None))
        .where(*_is(key), totals.c.events >= count)
        .order_by(sa.case((totals.c.reason == key.reason, 0), else_=1), totals.c.number)
    )
    found = connection.execute(counted.limit(1)).first()
    if found is not None:
        where = (totals.c.try_id == found.try_id, totals.c.number == found.number)
        _add(connection, where, -count, None if key.currency is None else -revenue)


def _is(key: TotalKey) -> list[sa.ColumnElement[bool]]:
    """Whether a total has the key, apart from its reason."""
    values = key._asdict()
    del values["reason"]
    return [totals.c[name].is_(None) if value is None else totals.c[name] == value for name, value in values.items()]


def _add(
    connection: sa.Connection, where: tuple[sa.ColumnElement[bool], ...], count: int, revenue: Decimal | None
) -> bool:
    """Add to a total; return False if there is none."""
    values: dict[str, Any] = {"events": totals.c.events + count}
    if revenue is not None:
        values["revenue"] = sa.func.coalesce(totals.c.revenue, 0) + revenue
    return connection.execute(sa.update(totals).where(*where).values(values)).rowcount > 0
