"""A DAG with a sending task that publishes its process id, so that test_real_airflow can kill it; run by a real scheduler."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import dag

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

FOLDER = Path(os.environ.get("TEST_FOLDER", "."))


class TellsItsProcess(AdjustSendEventsOperator):
    """Writes the id of the process that runs it, once it sends."""

    def execute(self, context: Any) -> dict[str, Any]:
        (FOLDER / f"{self.task_id}.{context['ti'].try_number}.pid").write_text(str(os.getpid()))
        return super().execute(context)


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False, is_paused_upon_creation=False)
def killed() -> None:
    for memory, options in {
        "checkpoint": {},
        "ledger": {"ledger_conn_id": "ledger", "on_in_doubt": "verify"},
    }.items():
        TellsItsProcess(
            task_id=memory,
            events=(FOLDER / f"{memory}.jsonl").as_uri(),
            event_token="f0ob4r",
            id_field="order_id",
            event_id_param="event_id",
            rejected_path=(FOLDER / f"{memory}.rejected.jsonl").as_uri(),
            retries=10,
            retry_delay=timedelta(seconds=0),
            **options,
        )


killed()
