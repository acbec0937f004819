"""Send each day's purchases, wait until Adjust's report shows them, and compare the report with the warehouse.

It needs three connections: ``warehouse`` and ``adjust_ledger`` (any databases), and ``adjust_default`` with an API
token. Only this DAG should send the event token: events that the app reports under it count too.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_adjust.operators.adjust_reconcile import AdjustReconcileOperator
from airflow_provider_adjust.sensors.adjust_events_ready import AdjustEventsReadySensor
from airflow_provider_adjust.sensors.adjust_events_reported import AdjustEventsReportedSensor
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator


@dag(
    # Gives each run a data interval. With a plain "@daily", intervals have no length in Airflow 3.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["adjust", "proof"],
)
def adjust_close_the_loop() -> None:
    wait_for_purchases = AdjustEventsReadySensor(
        task_id="wait_for_purchases",
        sql_conn_id="warehouse",
        sql="sql/purchases_ready.sql",
        settle_for=timedelta(minutes=10),
        timeout=timedelta(hours=6).total_seconds(),
    )

    send_purchases = SqlToAdjustOperator(
        task_id="send_purchases",
        sql_conn_id="warehouse",
        sql="sql/purchases.sql",
        event_token="f0ob4r",
        # Wait for a night that failed: Adjust refuses its events once newer ones have arrived. Do not add max_active_runs=1:
        # the run that waits would keep the one that you clear from starting.
        depends_on_past=True,
        id_field="order_id",
        max_rejected=0.05,
        ledger_conn_id="adjust_ledger",
    )

    # Adjust updates its reports about once an hour. A deferred sensor takes no worker slot meanwhile.
    wait_for_adjust = AdjustEventsReportedSensor(
        task_id="wait_for_adjust",
        expected=send_purchases.output,
        event_token="f0ob4r",
        deferrable=True,
        poke_interval=timedelta(minutes=10),
        timeout=timedelta(hours=12).total_seconds(),
    )

    # The sensor checks that at least what was sent is there. This checks that it is exactly what the warehouse has.
    reconcile = AdjustReconcileOperator(
        task_id="reconcile",
        sql_conn_id="warehouse",
        sql="sql/purchases_per_day.sql",
        ledger_conn_id="adjust_ledger",
        tolerance=0.05,
        revenue_tolerance=0.05,
        # Events may appear only in a later report.
        retry_delay=timedelta(hours=1),
    )

    wait_for_purchases >> send_purchases >> wait_for_adjust >> reconcile


adjust_close_the_loop()
