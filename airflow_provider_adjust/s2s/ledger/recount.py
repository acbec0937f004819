"""Changes of what an earlier try has counted, once its event has another end: so each event counts where it now belongs."""

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
    """Events that other tasks left refused or in doubt, and that a try sends now: there, they count no more."""

    def __init__(self) -> None:
        self._events: Counter[tuple[int, TotalKey]] = Counter()
        self._revenue: dict[tuple[int, TotalKey], Decimal] = {}

    def add(self, record: Any, reason: str, holder: Holder, task: TaskInstanceId) -> None:
        """Note an event that is claimed. Of an earlier try of the same task, what is missing does not count anyway."""
        if record.status in {_IN_DOUBT, _REJECTED} and not holder.is_of(task):
            key = holder.id, _key(record, reason)
            self._events[key] += 1
            self._revenue[key] = self._revenue.get(key, _NOTHING) + (record.revenue or _NOTHING)

    def write(self, connection: sa.Connection) -> None:
        """Take them out of the totals, in an order that all tasks have in common."""
        for try_id, key in sorted(self._events, key=repr):
            _take(connection, try_id, key, self._events[try_id, key], self._revenue[try_id, key])


def left_in_doubt(record: Any) -> dict[str, Any]:
    """What a killed try was sending, once a later try counts it as in doubt: the kill was one more lost answer."""
    return {"status": _IN_DOUBT, "lost_answers": record.lost_answers + 1}


def move_total(connection: sa.Connection, record: Any, old_reason: str, outcome: Outcome, reason: str) -> None:
    """Have the event's try count it where it now belongs.

    What a killed try was sending is in no total of its yet, and is counted as in doubt wherever it is shown.
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
    """Take events out of the count of the task's last try, which is the one that is shown.

    It may have met an event in doubt for another reason. One that is alive writes its own counts.
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
    """Whether a total has the key, but for its reason."""
    values = key._asdict()
    del values["reason"]
    return [totals.c[name].is_(None) if value is None else totals.c[name] == value for name, value in values.items()]


def _add(
    connection: sa.Connection, where: tuple[sa.ColumnElement[bool], ...], count: int, revenue: Decimal | None
) -> bool:
    """Add to a total; False where there is none."""
    values: dict[str, Any] = {"events": totals.c.events + count}
    if revenue is not None:
        values["revenue"] = sa.func.coalesce(totals.c.revenue, 0) + revenue
    return connection.execute(sa.update(totals).where(*where).values(values)).rowcount > 0
