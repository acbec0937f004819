"""What the ledger knows of the tries of a window, per DAG and environment, for the daily digest.

A task instance may have several tries. What one of them delivered counts once: a later try that reads the row again counts it
as settled by an earlier try. What was refused counts in each try that read it, so there the last reading counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import sqlalchemy as sa

from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.ledger.schema import (
    SENDING,
    STATUS_NUMBERS,
    database_now,
    events,
    scopes,
    totals,
    tries,
)
from airflow_provider_adjust.s2s.ledger.tries import LOST, RUNNING

#: How far back a DAG is looked for that is not named: one that sent then is expected to send again.
SEEN_WITHIN = timedelta(days=7)
#: What tries send outside of a DAG: the command line, plain Python.
_NO_DAG = ""
_ARRIVED = frozenset({Outcome.DELIVERED.value, Outcome.DUPLICATE.value})
_BY_EARLIER_TRY = "by_earlier_try"
_LOST_ANSWER = "no_answer"


class Key(NamedTuple):
    """What is counted together. A row that could not be read has no environment."""

    environment: str
    outcome: str
    reason: str
    currency: str


@dataclass
class Counts:
    """Events and revenue by key."""

    events: Counter[Key] = field(default_factory=Counter)
    revenue: dict[Key, Decimal] = field(default_factory=dict)

    def add(self, key: Key, count: int, amount: Decimal | None) -> None:
        self.events[key] += count
        if amount is not None and key.currency:
            self.revenue[key] = self.revenue.get(key, Decimal(0)) + amount

    def take(self, other: Counts, outcomes: Collection[str] | None = None) -> None:
        """Add the other's, or those of the outcomes only."""
        for key, count in other.events.items():
            if outcomes is None or key.outcome in outcomes:
                self.add(key, count, other.revenue.get(key))


@dataclass
class DagCounts:
    """The tries of one DAG in the window. ``states`` and ``errors`` are of each task instance's last try."""

    dag_id: str
    counts: Counts = field(default_factory=Counts)
    states: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class _Try(NamedTuple):
    id: int
    task: tuple[str, str, str, int]
    state: str
    error: str


def read_window(
    connection: sa.Connection, start: datetime, end: datetime, dag_ids: Collection[str] | None
) -> tuple[list[DagCounts], list[str]]:
    """What the DAGs' tries that began in the window have counted, and the DAGs that were expected and have no try in it.

    :param start: in UTC, without an offset, as ``end``, which is no longer in the window.
    :param dag_ids: the DAGs; None for all. Named ones are expected, else those that the ledger has from the last 7 days.
    """
    if not sa.inspect(connection).has_table(tries.name):
        return [], sorted(dag_ids or ())  # nothing was ever sent
    found = list(_tries(connection, start, end, dag_ids))
    counted = _counts(connection, [each.id for each in found])
    by_task: dict[tuple[str, str, str, int], list[_Try]] = defaultdict(list)
    for each in found:
        by_task[each.task].append(each)
    dags: dict[str, DagCounts] = {}
    for task, its_tries in by_task.items():
        dag = dags.setdefault(task[0], DagCounts(task[0]))
        dag.counts.take(_folded([counted[each.id] for each in its_tries]))
        dag.states.append(its_tries[-1].state)
        dag.errors.append(its_tries[-1].error)
    expected = set(dag_ids) if dag_ids is not None else _seen(connection, end)
    return sorted(dags.values(), key=lambda dag: dag.dag_id), sorted(expected - dags.keys())


def _tries(
    connection: sa.Connection, start: datetime, end: datetime, dag_ids: Collection[str] | None
) -> Iterator[_Try]:
    """The tries in their order. One whose lease has run out is lost, although nobody has written it down."""
    now = database_now(connection)
    columns = tries.c
    query = sa.select(tries).where(columns.started_at >= start, columns.started_at < end, columns.dag_id != _NO_DAG)
    if dag_ids is not None:
        query = query.where(columns.dag_id.in_(dag_ids))
    for row in connection.execute(query.order_by(columns.id)):
        is_lost = row.state == RUNNING and row.lease_until <= now
        task = (row.dag_id, row.run_id, row.task_id, row.map_index)
        yield _Try(row.id, task, LOST if is_lost else row.state, row.error)


def _seen(connection: sa.Connection, end: datetime) -> set[str]:
    query = (
        sa.select(tries.c.dag_id).distinct().where(tries.c.started_at >= end - SEEN_WITHIN, tries.c.started_at < end)
    )
    return set(connection.scalars(query)) - {_NO_DAG}


def _counts(connection: sa.Connection, ids: Sequence[int]) -> dict[int, Counts]:
    """The counts of each try. What a try was sending when it ended is in doubt."""
    found: dict[int, Counts] = defaultdict(Counts)
    environment = sa.func.coalesce(scopes.c.environment, "")
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        keys = (
            totals.c.try_id,
            environment,
            totals.c.outcome,
            totals.c.reason,
            sa.func.coalesce(totals.c.currency, ""),
        )
        sums = sa.select(*keys, sa.func.sum(totals.c.events), sa.func.sum(totals.c.revenue))
        sums = sums.join(scopes, scopes.c.id == totals.c.scope_id, isouter=True).where(totals.c.try_id.in_(some))
        for try_id, *key, count, amount in connection.execute(sums.group_by(*keys)):
            found[try_id].add(Key(*key), int(count), _in_cents(amount))
        open_keys = (events.c.try_id, environment, sa.func.coalesce(events.c.currency, ""))
        open_sums = sa.select(*open_keys, sa.func.count(), sa.func.sum(events.c.revenue))
        open_sums = open_sums.join(scopes, scopes.c.id == events.c.scope_id).join(tries, tries.c.id == events.c.try_id)
        is_left = (tries.c.ended_at.is_not(None)) | (tries.c.lease_until <= database_now(connection))
        is_open = (events.c.status == STATUS_NUMBERS[SENDING], events.c.try_id.in_(some), is_left)
        for try_id, where, currency, count, amount in connection.execute(
            open_sums.where(*is_open).group_by(*open_keys)
        ):
            lost = Key(where, Outcome.IN_DOUBT.value, _LOST_ANSWER, currency)
            found[try_id].add(lost, int(count), _in_cents(amount))
    return found


def _folded(its_tries: Sequence[Counts]) -> Counts:
    """The tries of one task instance as one: what arrived adds up, and of the rest the last reading of a row counts."""
    whole = Counts()
    for counts in its_tries:
        before, whole = whole, Counts()
        # With a checkpoint a try reads on where the last one stopped, and its counts are of other rows.
        reads_again = counts.events.total() >= before.events.total() or any(
            key.reason == _BY_EARLIER_TRY for key in counts.events
        )
        whole.take(counts)
        whole.take(before, _ARRIVED if reads_again else _SETTLED)
    return whole


_SETTLED = frozenset(outcome.value for outcome in Outcome if outcome is not Outcome.HELD)


def _in_cents(amount: Decimal | None) -> Decimal | None:
    """Without the zeros that a database adds."""
    if amount is None:
        return None
    rounded = round(Decimal(amount), 6)
    return round(rounded, 2) if rounded == round(rounded, 2) else rounded.normalize()
