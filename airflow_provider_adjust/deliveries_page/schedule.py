"""The DAGs' next and last scheduled runs in Airflow.

A run that fails before its task begins to send leaves no trace in the ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session

_SCHEDULED = "scheduled"


@dataclass(frozen=True, slots=True)
class AirflowRun:
    """A run in Airflow. Its time is UTC without a zone, as in the ledger."""

    run_id: str
    state: str
    run_after: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a DAG runs next, and its last scheduled run."""

    next_run: datetime | None
    is_paused: bool
    last: AirflowRun | None


def schedules(dag_ids: Collection[str]) -> Mapping[str, Schedule]:
    """The schedules of the DAGs, which the user may read."""
    names = sorted(dag_ids)
    if not names:
        return {}
    latest = (
        sa.select(DagRun.dag_id, sa.func.max(DagRun.run_after).label("run_after"))
        .where(DagRun.dag_id.in_(names), DagRun.run_type == _SCHEDULED)
        .group_by(DagRun.dag_id)
        .subquery()
    )
    runs = (
        sa.select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.run_after)
        .join(latest, sa.and_(DagRun.dag_id == latest.c.dag_id, DagRun.run_after == latest.c.run_after))
        .where(DagRun.run_type == _SCHEDULED)
    )
    dags = sa.select(DagModel.dag_id, DagModel.next_dagrun_create_after, DagModel.is_paused)
    with create_session() as session:
        last = {each[0]: AirflowRun(each[1], str(each[2] or ""), _in_utc(each[3])) for each in session.execute(runs)}
        found = session.execute(dags.where(DagModel.dag_id.in_(names))).all()
    return {
        dag_id: Schedule(None if after is None else _in_utc(after), bool(is_paused), last.get(dag_id))
        for dag_id, after, is_paused in found
    }


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
