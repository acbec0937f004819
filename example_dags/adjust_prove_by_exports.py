"""Send each day's purchases, wait for Adjust's exports, compare every event with them, and send what is missing.

It needs four connections: ``warehouse`` and ``adjust_ledger`` (any databases), ``adjust_default``, and one that may
read the bucket that Adjust uploads to (docs/guides/exports.md has the CSV definition to paste in Adjust). The exports
resolve the events in doubt. The last task sends what Adjust does not have, and what waited behind an event in doubt.
The next night's proof covers those too.
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

#: The bucket that Adjust uploads to.
EXPORTS = os.environ.get("ADJUST_EXPORTS", "s3://aws_default@bucket/adjust")


@dag(
    # Gives each run a data interval. With a plain "@daily", intervals have no length in Airflow 3.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # The rest of a night is sent before the next night. After a failed night, see "A cleared run stays queued" in the docs.
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
        # Do not resend an event in doubt before the export shows that it did not arrive.
        "on_in_doubt": "hold",
    }
    send_purchases = SqlToAdjustOperator(
        task_id="send_purchases",
        depends_on_past=True,
        # Events in doubt, and later purchases of the same device that wait for them, must not fail this task: only the proof
        # resolves them.
        tolerate=("duplicate", "in_doubt", "lane_held"),
        **purchases,
    )

    # A file holds the events that Adjust received in one hour, and is uploaded some time later.
    wait_for_exports = AdjustExportsSensor(
        task_id="wait_for_exports",
        exports=EXPORTS,
        window="{{ dag_run.start_date }}/{{ dag_run.start_date + macros.timedelta(hours=8) }}",
        deferrable=True,
        poke_interval=timedelta(minutes=10),
        timeout=timedelta(hours=18).total_seconds(),
    )

    # Fails if any event is missing, or booked twice or with another amount. Use Airflow's callbacks and notifiers to alert.
    prove = AdjustReconcileExportsOperator(
        task_id="prove",
        exports=EXPORTS,
        # Includes the day before, because the last task sends its rest after its own proof.
        window="{{ data_interval_start - macros.timedelta(days=1) }}/{{ data_interval_end }}",
        ledger_conn_id="adjust_ledger",
        settle_for=timedelta(hours=6),
        differences_path="differences/{{ ds }}.csv",
        # A late file may have arrived by the next try.
        retry_delay=timedelta(hours=1),
    )

    # The same query again: the ledger skips what was delivered. An event that is still in doubt fails this task.
    send_the_rest = SqlToAdjustOperator(task_id="send_the_rest", tolerate=("duplicate",), **purchases)

    send_purchases >> wait_for_exports >> prove >> send_the_rest


adjust_prove_by_exports()
