"""Send each day's purchases from a warehouse to Adjust, and account for every cent.

It needs three connections: ``warehouse`` (the SQL works on Postgres and SQLite), ``adjust_ledger`` (any database, for
what was sent), and ``adjust_default``. ``make demo`` runs it on real purchases against a local stand-in for Adjust.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import ObjectStoragePath, dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_adjust.sensors.adjust_events_ready import AdjustEventsReadySensor
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator


@dag(
    # Gives each run a data interval. With a plain "@daily", intervals have no length in Airflow 3.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["adjust", "start"],
)
def adjust_revenue_sync() -> None:
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
        # Keeps backfills and cleared tasks from sending an event twice, and feeds the page "Adjust deliveries".
        ledger_conn_id="adjust_ledger",
        max_rejected=0.05,
        # Relative to [adjust] files_folder in Airflow's configuration.
        rejected_path="rejected/{{ dag.dag_id }}/{{ ts_nodash }}.jsonl",
    )

    warehouse_total = SQLExecuteQueryOperator(
        task_id="warehouse_total",
        conn_id="warehouse",
        sql="sql/purchases_total.sql",
    )

    @task(multiple_outputs=True)
    def account_for(result: dict[str, Any], warehouse: list[list[Any]]) -> dict[str, str]:
        """Fail the run unless warehouse = delivered + not delivered, to the cent."""
        count, amount = warehouse[0]
        expected = Decimal(str(amount)).quantize(Decimal("0.01"))
        delivered = Decimal(result["revenue"].get("USD", "0"))
        missing = Decimal(0)
        if result["rejected_path"]:
            with ObjectStoragePath(result["rejected_path"]).open("rt") as lines:
                missing = sum((Decimal(str(json.loads(line)["row"]["revenue"])) for line in lines), Decimal(0))
        print(f"{count} purchases, {expected} USD in the warehouse; {delivered} delivered, {missing} not delivered")
        if result["read"] != count or delivered + missing != expected:
            raise ValueError(
                f"the warehouse has {count} purchases of {expected} USD; the delivery accounts for {result}"
            )
        return {"expected": str(expected), "delivered": str(delivered), "not_delivered": str(missing)}

    wait_for_purchases >> [send_purchases, warehouse_total]
    account_for(send_purchases.output, warehouse_total.output)


adjust_revenue_sync()
