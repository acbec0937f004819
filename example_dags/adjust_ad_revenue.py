"""Send a night's ad revenue from a mediation table, and compare it with Adjust's report.

It needs the connections ``warehouse``, ``adjust_ledger`` and ``adjust_default``. The last one's S2S security token has the
scope *Ad revenue*, and it has an API token for the report.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_adjust.operators.adjust_reconcile import AdjustReconcileOperator
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    # Adjust takes ad revenue of the last 28 days, in any order, so missed nights may be caught up.
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["adjust", "ad revenue"],
)
def adjust_ad_revenue() -> None:
    send_ad_revenue = SqlToAdjustOperator(
        task_id="send_ad_revenue",
        endpoint="ad_revenue",
        sql_conn_id="warehouse",
        sql="sql/ad_revenue.sql",
        id_field="impression_id",
        # What it has is not sent again: ads earn the same amount many times in a second.
        ledger_conn_id="adjust_ledger",
        max_rejected=0.05,
        rejected_path="rejected/{{ dag.dag_id }}/{{ ts_nodash }}.jsonl",
        # Micros taken for units cannot be taken back. No impression earns a hundred dollars.
        max_revenue=100,
    )

    reconcile = AdjustReconcileOperator(
        task_id="reconcile",
        endpoint="ad_revenue",
        sql_conn_id="warehouse",
        sql="sql/ad_revenue_per_day.sql",
        ledger_conn_id="adjust_ledger",
        # Devices that Adjust does not know have no ad revenue there. Rows are counted by the ledger.
        revenue_tolerance=0.05,
        tolerance=0.05,
        retries=3,
        retry_delay=timedelta(hours=1),
    )

    send_ad_revenue >> reconcile


adjust_ad_revenue()
