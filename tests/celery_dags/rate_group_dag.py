"""Eight mapped tasks that share one limit. They are of different length, and more than run at once, so they come and go."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import dag
from rate_group_numbers import EVENTS, EVENTS_PER_SECOND

from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))
def rate_group() -> None:
    SqlToAdjustOperator.partial(
        task_id="send_purchases",
        sql_conn_id="warehouse",
        sql="""
            SELECT now() - interval '1 day' + n * interval '1 second' AS created_at, %(task)s || '-' || n AS order_id,
              md5(%(task)s || '-' || n) AS web_uuid
            FROM generate_series(1, %(events)s) AS n ORDER BY n
        """,
        event_token="f0ob4r",
        id_field="order_id",
        ledger_conn_id="adjust_ledger",
        max_events_per_second=EVENTS_PER_SECOND,
        rate_group="adjust",
    ).expand(parameters=[{"task": str(task), "events": events} for task, events in enumerate(EVENTS)])


rate_group()
