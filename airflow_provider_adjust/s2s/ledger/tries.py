"""The ledger's record of a sending task's try: its identity, its lease, and its counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from airflow_provider_adjust.s2s.ledger.rate_group import members
from airflow_provider_adjust.s2s.ledger.schema import SENDING, STATUS_NUMBERS, database_now, events, totals, tries

RUNNING, SUCCESS, FAILED, LOST = "running", "success", "failed", "lost"
_columns = tries.c


@dataclass(frozen=True, slots=True)
class TaskInstanceId:
    """The Airflow task instance that claims events, and its try."""

    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1
    try_number: int = 1

    @property
    def same_task(self) -> tuple[sa.ColumnElement[bool], ...]:
        """The tries of this task instance."""
        return (
            _columns.dag_id == self.dag_id,
            _columns.run_id == self.run_id,
            _columns.task_id == self.task_id,
            _columns.map_index == self.map_index,
        )


def begin_try(connection: sa.Connection, task: TaskInstanceId, lease: float) -> int:
    """Record the try as running; return its number."""
    now = database_now(connection)
    connection.execute(sa.update(tries).where(*task.same_task, _columns.is_latest).values(is_latest=False))
    made = connection.execute(
        tries.insert().values(
            dag_id=task.dag_id,
            run_id=task.run_id,
            task_id=task.task_id,
            map_index=task.map_index,
            try_number=task.try_number,
            state=RUNNING,
            is_latest=True,
            started_at=now,
            heartbeat_at=now,
            lease_until=now + timedelta(seconds=lease),
            read=0,
            error="",
            rejected_path="",
            digest_keys="",
            ids_are_digests=False,
            environment="",
        )
    )
    number: int = made.inserted_primary_key[0]  # type: ignore[index]
    return number


def note_setup(
    connection: sa.Connection,
    try_id: int,
    digest_keys: str,
    *,
    ids_are_digests: bool,
    environment: str,
    rate_group: str = "",
) -> None:
    """Record the try's digest keys, environment and rate group."""
    values = {"digest_keys": digest_keys, "ids_are_digests": ids_are_digests, "environment": environment}
    connection.execute(sa.update(tries).where(_columns.id == try_id).values(**values, rate_group=rate_group))


def renew(connection: sa.Connection, try_id: int, lease: float, rate_group: str = "") -> list[float] | None:
    """Renew the lease; None if another task has ended the try, and its claims with it.

    :return: when the tries of the rate group begin to send, in seconds from now; empty without a group.
    """
    now = database_now(connection)
    alive = sa.update(tries).where(_columns.id == try_id, _columns.ended_at.is_(None))
    values = {"heartbeat_at": now, "lease_until": now + timedelta(seconds=lease)}
    if connection.execute(alive.values(values)).rowcount != 1:
        return None
    return members(connection, rate_group, now) if rate_group else []


def end_try(
    connection: sa.Connection, try_id: int, state: str, *, read: int, error: str, rejected_path: str | None
) -> None:
    """Record how the try ended, unless another task has already ended it."""
    connection.execute(
        sa.update(tries)
        .where(_columns.id == try_id, _columns.ended_at.is_(None))
        .values(
            state=state,
            ended_at=database_now(connection),
            read=read,
            error=error[:500],
            rejected_path=(rejected_path or "")[:1000],
        )
    )


class Holder(NamedTuple):
    """The try that an event's record names."""

    id: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    is_alive: bool
    digest_keys: str = ""

    def is_of(self, task: TaskInstanceId) -> bool:
        """Whether it is a try of the task instance."""
        return self[1:5] == (task.dag_id, task.run_id, task.task_id, task.map_index)

    def __str__(self) -> str:
        if not self.dag_id:
            return "by a task outside Airflow"
        return f"in run {self.run_id} of {self.dag_id}"


def holders(connection: sa.Connection, ids: Collection[int]) -> dict[int, Holder]:
    """The tries with these numbers. Tries with an expired lease are ended, so that their claims can be taken over for good."""
    if not ids:
        return {}
    now = database_now(connection)
    expired = (_columns.id.in_(ids), _columns.ended_at.is_(None), _columns.lease_until <= now)
    connection.execute(sa.update(tries).where(*expired).values(state=LOST, ended_at=now))
    query = sa.select(
        _columns.id,
        _columns.dag_id,
        _columns.run_id,
        _columns.task_id,
        _columns.map_index,
        _columns.try_number,
        _columns.ended_at.is_(None),
        _columns.digest_keys,
    ).where(_columns.id.in_(ids))
    return {record[0]: Holder(*record) for record in connection.execute(query)}


class Counted(NamedTuple):
    """The number of a try's rows with an outcome and a reason, and their revenue in one currency."""

    outcome: str
    reason: str
    currency: str | None
    events: int
    revenue: Decimal | None


class TryCounts(NamedTuple):
    """The ledger's counts of a try. ``sending`` are its events that are claimed and not settled."""

    counted: list[Counted]
    sending: int
    seconds: float
    environment: str


def counts_of(connection: sa.Connection, task: TaskInstanceId) -> TryCounts | None:
    """The recorded counts of the latest try with this number; None if it never began."""
    query = (
        sa.select(_columns.id, _columns.started_at, _columns.heartbeat_at, _columns.environment)
        .where(*task.same_task, _columns.try_number == task.try_number)
        .order_by(_columns.id.desc())
    )
    found = connection.execute(query.limit(1)).first()
    if found is None:
        return None
    keys = (totals.c.outcome, totals.c.reason, totals.c.currency)
    sums = sa.select(*keys, sa.func.sum(totals.c.events), sa.func.sum(totals.c.revenue))
    counted = connection.execute(sums.where(totals.c.try_id == found.id).group_by(*keys)).all()
    is_sending = (events.c.try_id == found.id, events.c.status == STATUS_NUMBERS[SENDING])
    sending = connection.scalar(sa.select(sa.func.count()).select_from(events).where(*is_sending))
    return TryCounts(
        [
            Counted(outcome, reason, currency, int(count), revenue)
            for outcome, reason, currency, count, revenue in counted
        ],
        sending or 0,
        (found.heartbeat_at - found.started_at).total_seconds(),
        found.environment,
    )


class TotalKey(NamedTuple):
    """The key of a total. ``scope_id`` and ``day`` are None for rows that could not be read."""

    scope_id: int | None
    day: date | None
    outcome: str
    reason: str
    currency: str | None


def day_of(moment: datetime) -> date:
    """The UTC day."""
    return (moment if moment.tzinfo is UTC else moment.astimezone(UTC)).date()


class Totals:
    """The counts of one try, written together with the events, so that totals and events always agree."""

    def __init__(self, try_id: int) -> None:
        self._try_id = try_id
        self._numbers: dict[TotalKey, int] = {}
        self._events: Counter[TotalKey] = Counter()
        self._revenue: dict[TotalKey, Decimal] = {}

    @property
    def counted(self) -> int:
        """The number of rows with an outcome."""
        return self._events.total()

    def write(
        self, connection: sa.Connection, entries: Sequence[tuple[TotalKey, Decimal | None]]
    ) -> Callable[[], None]:
        """Write the sums that the entries change; return a function to call after the commit."""
        counts = Counter(key for key, _ in entries)
        amounts: dict[TotalKey, Decimal] = {}
        for key, amount in entries:
            if amount is not None:
                amounts[key] = amounts.get(key, self._revenue.get(key, Decimal(0))) + amount
        first = len(self._numbers)
        new = {key: first + place for place, key in enumerate(key for key in counts if key not in self._numbers)}
        changed: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for key, count in counts.items():
            changed[key in new].append(
                {
                    "b_try": self._try_id,
                    "b_number": new[key] if key in new else self._numbers[key],
                    "b_events": self._events[key] + count,
                    "b_revenue": amounts.get(key, self._revenue.get(key)),
                    **({f"b_{name}": value for name, value in key._asdict().items()} if key in new else {}),
                }
            )
        if changed[True]:
            # A commit with a lost answer may have written them: then they are written again.
            places = [{"b_try": self._try_id, "b_number": number} for number in new.values()]
            connection.execute(_DELETE_TOTAL, places)
            connection.execute(_INSERT_TOTAL, changed[True])
        if changed[False]:
            connection.execute(_UPDATE_TOTAL, changed[False])

        def committed() -> None:
            self._numbers.update(new)
            self._events.update(counts)
            self._revenue.update(amounts)

        return committed


_INSERT_TOTAL = totals.insert().values(
    try_id=sa.bindparam("b_try"),
    number=sa.bindparam("b_number"),
    events=sa.bindparam("b_events"),
    revenue=sa.bindparam("b_revenue"),
    **{name: sa.bindparam(f"b_{name}") for name in TotalKey._fields},
)
_DELETE_TOTAL = sa.delete(totals).where(
    totals.c.try_id == sa.bindparam("b_try"), totals.c.number == sa.bindparam("b_number")
)
_UPDATE_TOTAL = (
    sa.update(totals)
    .where(totals.c.try_id == sa.bindparam("b_try"), totals.c.number == sa.bindparam("b_number"))
    .values(events=sa.bindparam("b_events"), revenue=sa.bindparam("b_revenue"))
)
