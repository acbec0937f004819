"""Send rows that Python code builds: renewals from an app store's nested notifications, one mapped task per app.

``@task.adjust_events`` sends the rows while its function still yields them, so a file may have any size. It needs the
connection ``adjust_default``. The first task stands in for whatever stores the notifications in the folder; replace it
with your own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import ObjectStoragePath, dag, task

from airflow_provider_adjust.files.folder import file_below
from airflow_provider_adjust.files.private import open_private


@dag(
    schedule=None,
    # Two runs at once could send a device's events out of order.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["adjust", "sources"],
)
def adjust_from_python() -> None:
    @task
    def receive_notifications() -> list[str]:
        """Write two hours of notifications, one file per app, and return the paths."""
        start = datetime.now(UTC) - timedelta(hours=2)
        paths = []
        for app, device_id in (("ios", "idfa"), ("android", "gps_adid")):
            # Relative to [adjust] files_folder. The file holds device ids, so only its owner may read it.
            path = file_below(f"notifications/{app}.jsonl")
            with open_private(path) as file:
                for number in range(60):
                    notification = {
                        "type": "DID_RENEW" if number % 3 else "EXPIRED",
                        "signed_at": (start + timedelta(minutes=number)).isoformat(),
                        "transaction": {"id": f"{app}-{number}", "price_milliunits": 4990, "currency": "USD"},
                        "device": {device_id: f"00000000-0000-4000-8000-{number % 20 + 1:012}"},
                    }
                    file.write(json.dumps(notification) + "\n")
            paths.append(path)
        return paths

    @task.adjust_events(
        event_token="f0ob4r",
        id_field="transaction_id",
        rejected_path="rejected/{{ dag.dag_id }}/{{ run_id }}.jsonl",
    )
    def send_renewals(path: str) -> Iterator[dict[str, Any]]:
        """Yield a row for each renewal. The notifications are in time order, so the rows are too."""
        with ObjectStoragePath(path).open("rt") as lines:
            for line in lines:
                notification = json.loads(line)
                if notification["type"] != "DID_RENEW":
                    continue
                transaction = notification["transaction"]
                yield {
                    "transaction_id": transaction["id"],
                    "created_at": notification["signed_at"],
                    "revenue": f"{transaction['price_milliunits'] / 1000:.2f}",
                    "currency": transaction["currency"],
                    **notification["device"],
                }

    # Each device must be in one file only: mapped tasks run in parallel, without an order between them.
    send_renewals.expand(path=receive_notifications())


adjust_from_python()
