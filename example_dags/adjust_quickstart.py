"""The first event: one purchase, straight out of a task. It needs the connection ``adjust_default`` and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import dag, task

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator


@dag(schedule=None, tags=["adjust", "start"])
def adjust_quickstart() -> None:
    # What a task returns is logged unless it says otherwise, and a device id belongs in no log.
    @task(show_return_value_in_logs=False)
    def load_purchases() -> list[dict[str, str]]:
        """Read your purchases here, under the names that Adjust gives the parameters."""
        return [
            {
                "order_id": "order-1",
                "gps_adid": "38400000-8cf0-11bd-b23e-10b96e40000d",
                "created_at": datetime.now(UTC).isoformat(),
                "revenue": "9.90",
                "currency": "EUR",
            }
        ]

    AdjustSendEventsOperator(
        task_id="send_purchases",
        events=load_purchases(),
        event_token="f0ob4r",
        id_field="order_id",
    )


adjust_quickstart()
