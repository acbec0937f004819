"""Send events from a file in object storage: one task exports the file, the next one streams it.

It needs the connection ``adjust_default``. The files are in the folder that ``[adjust] files_folder`` names in
Airflow's configuration. It may be any path that Airflow reaches, such as ``s3://aws_default@bucket/adjust`` with the
Amazon provider.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task

from airflow_provider_adjust.files.folder import file_below
from airflow_provider_adjust.files.private import open_private
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

EVENTS_FILE = "events/{{ run_id }}.jsonl"


@dag(
    schedule=None,
    # Two runs at once could send a device's events out of order.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["adjust", "sources"],
)
def adjust_event_files() -> None:
    @task
    def export_purchases(name: str) -> None:
        """Write one JSON object per line, in time order. The file is streamed, so it may have any size."""
        first = datetime.now(UTC) - timedelta(hours=1)
        # The file holds device ids, so only its owner may read it.
        with open_private(file_below(name)) as lines:
            for number in range(100):
                purchase = {
                    "order_id": f"order-{number}",
                    "gaid": f"38400000-8cf0-11bd-b23e-10b96e4000{number % 10:02}",
                    "created_at": (first + timedelta(seconds=number)).isoformat(),
                    "total": "1.99",
                    "currency": "EUR",
                }
                lines.write(json.dumps(purchase) + "\n")

    send_purchases = AdjustSendEventsOperator(
        task_id="send_purchases",
        events=EVENTS_FILE,
        # From the file's names to Adjust's parameters.
        column_map={"gaid": "gps_adid", "total": "revenue"},
        event_token="f0ob4r",
        id_field="order_id",
        rejected_path="rejected/{{ run_id }}.jsonl",
        responses_path="responses/{{ run_id }}.jsonl",
    )

    export_purchases(EVENTS_FILE) >> send_purchases


adjust_event_files()
