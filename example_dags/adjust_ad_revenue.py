"""Send a night's ad revenue from a mediation table, and compare it with Adjust's report.

It needs the connections ``warehouse``, ``adjust_ledger`` and ``adjust_default``. ``adjust_default`` needs an S2S
security token with the scope *Ad revenue*, and an API token for the report.
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
    # Adjust accepts ad revenue up to 28 days old, in any order, so you can backfill missed nights later.
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
        # Keeps retries and backfills from sending a row twice.
        ledger_conn_id="adjust_ledger",
        max_rejected=0.05,
        rejected_path="rejected/{{ dag.dag_id }}/{{ ts_nodash }}.jsonl",
        # A guard against amounts in micros: Adjust cannot take revenue back, and no impression earns 100 USD.
        max_revenue=100,
    )

    reconcile = AdjustReconcileOperator(
        task_id="reconcile",
        endpoint="ad_revenue",
        sql_conn_id="warehouse",
        sql="sql/ad_revenue_per_day.sql",
        ledger_conn_id="adjust_ledger",
        # Allow for devices that Adjust does not know. `tolerance` is about the number of rows, by the ledger.
        revenue_tolerance=0.05,
        tolerance=0.05,
        retries=3,
        retry_delay=timedelta(hours=1),
    )

    send_ad_revenue >> reconcile


adjust_ad_revenue()
