from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import dag
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

QUERY = """
    SELECT p.order_id, p.purchased_at AS created_at, p.amount AS revenue, p.currency, c.gps_adid
    FROM purchases AS p
    JOIN customers AS c ON c.customer_id = p.customer_id
    WHERE p.purchased_at >= '{{ data_interval_start.strftime("%Y-%m-%d %H:%M:%S") }}'
      AND p.purchased_at < '{{ data_interval_end.strftime("%Y-%m-%d %H:%M:%S") }}'
    ORDER BY p.purchased_at, p.order_id
"""


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
)
def purchases_with_provider():
    SqlToAdjustOperator(
        task_id="send_purchases",
        sql_conn_id="warehouse",
        sql=QUERY,
        event_token="f0ob4r",
        depends_on_past=True,
        id_field="order_id",
        max_rejected=1,
        rejected_path="rejected/{{ ts_nodash }}.jsonl",
        retries=2,
    )


purchases_with_provider()
