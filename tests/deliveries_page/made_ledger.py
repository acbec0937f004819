"""A generated ledger of any size: nightly runs of two DAGs, with some events that were not delivered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from ledger_rows import write_deliveries

from airflow_provider_adjust.s2s.ledger.migration import prepare

DAGS = ("shop_purchases", "shop_subscriptions")
TOKENS = ("f0ob4r", "sub5cr", "tr1al0")


def fill(engine: sa.Engine, *, rows: int, days: int, last: datetime) -> None:
    """Spread that many events evenly over the days before ``last``."""
    prepare(engine)
    batch: list[dict[str, Any]] = []
    for record in _records(rows, days, last):
        batch.append(record)
        if len(batch) == 20_000:
            with engine.begin() as connection:
                write_deliveries(connection, batch)
            batch.clear()
    if batch:
        with engine.begin() as connection:
            write_deliveries(connection, batch)


def _records(rows: int, days: int, last: datetime) -> Iterator[dict[str, Any]]:
    step = timedelta(days=days) / rows
    for number in range(rows):
        occurred_at = last - timedelta(days=days) + step * number
        status, reason, http_status = _end(number)
        yield {
            "app_token": "4w565xzmb54d",
            "event_token": TOKENS[number % 3],
            "environment": "production",
            "event_id": f"order-{number:07d}",
            "status": status,
            "reason": reason,
            "http_status": http_status,
            "occurred_at": occurred_at,
            "revenue": Decimal(100 + number % 9900) / 100,
            "currency": "EUR" if number % 4 == 0 else "USD",
            "dag_id": DAGS[number % 5 == 0],
            "run_id": f"scheduled__{occurred_at:%Y-%m-%d}T00:00:00+00:00",
            "task_id": "send_purchases",
            "map_index": number % 4,
            "updated_at": occurred_at + timedelta(hours=26),
        }


def _end(number: int) -> tuple[str, str, int | None]:
    if number % 50 == 7:
        return ("rejected", "device_not_found", 404)
    if number % 400 == 11:
        return ("rejected", "device_opted_out", 451)
    if number % 1000 == 13:
        return ("duplicate", "duplicate", 400)
    if number % 5000 == 17:
        return ("in_doubt", "no_answer", None)
    return ("delivered", "", 200)
