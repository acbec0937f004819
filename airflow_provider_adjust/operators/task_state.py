"""The checkpoint's place in Airflow: the task state store, which outlives a try of a task instance (Airflow 3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Context

from airflow_provider_adjust.s2s.checkpoint import STATE_KEY


class TaskStateCheckpointStore:
    """Keeps the checkpoint under one key. It never expires: between two tries there may be any time."""

    def __init__(self, task_state_store: Any) -> None:
        self._store = task_state_store

    @classmethod
    def of(cls, context: Context) -> TaskStateCheckpointStore | None:
        """The store of the running task instance; None where Airflow has none."""
        store = context.get("task_state_store")
        return None if store is None else cls(store)

    def load(self) -> Mapping[str, Any] | None:
        state = self._store.get(STATE_KEY)
        return state if isinstance(state, Mapping) else None

    def save(self, state: dict[str, Any]) -> None:
        # Only an Airflow that has the store has the constant.
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]

        self._store.set(STATE_KEY, state, retention=NEVER_EXPIRE)
