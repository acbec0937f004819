"""The last night of each DAG: whether its revenue arrived, and what is missing.

A night is a DAG's last scheduled run, or its last run where none was scheduled, in one environment. What arrived is
counted over all tries of its tasks; of what is missing, the last try of each knows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import sqlalchemy as sa

from airflow_provider_adjust.deliveries_page.queries import COUNTED, ENVIRONMENT, is_alive, of_dags
from airflow_provider_adjust.s2s.answers.reasons import Reason, reason_of
from airflow_provider_adjust.s2s.ledger.schema import SENDING, STATUS_NUMBERS, events, scopes, totals, tries
from airflow_provider_adjust.s2s.ledger.tries import LOST, RUNNING, SUCCESS

#: How far back the last night may lie.
LOOK_BACK = timedelta(days=35)
#: Runs that are looked at; backfills have many.
MOST_RUNS = 5_000
_SCHEDULED = "scheduled__"
_try = tries.c

Verdict = Literal["arrived", "partly", "nothing", "failed", "killed", "running"]
#: The loudest first.
_ORDER: Sequence[Verdict] = ("failed", "killed", "partly", "nothing", "running", "arrived")


@dataclass(slots=True)
class Missing:
    """Events of a night that did not arrive for one reason, and their revenue by currency."""

    outcome: str
    reason: Reason
    events: int = 0
    revenue: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


@dataclass(slots=True)
class Night:
    """A DAG's last run in one environment; the environment is empty where the run did not come so far as to know it."""

    dag_id: str
    run_id: str
    environment: str
    verdict: Verdict
    began_at: datetime
    #: When the last of its tries ended or was last seen.
    seen_at: datetime
    #: The last success of the DAG within the days that are looked at.
    last_success: datetime | None
    delivered: int
    revenue: Mapping[str, Decimal]
    missing: list[Missing]
    #: The first lines of the errors of its tasks, and where their rejected files are.
    errors: list[str]
    rejected_paths: list[str]
    #: One of its tasks, the worst first, for the way to its log.
    task_id: str
    map_index: int

    @property
    def missing_events(self) -> int:
        return sum(each.events for each in self.missing)

    @property
    def missing_revenue(self) -> dict[str, Decimal]:
        """The revenue that did not arrive, by currency."""
        total: defaultdict[str, Decimal] = defaultdict(Decimal)
        for each in self.missing:
            for currency, amount in each.revenue.items():
                total[currency] += amount
        return dict(total)


def last_nights(connection: sa.Connection, dag_ids: Collection[str], now: datetime) -> list[Night]:
    """The last night of each DAG and environment, the loudest first."""
    runs, successes = _last_runs(connection, dag_ids, now)
    if not runs:
        return []
    tries_of = _tries(connection, runs, now)
    counts = _counts(connection, [each.id for found in tries_of.values() for each in found], now)
    nights = [
        _night(dag_id, run_id, environment, tries_of[dag_id, run_id], counted, successes.get(dag_id))
        for dag_id, run_id in sorted(runs)
        for environment, counted in _by_environment(tries_of[dag_id, run_id], counts).items()
    ]
    return sorted(nights, key=lambda night: (_ORDER.index(night.verdict), night.dag_id, night.environment))


def _last_runs(
    connection: sa.Connection, dag_ids: Collection[str], now: datetime
) -> tuple[set[tuple[str, str]], dict[str, datetime]]:
    """The last scheduled run of each DAG, else its last; and when a run of the DAG last succeeded with all its tasks."""
    began, ended = sa.func.min(_try.started_at), sa.func.max(_try.ended_at)
    succeeded = sa.func.min(sa.case((sa.and_(_try.is_latest, _try.state != SUCCESS), 0), else_=1))
    query = (
        sa.select(_try.dag_id, _try.run_id, began.label("began"), ended.label("ended"), succeeded.label("succeeded"))
        .where(_try.started_at >= now - LOOK_BACK, _try.dag_id != "", _try.dag_id.in_(sorted(dag_ids)))
        .group_by(_try.dag_id, _try.run_id)
        .order_by(sa.desc("began"))
        .limit(MOST_RUNS)
    )
    last: dict[str, tuple[bool, str]] = {}
    successes: dict[str, datetime] = {}
    for each in of_dags(dag_ids, connection.execute(query)):
        is_scheduled = each.run_id.startswith(_SCHEDULED)
        known = last.get(each.dag_id)
        if known is None or (is_scheduled and not known[0]):
            last[each.dag_id] = is_scheduled, each.run_id
        if each.succeeded and each.ended is not None:
            successes[each.dag_id] = max(successes.get(each.dag_id, each.ended), each.ended)
    return {(dag_id, run_id) for dag_id, (_, run_id) in last.items()}, successes


def _tries(
    connection: sa.Connection, runs: Collection[tuple[str, str]], now: datetime
) -> dict[tuple[str, str], list[Any]]:
    """The tries of the runs, with their state as of now."""
    state = sa.case((sa.and_(_try.ended_at.is_(None), ~is_alive(now)), LOST), else_=_try.state)
    seen = sa.func.coalesce(_try.ended_at, _try.heartbeat_at)
    columns = (_try.id, _try.dag_id, _try.run_id, _try.task_id, _try.map_index, _try.is_latest, _try.started_at)
    query = sa.select(
        *columns,
        state.label("state"),
        seen.label("seen_at"),
        _try.read,
        _try.error,
        _try.rejected_path,
        _try.environment,
    ).where(sa.tuple_(_try.dag_id, _try.run_id).in_(sorted(runs)))
    found: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for each in connection.execute(query.order_by(_try.id)):
        if (each.dag_id, each.run_id) in runs:
            found[each.dag_id, each.run_id].append(each)
    return found


def _counts(connection: sa.Connection, try_ids: Collection[int], now: datetime) -> dict[int, list[Any]]:
    """What the tries have counted, by environment, outcome, reason and currency."""
    keys = (
        totals.c.try_id,
        ENVIRONMENT.label("shown_environment"),
        totals.c.outcome,
        totals.c.reason,
        totals.c.currency,
    )
    query = (
        sa.select(*keys, sa.func.sum(totals.c.events).label("events"), sa.func.sum(totals.c.revenue).label("revenue"))
        .join(tries, _try.id == totals.c.try_id)
        .join(scopes, scopes.c.id == totals.c.scope_id, isouter=True)
        .where(totals.c.try_id.in_(sorted(try_ids)), COUNTED)
        .group_by(totals.c.try_id, "shown_environment", totals.c.outcome, totals.c.reason, totals.c.currency)
    )
    found: dict[int, list[Any]] = defaultdict(list)
    for each in (*connection.execute(query), *connection.execute(_left_in_doubt(try_ids, now))):
        found[each.try_id].append(each)
    return found


def _left_in_doubt(try_ids: Collection[int], now: datetime) -> sa.Select[Any]:
    """What tries were sending when they were killed."""
    environment = scopes.c.environment.label("shown_environment")
    return (
        sa.select(
            events.c.try_id,
            environment,
            sa.literal_column("'in_doubt'").label("outcome"),
            sa.literal_column("'no_answer'").label("reason"),
            events.c.currency,
            sa.func.count().label("events"),
            sa.func.sum(events.c.revenue).label("revenue"),
        )
        .join(tries, _try.id == events.c.try_id)
        .join(scopes, scopes.c.id == events.c.scope_id)
        .where(
            events.c.try_id.in_(sorted(try_ids)),
            events.c.status == STATUS_NUMBERS[SENDING],
            _try.state.in_((RUNNING, LOST)),
            ~is_alive(now),
        )
        .group_by(events.c.try_id, scopes.c.environment, events.c.currency)
    )


def _by_environment(run: Sequence[Any], counts: Mapping[int, list[Any]]) -> dict[str, list[Any]]:
    """The counts of a run by environment; one without counts has the environment that its last try was set up for."""
    found: dict[str, list[Any]] = defaultdict(list)
    for each in run:
        for count in counts.get(each.id, ()):
            found[count.shown_environment].append(count)
    return found or {run[-1].environment: []}


def _night(
    dag_id: str,
    run_id: str,
    environment: str,
    run: Sequence[Any],
    counted: Iterable[Any],
    last_success: datetime | None,
) -> Night:
    delivered, revenue = 0, defaultdict[str, Decimal](Decimal)
    missing: dict[tuple[str, str], Missing] = {}
    for each in counted:
        amount = Decimal(str(each.revenue)) if each.revenue is not None and each.currency else None
        if each.outcome in {"delivered", "duplicate"}:
            delivered += int(each.events) if each.outcome == "delivered" else 0
            if amount is not None and each.outcome == "delivered":
                revenue[each.currency] += amount
            continue
        one = missing.setdefault((each.outcome, each.reason), Missing(each.outcome, reason_of(each.reason)))
        one.events += int(each.events)
        if amount is not None:
            one.revenue[each.currency] += amount
    latest = [each for each in run if each.is_latest]
    worst = min(latest, key=lambda each: _SEVERITY.get(each.state, 0))
    return Night(
        dag_id=dag_id,
        run_id=run_id,
        environment=environment,
        verdict=_verdict({each.state for each in latest}, delivered, bool(missing), sum(each.read for each in latest)),
        began_at=min(each.started_at for each in run),
        seen_at=max(each.seen_at for each in run),
        last_success=last_success,
        delivered=delivered,
        revenue=dict(revenue),
        missing=sorted(missing.values(), key=_weight, reverse=True),
        errors=list(dict.fromkeys(each.error for each in latest if each.error)),
        rejected_paths=list(dict.fromkeys(each.rejected_path for each in latest if each.rejected_path)),
        task_id=worst.task_id,
        map_index=worst.map_index,
    )


#: The states of a try, the worst first; others come before them.
_SEVERITY = {LOST: 1, RUNNING: 2, SUCCESS: 3}


def _verdict(states: Collection[str], delivered: int, is_missing: bool, read: int) -> Verdict:
    if RUNNING in states:
        return "running"
    if set(states) - {SUCCESS}:
        if delivered:
            return "partly"
        return "killed" if LOST in states else "failed"
    if is_missing:
        return "partly" if delivered else "failed"
    return "arrived" if read else "nothing"


def _weight(missing: Missing) -> tuple[Decimal, int]:
    return max(missing.revenue.values(), default=Decimal(0)), missing.events
