"""Send each day's purchases, wait until Adjust has exported the hours of the sending, prove every single event, send the rest.

It needs four connections: ``warehouse`` and ``adjust_ledger``, any databases, ``adjust_default``, and one that may read the
bucket into which Adjust uploads (docs/guides/exports.md has the CSV definition to paste there). An event that was in doubt is
settled by the export. What Adjust does not have, and what waited behind an event in doubt, is sent at the end; the next
night's proof covers it, too.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_adjust.operators.adjust_reconcile_exports import AdjustReconcileExportsOperator
from airflow_provider_adjust.sensors.adjust_exports import AdjustExportsSensor
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

#: Where Adjust uploads to.
EXPORTS = os.environ.get("ADJUST_EXPORTS", "s3://aws_default@bucket/adjust")


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
def adjust_prove_by_exports() -> None:
    purchases: dict[str, Any] = {
        "sql_conn_id": "warehouse",
        "sql": "sql/purchases.sql",
        "event_token": "f0ob4r",
        "id_field": "order_id",
        "max_rejected": 0.05,
        "ledger_conn_id": "adjust_ledger",
        # What is in doubt is not sent again before the export says that it did not arrive.
        "on_in_doubt": "hold",
    }
    send_purchases = SqlToAdjustOperator(
        task_id="send_purchases",
        depends_on_past=True,
        # What is in doubt, and the later purchases of its device that wait for it, must not keep the proof from being made:
        # only that resolves them.
        tolerate=("duplicate", "in_doubt", "lane_held"),
        **purchases,
    )

    # A file is of the hour in which Adjust got the events, and comes some time after it.
    wait_for_exports = AdjustExportsSensor(
        task_id="wait_for_exports",
        exports=EXPORTS,
        window="{{ dag_run.start_date }}/{{ dag_run.start_date + macros.timedelta(hours=8) }}",
        deferrable=True,
        poke_interval=timedelta(minutes=10),
        timeout=timedelta(hours=18).total_seconds(),
    )

    # It fails if one event is missing, was booked twice or with another amount: Airflow's own callbacks and notifiers alert.
    prove = AdjustReconcileExportsOperator(
        task_id="prove",
        exports=EXPORTS,
        # With the day before, of which the last task has sent the rest.
        window="{{ data_interval_start - macros.timedelta(days=1) }}/{{ data_interval_end }}",
        ledger_conn_id="adjust_ledger",
        settle_for=timedelta(hours=6),
        differences_path="differences/{{ ds }}.csv",
        # A file that is late is there at the next try.
        retry_delay=timedelta(hours=1),
    )

    # The same query: the ledger knows what was delivered. What is in doubt even now fails this task.
    send_the_rest = SqlToAdjustOperator(task_id="send_the_rest", tolerate=("duplicate",), **purchases)

    send_purchases >> wait_for_exports >> prove >> send_the_rest


adjust_prove_by_exports()
