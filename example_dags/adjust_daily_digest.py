"""Send one message each morning about all DAGs that send to Adjust: what arrived, what is missing, and which DAGs did not
start.

Schedule it after the nightly DAGs: its data interval, the 24 hours until 8:00, must include the start of each night's
tries. It needs the connections ``adjust_ledger``, the ledger of the sending DAGs, and ``smtp_default``.
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
        # By default, every DAG that the ledger saw in the last 7 days is expected.
        dag_ids=["adjust_revenue_sync", "adjust_sharded"],
        email_to="data@example.com",
    )


adjust_daily_digest()
