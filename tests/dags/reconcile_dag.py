"""A DAG that sends and then waits for Adjust in every mode that a sensor has; run by test_reconcile_on_airflow."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import dag

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.sensors.adjust_device_event import AdjustDeviceEventSensor
from airflow_provider_adjust.sensors.adjust_events_reported import AdjustEventsReportedSensor

EVENT_TOKEN = "f0ob4r"
MODES: dict[str, dict[str, Any]] = {
    "poked": {"mode": "poke", "poke_interval": 1},
    # Airflow may fail a task that is rescheduled every few seconds on a slow machine.
    "rescheduled": {"mode": "reschedule", "poke_interval": 20},
    "deferred": {"deferrable": True, "poke_interval": 1},
}


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False, is_paused_upon_creation=False)
def reconcile() -> None:
    send = AdjustSendEventsOperator(
        task_id="send",
        events=f"file://{os.environ.get('TEST_FOLDER', '')}/events.jsonl",
        event_token=EVENT_TOKEN,
        id_field="order_id",
    )
    for name, mode in MODES.items():
        AdjustEventsReportedSensor(task_id=name, expected=send.output, event_token=EVENT_TOKEN, timeout=600, **mode)
    probe = AdjustDeviceEventSensor(
        task_id="probe",
        device_id="{{ var.value.test_device }}",
        event_token=EVENT_TOKEN,
        since="{{ var.value.test_since }}",
        deferrable=True,
        poke_interval=1,
        timeout=600,
    )
    gives_up = AdjustEventsReportedSensor(
        task_id="gives_up",
        expected={"day": "{{ var.value.test_day }}", "event_token": EVENT_TOKEN, "events": 1000},
        deferrable=True,
        poke_interval=1,
        timeout=10,
    )
    send >> [probe, gives_up]


reconcile()
