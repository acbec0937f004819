"""The same nightly delivery from six kinds of warehouse. Only the connection and the hook's arguments differ.

Each DAG needs ``adjust_default`` and its warehouse's default connection, such as ``snowflake_default``;
docs/guides/warehouses.md shows one of each. Keep the one that you use.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from airflow.sdk import dag
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator


class Warehouse(NamedTuple):
    """Where the tables are."""

    conn_id: str
    tables: str
    hook_params: dict[str, Any] | None = None


WAREHOUSES = {
    "postgres": Warehouse("postgres_default", "shop"),
    "redshift": Warehouse("redshift_default", "shop"),
    "snowflake": Warehouse("snowflake_default", "shop"),
    # The hook's default is BigQuery's legacy SQL.
    "bigquery": Warehouse("google_cloud_bigquery_default", "shop", {"use_legacy_sql": False}),
    "databricks": Warehouse("databricks_default", "shop", {"catalog": "main"}),
    "trino": Warehouse("trino_default", "shop"),
}


def nightly_delivery(name: str, warehouse: Warehouse) -> None:
    @dag(
        dag_id=f"adjust_from_{name}",
        schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
        tags=["adjust", "sources"],
    )
    def adjust_from_warehouse() -> None:
        SqlToAdjustOperator(
            task_id="send_purchases",
            sql_conn_id=warehouse.conn_id,
            hook_params=warehouse.hook_params,
            sql="sql/purchases_of_a_warehouse.sql",
            params={"tables": warehouse.tables},
            event_token="f0ob4r",
            # Wait for a night that failed: Adjust refuses its events once newer ones have arrived. Do not add max_active_runs=1:
            # the run that waits would keep the one that you clear from starting.
            depends_on_past=True,
            id_field="order_id",
            max_rejected=0.05,
            rejected_path="rejected/{{ dag.dag_id }}/{{ ts_nodash }}.jsonl",
        )

    adjust_from_warehouse()


for name, warehouse in WAREHOUSES.items():
    nightly_delivery(name, warehouse)
