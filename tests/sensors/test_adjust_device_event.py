"""AdjustDeviceEventSensor: the probe with a test device, and its id, which must not be shown."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk._shared.secrets_masker import redact
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, TaskDeferred
from operators.adjust_account import Said
from reconcile.reading_account import Connect
from reconcile.report_case import API_TOKEN, EVENT_TOKEN, receive

from airflow_provider_adjust.rendered_fields import HiddenValue
from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sensors.adjust_device_event import AdjustDeviceEventSensor
from airflow_provider_adjust.triggers.adjust_device_event import decrypt

DEVICE = "660e1d86-6796-463a-be86-897993136018"
SENT_AT = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


@pytest.fixture(autouse=True)
def adjust(reporting: SandboxServer, connect_reader: Connect) -> SandboxServer:
    receive(reporting, at=SENT_AT, gps_adid=DEVICE)
    return reporting


def sensor(**arguments: Any) -> AdjustDeviceEventSensor:
    given = {"task_id": "probe", "device_id": DEVICE, "event_token": EVENT_TOKEN, "since": SENT_AT, "timeout": 0}
    return AdjustDeviceEventSensor(**({"mode": "poke"} | given | arguments))


CASES: dict[str, tuple[dict[str, Any], bool]] = {
    "the event itself": ({}, True),
    "an earlier one would do": ({"since": SENT_AT - timedelta(seconds=1)}, True),
    "Adjust keeps whole seconds": ({"since": SENT_AT + timedelta(milliseconds=900)}, True),
    "a later one is wanted": ({"since": SENT_AT + timedelta(seconds=1)}, False),
    "text": ({"since": SENT_AT.isoformat()}, True),
    "text without an offset": ({"since": SENT_AT.replace(tzinfo=None).isoformat()}, True),
    "text without an offset, in a zone": (
        {"since": SENT_AT.replace(tzinfo=None).isoformat(), "timezone": "Etc/GMT+2"}, False,
    ),
    "another event": ({"event_token": "abc123"}, False),
    "another device": ({"device_id": "another"}, False),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_it_waits_for(name: str) -> None:
    arguments, there = CASES[name]
    assert sensor(**arguments).poke({}).is_done is there


def test_the_xcom_is_the_events_time() -> None:
    assert sensor().execute({}) == SENT_AT.isoformat()


def test_a_device_that_adjust_does_not_know_yet_is_waited_for(adjust: SandboxServer) -> None:
    adjust.configure(unknown_devices=[DEVICE])
    waiting = sensor()
    assert not waiting.poke({}).is_done
    adjust.configure(unknown_devices=[])
    assert waiting.poke({}).is_done


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        ({"api_token": "another"}, {}, "DeviceApiRefused: the Device API answers status 401; check the connection's"),
        ({"app_token": "another"}, {}, "DeviceApiRefused: the Device API does not know the app"),
        ({"api_token": None}, {}, "needs an API token and an app token for the Device API"),
        ({}, {"since": "yesterday"}, "since is 'yesterday'; give ISO 8601 text"),
    ],
)
def test_what_waiting_cannot_change_fails_at_once(
    connect_reader: Connect, changes: dict[str, Any], arguments: dict[str, Any], words: str
) -> None:
    connect_reader(**changes)
    with pytest.raises(AirflowFailException, match=words):
        sensor(timeout=3600, **arguments).execute({})


def test_a_timeout_says_what_there_was() -> None:
    later = SENT_AT + timedelta(minutes=1)
    with pytest.raises(AirflowSensorTimeout) as timeout:
        sensor(since=later).execute({})
    assert f"is from {SENT_AT.isoformat()}; waiting for one at or after {later.isoformat()}" in str(timeout.value)


def test_the_device_id_is_in_no_rendered_field_no_log_and_no_trigger(said: Said) -> None:
    with DAG("probes", schedule=None):
        waiting = sensor(device_id="{{ device }}", since="{{ since }}", deferrable=True, timeout=3600)
    waiting.render_template_fields({"device": DEVICE, "since": (SENT_AT + timedelta(hours=1)).isoformat()})
    assert isinstance(waiting.device_id, HiddenValue)
    assert str(waiting.device_id) == "not shown: a device id"
    with pytest.raises(TaskDeferred) as deferral:
        waiting.execute({})
    path, arguments = deferral.value.trigger.serialize()
    assert path.endswith(".AdjustDeviceEventTrigger")
    assert arguments["until"] == pytest.approx(time.time() + 3600, abs=60)
    assert decrypt(arguments["encrypted_device_id"], API_TOKEN) == DEVICE
    for text in (arguments, deferral.value.trigger, deferral.value.kwargs, waiting.device_id):
        assert DEVICE not in f"{text!r} {text}"
    assert DEVICE not in str(said)
    assert redact(f"advertising_id={DEVICE}") == "advertising_id=***"
