"""Send purchases as soon as they are loaded: the DAG is scheduled by an asset, not by a clock.

``adjust_load_purchases`` stands in for the DAG that loads your warehouse. Its asset event holds the time span that was
loaded. ``adjust_asset_scheduled`` runs after it, sends that span, and updates an Adjust asset. It needs the connections
``warehouse``, ``adjust_default``, and ``adjust_ledger`` (any database).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, Param, dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

WAREHOUSE_PURCHASES = Asset("warehouse_purchases")
ADJUST_PURCHASES = Asset("adjust_purchases", uri="adjust://4w565xzmb54d/f0ob4r")


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["adjust", "sources"],
)
def adjust_load_purchases() -> None:
    @task(outlets=[WAREHOUSE_PURCHASES])
    def load(*, outlet_events: Any, data_interval_start: datetime, data_interval_end: datetime) -> None:
        """Load the interval's purchases here, and put the time span on the asset event."""
        outlet_events[WAREHOUSE_PURCHASES].extra = {
            "start": data_interval_start.isoformat(),
            "end": data_interval_end.isoformat(),
        }

    load()


@dag(
    schedule=[WAREHOUSE_PURCHASES],
    # Two runs at once could send a device's events out of order.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={
        "start": Param(None, type=["null", "string"], format="date-time", title="From (only for a run by hand)"),
        "end": Param(None, type=["null", "string"], format="date-time", title="To (only for a run by hand)"),
    },
    tags=["adjust", "sources"],
)
def adjust_asset_scheduled() -> None:
    @task(multiple_outputs=True, retries=0)
    def window(*, triggering_asset_events: Any, params: dict[str, Any]) -> dict[str, str]:
        """The time span that was loaded. One run covers all loads since the last run."""
        loads = [event.extra for event in triggering_asset_events.get(WAREHOUSE_PURCHASES, ())] or [params]
        if not all(load.get("start") and load.get("end") for load in loads):
            raise ValueError("the asset's event does not say what was loaded; a run by hand needs a start and an end")
        start = min(datetime.fromisoformat(load["start"]).astimezone(UTC) for load in loads)
        end = max(datetime.fromisoformat(load["end"]).astimezone(UTC) for load in loads)
        return {"start": start.strftime("%Y-%m-%d %H:%M:%S"), "end": end.strftime("%Y-%m-%d %H:%M:%S")}

    send_purchases = SqlToAdjustOperator(
        task_id="send_purchases",
        sql_conn_id="warehouse",
        sql="sql/purchases_window.sql",
        event_token="f0ob4r",
        id_field="order_id",
        # depends_on_past has no effect, because an asset-triggered run has no logical date. Clear a failed run before the
        # next load.
        # A repeated load triggers another run; the ledger keeps that run from sending again.
        ledger_conn_id="adjust_ledger",
        max_rejected=0.05,
        # An asset-triggered run has no date, so use its id.
        rejected_path="rejected/{{ dag.dag_id }}/{{ run_id }}.jsonl",
        outlets=[ADJUST_PURCHASES],
    )

    window() >> send_purchases


adjust_load_purchases()
adjust_asset_scheduled()
