"""Checkpoints in Airflow's metadata database, since Airflow 3.3."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from airflow_provider_adjust.airflow_versions import conf
from airflow_provider_adjust.s2s.checkpoint import STATE_KEY
from airflow_provider_adjust.s2s.redaction import escape

_METASTORE = "airflow.state.metastore.MetastoreBackend"
#: The most characters of an event id in a detail of a summary.
_LONGEST_ID = 40


def erase_from_checkpoints(event_ids: Collection[str], *, dry_run: bool) -> int | None:
    """Remove the details that name one of the events from every task's checkpoint; return how many checkpoints had some.

    None if they cannot be reached: this Airflow has no task state store, or keeps states elsewhere, or its metadata database
    cannot be read from here.
    """
    try:
        from airflow.models.task_state_store import TaskStateStoreModel
    except ImportError:  # Airflow before 3.3
        return None
    if conf.get("state_store", "backend", fallback=_METASTORE) != _METASTORE or conf.get(
        "workers", "state_store_backend", fallback=""
    ):
        return None
    from airflow.utils.session import create_session
    from sqlalchemy import or_, select
    from sqlalchemy.exc import DBAPIError

    shown = [escape(event_id, _LONGEST_ID) for event_id in event_ids]
    if not shown:
        return 0
    column = TaskStateStoreModel.value
    named = or_(*(column.contains(json.dumps(f"(event {each})")[1:-1], autoescape=True) for each in shown))
    checkpoints = select(TaskStateStoreModel).where(TaskStateStoreModel.key == STATE_KEY, named)
    count = 0
    try:
        with create_session() as session:
            for kept in session.scalars(checkpoints):
                count += 1
                if not dry_run:
                    kept.value = json.dumps(_without_details(json.loads(kept.value), shown))
    except DBAPIError:
        return None
    return count


def _without_details(state: dict[str, Any], shown: Collection[str]) -> dict[str, Any]:
    """The state without the summary's detail of a reason's first row, if that row is one of these events."""
    summary = state["settled"]
    named = [f"(event {each})" for each in shown]
    kept = [each for each in summary["first_details"] if not any(name in each[-1] for name in named)]
    return {**state, "settled": {**summary, "first_details": kept}}
