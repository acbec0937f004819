"""The last night of each DAG: whether its revenue arrived, and what is missing.

A night is a DAG's last scheduled run, or its last run if none was scheduled, in one environment. Delivered events are counted
over all tries of its tasks, missing ones by the last try of each. A run that failed before its environment was known is the
last night of each environment of its DAG.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from airflow_provider_adjust.deliveries_page.queries import (
    COUNTED,
    environment_of_total,
    is_alive,
    may_be_shown,
    of_dags,
    set_up_environment,
    shown_environment,
    state,
)
from airflow_provider_adjust.deliveries_page.schedule import AirflowRun, Schedule
from airflow_provider_adjust.s2s.answers.reasons import Reason, reason_of
from airflow_provider_adjust.s2s.ledger.schema import SENDING, STATUS_NUMBERS, events, scopes, totals, tries
from airflow_provider_adjust.s2s.ledger.tries import LOST, RUNNING, SUCCESS

#: How far back the last night may lie.
LOOK_BACK = timedelta(days=35)
#: The most runs that are read; backfills have many.
MOST_RUNS = 5_000
_SCHEDULED = "scheduled__"
_try = tries.c

Verdict = Literal["arrived", "partly", "nothing", "failed", "killed", "running"]
#: Most urgent first.
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
    """A DAG's last run in one environment, which is empty if the run failed before it was known."""

    dag_id: str
    run_id: str
    environment: str
    verdict: Verdict
    began_at: datetime
    #: The time at which the last of its tries ended or was last seen.
    seen_at: datetime
    #: The last success of the DAG within the searched days.
    last_success: datetime | None
    delivered: int
    revenue: Mapping[str, Decimal]
    missing: list[Missing]
    #: The first lines of its tasks' errors, and the paths of their rejected files.
    errors: list[str]
    rejected_paths: list[str]
    #: One of its tasks, worst first, for the link to its log.
    task_id: str
    map_index: int
    #: The scheduled run after this one, if its tasks have not begun to send.
    later: AirflowRun | None = None
    next_run: datetime | None = None
    is_paused: bool = False

    @property
    def was_not_read(self) -> bool:
        """Whether it failed before a row was read, so that the number of missing events is not known."""
        return self.verdict in {"failed", "killed"} and not self.missing and not self.delivered

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


def last_nights(
    connection: sa.Connection,
    dag_ids: Collection[str],
    now: datetime,
    *,
    run_id: str | None = None,
    schedules: Mapping[str, Schedule] | None = None,
) -> list[Night]:
    """The last night of each DAG and environment, most urgent first.

    :param run_id: use this run of the DAG as its last night.
    :param schedules: the DAGs' schedules in Airflow.
    """
    lasts = _last_runs(connection, dag_ids, now, run_id)
    if not lasts:
        return []
    tries_of = _tries(connection, {(each.dag_id, each.run_id) for each in lasts}, now)
    counts = _counts(connection, [each.id for found in tries_of.values() for each in found], now)
    nights = [
        _night(last, *_in_environment(tries_of[last.dag_id, last.run_id], counts, last.environment)) for last in lasts
    ]
    for last, night in zip(lasts, nights, strict=True) if run_id is None else ():
        _add_schedule(night, (schedules or {}).get(night.dag_id), last.known)
    return sorted(nights, key=lambda night: (_ORDER.index(night.verdict), night.dag_id, night.environment))


#: The meaning of the state of an Airflow run without a task that has begun to send.
_WITHOUT_A_TRY: Mapping[str, Verdict] = {"failed": "failed", "success": "nothing"}


def _add_schedule(night: Night, schedule: Schedule | None, known: Collection[str]) -> None:
    if schedule is None:
        return
    night.next_run, night.is_paused = schedule.next_run, schedule.is_paused
    last = schedule.last
    if last is not None and last.run_id not in known and last.run_after > night.began_at:
        night.later, night.verdict = last, _WITHOUT_A_TRY.get(last.state, "running")


@dataclass(slots=True)
class _Run:
    """A run of a DAG, and the environments in which it tried to send."""

    dag_id: str
    run_id: str
    ended_at: datetime | None
    succeeded: bool
    environments: set[str]


class _Last(NamedTuple):
    dag_id: str
    environment: str
    run_id: str
    last_success: datetime | None
    #: All runs of the DAG in the ledger.
    known: frozenset[str]


def _last_runs(connection: sa.Connection, dag_ids: Collection[str], now: datetime, run_id: str | None) -> list[_Last]:
    """The last scheduled run of each DAG and environment, or else its last run; and the last success."""
    by_dag: dict[str, list[_Run]] = defaultdict(list)
    for run in _runs(connection, dag_ids, now, run_id):
        by_dag[run.dag_id].append(run)
    lasts = []
    for dag_id, runs in sorted(by_dag.items()):
        for environment in sorted(set().union(*(run.environments for run in runs))) or [""]:
            mine = [run for run in runs if environment in run.environments or not run.environments]
            last = next((run for run in mine if run.run_id.startswith(_SCHEDULED)), mine[0])
            ended = [run.ended_at for run in mine if run.succeeded and run.ended_at is not None]
            known = frozenset(run.run_id for run in runs)
            lasts.append(_Last(dag_id, environment, last.run_id, max(ended, default=None), known))
    return lasts


def _runs(connection: sa.Connection, dag_ids: Collection[str], now: datetime, run_id: str | None) -> list[_Run]:
    """The runs, latest first."""
    began = sa.func.min(_try.started_at)
    is_well = sa.func.min(sa.case((sa.and_(_try.is_latest, _try.state != SUCCESS), 0), else_=1))
    where = [_try.dag_id != "", may_be_shown(dag_ids)]
    where.append(_try.started_at >= now - LOOK_BACK if run_id is None else _try.run_id == run_id)
    query = (
        sa.select(
            _try.dag_id,
            _try.run_id,
            set_up_environment().label("shown_environment"),
            began.label("began"),
            sa.func.max(_try.ended_at).label("ended"),
            is_well.label("is_well"),
        )
        .where(*where)
        .group_by(_try.dag_id, _try.run_id, "shown_environment")
        .order_by(sa.desc("began"))
        .limit(MOST_RUNS)
    )
    runs: dict[tuple[str, str], _Run] = {}
    for each in of_dags(dag_ids, connection.execute(query)):
        run = runs.setdefault((each.dag_id, each.run_id), _Run(each.dag_id, each.run_id, each.ended, True, set()))
        run.succeeded &= bool(each.is_well)
        run.ended_at = max(filter(None, (run.ended_at, each.ended)), default=None)
        run.environments.update(each.shown_environment.split(","))
    # Where each row names its environment, and in a ledger of an older provider, only the events know it.
    unnamed = (
        sa.select(_try.dag_id, _try.run_id, shown_environment().label("environment"))
        .join(totals, totals.c.try_id == _try.id)
        .join(scopes, scopes.c.id == totals.c.scope_id)
        .where(_try.environment == "", *where)
        .distinct()
    )
    for each in connection.execute(unnamed):
        if known := runs.get((each.dag_id, each.run_id)):
            known.environments.add(each.environment)
    for run in runs.values():
        run.environments.discard("")
    return list(runs.values())


def _tries(
    connection: sa.Connection, runs: Collection[tuple[str, str]], now: datetime
) -> dict[tuple[str, str], list[Any]]:
    """The tries of the runs, with their state as of now."""
    seen = sa.func.coalesce(_try.ended_at, _try.heartbeat_at)
    columns = (_try.id, _try.dag_id, _try.run_id, _try.task_id, _try.map_index, _try.is_latest, _try.started_at)
    query = sa.select(
        *columns,
        state(now).label("state"),
        seen.label("seen_at"),
        _try.read,
        _try.error,
        _try.rejected_path,
        set_up_environment().label("environment"),
    ).where(sa.tuple_(_try.dag_id, _try.run_id).in_(sorted(runs)))
    found: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for each in connection.execute(query.order_by(_try.id)):
        if (each.dag_id, each.run_id) in runs:
            found[each.dag_id, each.run_id].append(each)
    return found


def _counts(connection: sa.Connection, try_ids: Collection[int], now: datetime) -> dict[int, list[Any]]:
    """The counts of the tries, by environment, outcome, reason and currency."""
    keys = (
        totals.c.try_id,
        environment_of_total().label("shown_environment"),
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
    environment = shown_environment().label("shown_environment")
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
        .group_by(events.c.try_id, "shown_environment", events.c.currency)
    )


def _in_environment(
    run: Sequence[Any], counts: Mapping[int, list[Any]], environment: str
) -> tuple[list[Any], list[Any]]:
    """The tries of the run that send to the environment, and their counts there."""
    tries_of, counted = [], []
    for each in run:
        found = counts.get(each.id, [])
        mine = [count for count in found if _is_in(count.shown_environment, environment)]
        counted += mine
        if mine or (not found and _is_in(each.environment, environment)):
            tries_of.append(each)
    return tries_of or list(run), counted


def _is_in(names: str, environment: str) -> bool:
    """Whether it belongs to the environment. Unknown or several environments belong to each."""
    return not names or not environment or environment in names.split(",")


def _night(last: _Last, run: Sequence[Any], counted: Iterable[Any]) -> Night:
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
    latest = [each for each in run if each.is_latest] or [run[-1]]
    worst = min(latest, key=lambda each: _SEVERITY.get(each.state, 0))
    return Night(
        dag_id=last.dag_id,
        run_id=last.run_id,
        environment=last.environment,
        verdict=_verdict({each.state for each in latest}, delivered, bool(missing), sum(each.read for each in latest)),
        began_at=min(each.started_at for each in run),
        seen_at=max(each.seen_at for each in run),
        last_success=last.last_success,
        delivered=delivered,
        revenue=dict(revenue),
        missing=sorted(missing.values(), key=_weight, reverse=True),
        errors=list(dict.fromkeys(each.error for each in latest if each.error)),
        rejected_paths=list(dict.fromkeys(each.rejected_path for each in latest if each.rejected_path)),
        task_id=worst.task_id,
        map_index=worst.map_index,
    )


#: The states of a try, worst first; unknown states come before them.
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
