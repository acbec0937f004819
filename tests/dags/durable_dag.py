"""A DAG with a first try that breaks in the middle of its input, and one that Adjust refuses; run by test_durable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

ROWS = 400


class BreaksOnFirstTry(AdjustSendEventsOperator):
    """Loses its source after three quarters of the rows, once."""

    def rows(self, context: Any, stack: Any) -> Iterator[dict[str, Any]]:
        start = datetime.fromisoformat(os.environ["TEST_START"])
        for number in range(ROWS):
            if number == ROWS * 3 // 4 and context["ti"].try_number == 1:
                raise ConnectionError("the database went away")
            yield {
                "order_id": f"order-{number}",
                "gps_adid": f"device-{number % 60}",
                "created_at": start + timedelta(seconds=number),
                "revenue": "nothing" if number == 10 else "1.10",
                "currency": "USD",
            }


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False)
def durable() -> None:
    BreaksOnFirstTry(
        task_id="send",
        events=[],
        event_token="f0ob4r",
        id_field="order_id",
        event_id_param="event_id",
        max_rejected=1,
        rejected_path=os.environ["TEST_REJECTED"],
        retries=1,
        retry_delay=timedelta(seconds=0),
    )


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False)
def refused() -> None:
    AdjustSendEventsOperator(
        task_id="send",
        events=[{"gps_adid": "device-1", "created_at": os.environ["TEST_START"]}],
        event_token="f0ob4r",
        retries=5,
        retry_delay=timedelta(hours=1),
    )


durable()
refused()
