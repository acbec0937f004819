"""Send events that an upstream task returns, with templated arguments. It needs the connection ``adjust_default``.

Airflow keeps XComs in its database, so use this for hundreds of events. For millions, use a query or a file.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator


@dag(
    schedule=None,
    # Two runs at once could send a device's events out of order.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={
        "event": Param("purchase", enum=["purchase", "subscription"], title="Which event"),
        "environment": Param("sandbox", enum=["production", "sandbox"], title="Where it counts"),
    },
    tags=["adjust", "sources"],
)
def adjust_events_from_xcom() -> None:
    # Keep the device ids out of the log: by default, Airflow logs what a task returns.
    @task(show_return_value_in_logs=False)
    def load_purchases(shops: list[str]) -> list[dict[str, Any]]:
        """Query your shops here. The rows may be in any order, because a list is sorted by time before it is sent."""
        bought_at = datetime.now(UTC) - timedelta(hours=1)
        return [
            {
                "order_id": f"{shop}-{number}",
                "gps_adid": f"38400000-8cf0-11bd-b23e-10b96e40000{number}",
                "created_at": (bought_at + timedelta(minutes=number)).isoformat(),
                "revenue": "4.99",
                "currency": "EUR",
                "callback_params": {"shop": shop},
            }
            for shop in shops
            for number in range(3)
        ]

    AdjustSendEventsOperator(
        task_id="send_purchases",
        events=load_purchases(["berlin", "lisbon"]),
        event_token="{{ {'purchase': 'f0ob4r', 'subscription': 'abc123'}[params.event] }}",
        environment="{{ params.environment }}",
        id_field="order_id",
    )


adjust_events_from_xcom()
