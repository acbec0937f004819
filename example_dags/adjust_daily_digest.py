"""One message each morning on all DAGs that send to Adjust: what arrived, what is missing, and who did not even begin.

It is scheduled after the nights: the data interval is the day until 8 o'clock, in which the night's tries began. It needs the
connections ``adjust_ledger``, which the sending DAGs have as their ledger, and ``smtp_default``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_adjust.operators.adjust_delivery_digest import AdjustDeliveryDigestOperator


@dag(
    schedule=CronDataIntervalTimetable("0 8 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["adjust", "people"],
)
def adjust_daily_digest() -> None:
    AdjustDeliveryDigestOperator(
        task_id="digest",
        ledger_conn_id="adjust_ledger",
        # Without this, each DAG is expected that the ledger knows from the last 7 days.
        dag_ids=["adjust_revenue_sync", "adjust_sharded"],
        email_to="data@example.com",
    )


adjust_daily_digest()
