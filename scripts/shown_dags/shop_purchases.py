"""The DAG in the pictures of the page "Adjust deliveries": a fortnight of made-up purchases, sent with a ledger."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

DAYS, ROWS = 14, 1400


def purchases() -> Iterator[dict[str, Any]]:
    """Purchases in two currencies, more on some days than on others."""
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    for number in range(ROWS):
        place = number / ROWS
        yield {
            "order_id": f"order-{number}",
            "event": "subscription" if number % 3 == 0 else "purchase",
            "gps_adid": f"device-{number % 400}",
            "created_at": start + timedelta(days=DAYS) * (place + 0.02 * math.sin(place * 12)),
            "revenue": f"{1 + number % 60}.99",
            "currency": "EUR" if number % 4 == 0 else "USD",
        }


@dag(schedule=None, catchup=False)
def shop_purchases() -> None:
    AdjustSendEventsOperator(
        task_id="send_purchases",
        events=sorted(purchases(), key=lambda row: row["created_at"]),
        event_tokens={"purchase": "f0ob4r", "subscription": "sub5cr"},
        id_field="order_id",
        ledger_conn_id="adjust_ledger",
        on_in_doubt="hold",
        max_rejected=ROWS,
        retries=0,
    )


shop_purchases()
