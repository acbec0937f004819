"""The ledger's record of the tries in a window, per DAG and environment, for the daily digest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from airflow_provider_adjust.allowed_hosts import adjust_hosts
from airflow_provider_adjust.notifications.digest_counts import Counts, Key, folded
from airflow_provider_adjust.s2s.account.amounts import from_database
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.ledger.rehearsals import set_up_environment, shown_environment
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

#: How far back unnamed DAGs are searched: one that sent then is expected to send again.
SEEN_WITHIN = timedelta(days=7)
#: The names of tries outside of a DAG: the command line, plain Python.
_NO_DAG = ""
#: Not a parameter, since Postgres would not recognise the selected expression as the one in GROUP BY.
_EMPTY: sa.ColumnElement[str] = sa.literal_column("''")
_LOST_ANSWER = "no_answer"


@dataclass
class DagCounts:
    """The tries of one DAG in the window. ``states`` and ``errors`` are of each task instance's last try."""

    dag_id: str
    counts: Counts = field(default_factory=Counts)
    states: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    #: The environments of a DAG without counts.
    set_up_for: set[str] = field(default_factory=set)


class _Try(NamedTuple):
    id: int
    task: tuple[str, str, str, int]
    state: str
    error: str
    environment: str


def read_window(
    connection: sa.Connection, start: datetime, end: datetime, dag_ids: Collection[str] | None
) -> tuple[list[DagCounts], list[str]]:
    """The counts of the DAGs' tries that began in the window, and the expected DAGs without a try.

    :param start: in UTC without an offset, like ``end``, which is excluded.
    :param dag_ids: the expected DAGs; None for those that the ledger has from the last 7 days.
    """
    inspector = sa.inspect(connection)
    if not inspector.has_table(tries.name):
        return [], sorted(dag_ids or ())  # nothing was sent yet
    # A ledger with an older schema lacks this column until the next sending task.
    has_environment = "environment" in {column["name"] for column in inspector.get_columns(tries.name)}
    set_up_for = set_up_environment(adjust_hosts()) if has_environment else _EMPTY
    found = list(_tries(connection, start, end, dag_ids, set_up_for))
    counted = _counts(connection, [each.id for each in found], set_up_for)
    by_task: dict[tuple[str, str, str, int], list[_Try]] = defaultdict(list)
    for each in found:
        by_task[each.task].append(each)
    dags: dict[str, DagCounts] = {}
    for task, its_tries in by_task.items():
        dag = dags.setdefault(task[0], DagCounts(task[0]))
        dag.counts.take(folded([counted[each.id] for each in its_tries]))
        dag.states.append(its_tries[-1].state)
        dag.errors.append(its_tries[-1].error)
        dag.set_up_for.add(its_tries[-1].environment)
    expected = set(dag_ids) if dag_ids is not None else _seen(connection, end)
    return sorted(dags.values(), key=lambda dag: dag.dag_id), sorted(expected - dags.keys())


def _tries(
    connection: sa.Connection,
    start: datetime,
    end: datetime,
    dag_ids: Collection[str] | None,
    set_up_for: sa.ColumnElement[str],
) -> Iterator[_Try]:
    """The tries in order. A try with an expired lease is lost, even if that was not recorded."""
    now = database_now(connection)
    columns = tries.c
    task_columns = (columns.dag_id, columns.run_id, columns.task_id, columns.map_index)
    selected = (
        columns.id,
        *task_columns,
        columns.state,
        columns.error,
        columns.lease_until,
        set_up_for.label("set_up_for"),
    )
    query = sa.select(*selected).where(columns.started_at >= start, columns.started_at < end, columns.dag_id != _NO_DAG)
    if dag_ids is not None:
        query = query.where(columns.dag_id.in_(dag_ids))
    for row in connection.execute(query.order_by(columns.id)):
        is_lost = row.state == RUNNING and row.lease_until <= now
        task = (row.dag_id, row.run_id, row.task_id, row.map_index)
        yield _Try(row.id, task, LOST if is_lost else row.state, row.error, row.set_up_for)


def _seen(connection: sa.Connection, end: datetime) -> set[str]:
    query = (
        sa.select(tries.c.dag_id).distinct().where(tries.c.started_at >= end - SEEN_WITHIN, tries.c.started_at < end)
    )
    return set(connection.scalars(query)) - {_NO_DAG}


def _counts(connection: sa.Connection, ids: Sequence[int], set_up_for: sa.ColumnElement[str]) -> dict[int, Counts]:
    """The counts of each try. Events that it was sending when it ended are in doubt."""
    found: dict[int, Counts] = defaultdict(Counts)
    # A row that could not be read has no scope, so it counts in the environment of its try.
    # Grouped by its label: Postgres does not recognise a repeated expression with parameters.
    environment = sa.func.coalesce(shown_environment(adjust_hosts()), set_up_for, _EMPTY).label("shown_environment")
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        keys = (
            totals.c.try_id,
            environment,
            totals.c.outcome,
            totals.c.reason,
            sa.func.coalesce(totals.c.currency, _EMPTY),
        )
        sums = sa.select(*keys, sa.func.sum(totals.c.events), sa.func.sum(totals.c.revenue))
        sums = (
            sums.join(tries, tries.c.id == totals.c.try_id)
            .join(scopes, scopes.c.id == totals.c.scope_id, isouter=True)
            .where(totals.c.try_id.in_(some), totals.c.events > 0)
        )
        for try_id, *key, count, amount in connection.execute(sums.group_by(*_by_name(keys))):
            found[try_id].add(Key(*key), int(count), _amount(amount))
        open_keys = (events.c.try_id, environment, sa.func.coalesce(events.c.currency, _EMPTY))
        open_sums = sa.select(*open_keys, sa.func.count(), sa.func.sum(events.c.revenue))
        open_sums = open_sums.join(scopes, scopes.c.id == events.c.scope_id).join(tries, tries.c.id == events.c.try_id)
        is_left = (tries.c.ended_at.is_not(None)) | (tries.c.lease_until <= database_now(connection))
        is_open = (events.c.status == STATUS_NUMBERS[SENDING], events.c.try_id.in_(some), is_left)
        for try_id, where, currency, count, amount in connection.execute(
            open_sums.where(*is_open).group_by(*_by_name(open_keys))
        ):
            lost = Key(where, Outcome.IN_DOUBT.value, _LOST_ANSWER, currency)
            found[try_id].add(lost, int(count), _amount(amount))
    return found


def _by_name(keys: Iterable[Any]) -> list[Any]:
    return [key.name if isinstance(key, sa.Label) else key for key in keys]


def _amount(found: Any) -> Decimal | None:
    return None if found is None else from_database(Decimal(found))
