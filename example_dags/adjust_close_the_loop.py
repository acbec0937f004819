"""Send each day's purchases, wait until Adjust's report shows them, and prove that it shows the warehouse's revenue.

It needs three connections: ``warehouse`` and ``adjust_ledger``, any databases, and ``adjust_default`` with an API token.
Nobody but this DAG should send the event token: what the app reports under it would count as well.
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
    # A timetable with data intervals: with a plain "@daily", Airflow 3 gives intervals of no length.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # Two runs at once could send a device's events out of order.
    max_active_runs=1,
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
        depends_on_past=True,
        id_field="order_id",
        max_rejected=0.05,
        ledger_conn_id="adjust_ledger",
    )

    # Reports are brought up to date about once an hour. Meanwhile the sensor takes no worker slot.
    wait_for_adjust = AdjustEventsReportedSensor(
        task_id="wait_for_adjust",
        expected=send_purchases.output,
        event_token="f0ob4r",
        deferrable=True,
        poke_interval=timedelta(minutes=10),
        timeout=timedelta(hours=12).total_seconds(),
    )

    # The sensor knows what was sent; this asks whether that is what the warehouse has, no less and no more.
    reconcile = AdjustReconcileOperator(
        task_id="reconcile",
        sql_conn_id="warehouse",
        sql="sql/purchases_per_day.sql",
        ledger_conn_id="adjust_ledger",
        tolerance=0.05,
        revenue_tolerance=0.05,
        # A later report may show what this one does not.
        retry_delay=timedelta(hours=1),
    )

    wait_for_purchases >> send_purchases >> wait_for_adjust >> reconcile


adjust_close_the_loop()
