"""Send a first event: one purchase that a task returns. It needs only the connection ``adjust_default``."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import dag, task

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator


@dag(schedule=None, tags=["adjust", "start"])
def adjust_quickstart() -> None:
    # Keep the device ids out of the log: by default, Airflow logs what a task returns.
    @task(show_return_value_in_logs=False)
    def load_purchases() -> list[dict[str, str]]:
        """Read your purchases here. The keys are Adjust's parameter names."""
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
