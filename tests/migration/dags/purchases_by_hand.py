from __future__ import annotations

import os
from datetime import UTC, datetime

import requests
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import BaseHook, dag
from airflow.timetables.interval import CronDataIntervalTimetable

ADJUST = os.environ.get("ADJUST_URL", "https://s2s.adjust.com") + "/event"
QUERY = """
    SELECT p.purchased_at, p.amount, p.currency, c.gps_adid
    FROM purchases AS p
    JOIN customers AS c ON c.customer_id = p.customer_id
    WHERE p.purchased_at >= ? AND p.purchased_at < ?
"""


def send_purchases(data_interval_start, data_interval_end):
    interval = [moment.strftime("%Y-%m-%d %H:%M:%S") for moment in (data_interval_start, data_interval_end)]
    rows = BaseHook.get_hook("warehouse").get_records(QUERY, parameters=interval)
    for purchased_at, amount, currency, gps_adid in rows:
        response = requests.post(
            ADJUST,
            data={
                "s2s": 1,
                "app_token": "4w565xzmb54d",
                "event_token": "f0ob4r",
                "gps_adid": gps_adid,
                "created_at_unix": int(datetime.fromisoformat(purchased_at).replace(tzinfo=UTC).timestamp()),
                "revenue": amount,
                "currency": currency,
            },
            headers={"Authorization": "Bearer " + os.environ["ADJUST_TOKEN"]},
            timeout=30,
        )
        response.raise_for_status()


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
)
def purchases_by_hand():
    PythonOperator(task_id="send_purchases", python_callable=send_purchases, retries=2)


purchases_by_hand()
