"""Send one query's rows to two apps: each row goes to the app of its platform, with that app's tokens.

It needs the connections ``warehouse``, ``adjust_ios`` and ``adjust_android``. The last two each have an app token and
an S2S security token.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["adjust", "apps"],
)
def adjust_two_apps() -> None:
    SqlToAdjustOperator(
        task_id="send_purchases",
        sql_conn_id="warehouse",
        sql="sql/purchases_by_app.sql",
        adjust_conn_id={"ios": "adjust_ios", "android": "adjust_android"},
        route_by="os_name",
        # An event token belongs to one app.
        event_tokens={"purchase_ios": "f0ob4r", "purchase_android": "abc123"},
        # Wait for a night that failed: Adjust refuses its events once newer ones have arrived. Do not add max_active_runs=1:
        # the run that waits would keep the one that you clear from starting.
        depends_on_past=True,
        id_field="order_id",
        max_rejected=0.05,
        rejected_path="rejected/{{ dag.dag_id }}/{{ ts_nodash }}.jsonl",
    )


adjust_two_apps()
