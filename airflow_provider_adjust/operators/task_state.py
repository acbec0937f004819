"""The checkpoint's place in Airflow: the task state store, which outlives a try of a task instance (Airflow 3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_provider_adjust.s2s.checkpoint import STATE_KEY, Checkpoint

if TYPE_CHECKING:
    from airflow.sdk.types import Logger


class TaskStateCheckpointStore:
    """Keeps the checkpoint under one key. It never expires: between two tries there may be any time."""

    def __init__(self, task_state_store: Any) -> None:
        self._store = task_state_store

    def load(self) -> Mapping[str, Any] | None:
        state = self._store.get(STATE_KEY)
        return state if isinstance(state, Mapping) else None

    def save(self, state: dict[str, Any]) -> None:
        # Only an Airflow that has the store has the constant.
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]

        self._store.set(STATE_KEY, state, retention=NEVER_EXPIRE)


def open_checkpoint(context: Context, log: Logger) -> Checkpoint | None:
    """The checkpoint of the running task instance; None where Airflow has no task state store. The log says either.

    :raises CheckpointMismatch: what an earlier try wrote cannot be read.
    """
    store = context.get("task_state_store")
    if store is None:
        log.warning(
            "This Airflow has no task state store (3.3 has), so a try that fails after it has sent events is not retried"
        )
        return None
    checkpoint = Checkpoint(TaskStateCheckpointStore(store))
    if checkpoint.resumes:
        log.info(
            "An earlier try settled %s events; they are not sent again. To send everything again, delete the task's "
            "state %s before clearing the task",
            f"{checkpoint.resumes:,}",
            STATE_KEY,
        )
    return checkpoint
