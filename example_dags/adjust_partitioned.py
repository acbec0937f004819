"""Send one day per run, by the run's partition key. It needs Airflow 3.2.

``adjust_load_partition`` stands in for the DAG that loads your warehouse, a day at a time. ``adjust_partitioned`` runs
each time a day is loaded. Load the days in order: Adjust refuses an event that is older than one it already has for the
device. It needs the connections ``warehouse``, ``adjust_default``, and ``adjust_ledger`` (any database).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, Param, dag, task

from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

try:
    from airflow.sdk import CronPartitionTimetable, PartitionedAssetTimetable
except ImportError:  # Airflow 3.1 has no partitions, so this file has no DAG there
    CronPartitionTimetable = PartitionedAssetTimetable = None

WAREHOUSE_DAY = Asset("warehouse_purchases_by_day")
# Airflow allows one name per URI, so every DAG with this URI must use this name.
ADJUST_PURCHASES = Asset("adjust_purchases", uri="adjust://4w565xzmb54d/f0ob4r")

if CronPartitionTimetable is not None:

    @dag(
        # The partition is the day that has just ended, one tick before the run.
        schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        tags=["adjust", "sources"],
    )
    def adjust_load_partition() -> None:
        @task(outlets=[WAREHOUSE_DAY])
        def load(*, dag_run: Any) -> None:
            """Load the day's purchases here. The asset event gets the run's partition key."""
            print(f"The purchases of {dag_run.partition_key} are in the warehouse")

        load()

    @dag(
        schedule=PartitionedAssetTimetable(assets=WAREHOUSE_DAY),
        # Two runs at once could send a device's events out of order.
        max_active_runs=1,
        default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
        params={"day": Param(None, type=["null", "string"], format="date", title="Day (only for a run by hand)")},
        tags=["adjust", "sources"],
    )
    def adjust_partitioned() -> None:
        @task(multiple_outputs=True, retries=0)
        def window(*, dag_run: Any, params: dict[str, Any]) -> dict[str, str]:
            """The day's start and end, in the warehouse's format."""
            if not (key := dag_run.partition_key or params["day"]):
                raise ValueError("this run has no partition; for a run by hand, give it a day")
            day = date.fromisoformat(key)
            return {"start": f"{day} 00:00:00", "end": f"{day + timedelta(days=1)} 00:00:00"}

        send_purchases = SqlToAdjustOperator(
            task_id="send_purchases",
            sql_conn_id="warehouse",
            sql="sql/purchases_window.sql",
            event_token="f0ob4r",
            id_field="order_id",
            # depends_on_past has no effect, because such a run has no logical date. Clear a failed run before the next load.
            # If a day is loaded again, the ledger keeps its delivered events from being sent again.
            ledger_conn_id="adjust_ledger",
            max_rejected=0.05,
            rejected_path="rejected/{{ dag.dag_id }}/{{ dag_run.partition_key or params.day }}.jsonl",
            outlets=[ADJUST_PURCHASES],
        )

        window() >> send_purchases

    adjust_load_partition()
    adjust_partitioned()
