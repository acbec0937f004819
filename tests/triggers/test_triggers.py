"""The triggers: real requests on an event loop, nothing but their arguments to start from, nothing sent."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import BaseTrigger
from operators.adjust_account import Said
from reconcile.reading_account import Connect
from reconcile.report_case import API_TOKEN, DAY, EVENT_TOKEN, receive

import airflow_provider_adjust.triggers
from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.triggers.adjust_device_event import AdjustDeviceEventTrigger, encrypt_for_trigger
from airflow_provider_adjust.triggers.adjust_events_reported import AdjustEventsReportedTrigger

DEVICE = "660e1d86-6796-463a-be86-897993136018"
SENT_AT = datetime.combine(DAY, datetime.min.time(), UTC)
FOLDER = Path(airflow_provider_adjust.triggers.__path__[0])


@pytest.fixture(autouse=True)
def adjust(reporting: SandboxServer, connect_reader: Connect) -> SandboxServer:
    return reporting


def events_trigger(**changes: Any) -> AdjustEventsReportedTrigger:
    row = {"period": str(DAY), "event_token": EVENT_TOKEN, "events": 1, "revenue": "1.25", "currency": "EUR"}
    arguments = {
        "adjust_conn_id": "adjust_default",
        "app_token": None,
        "environment": None,
        "expected": [row],
        "baseline": [],
        "tolerance": 0,
        "revenue_tolerance": "0.01",
        "timezone": "UTC",
        "poke_interval": 0.01,
        "until": time.time() + 20,
    }
    return AdjustEventsReportedTrigger(**(arguments | changes))


def device_trigger(**changes: Any) -> AdjustDeviceEventTrigger:
    arguments = {
        "adjust_conn_id": "adjust_default",
        "app_token": None,
        "encrypted_device_id": encrypt_for_trigger(DEVICE, API_TOKEN),
        "event_token": EVENT_TOKEN,
        "since": SENT_AT.isoformat(),
        "poke_interval": 0.01,
        "until": time.time() + 20,
    }
    return AdjustDeviceEventTrigger(**(arguments | changes))


MAKE: dict[str, Callable[..., Any]] = {"events": events_trigger, "device": device_trigger}
both = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


async def fire(trigger: BaseTrigger) -> dict[str, Any]:
    return (await anext(trigger.run())).payload


@both
def test_it_fires_once_adjust_has_what_is_waited_for(adjust: SandboxServer, make: Any) -> None:
    async def wait() -> dict[str, Any]:
        waiting = asyncio.create_task(fire(make()))
        # It polls, and leaves the loop to others between its polls.
        await asyncio.wait({waiting}, timeout=0.3)
        assert not waiting.done()
        await asyncio.to_thread(receive, adjust, 1, at=SENT_AT, gps_adid=DEVICE)
        return await waiting

    event = asyncio.run(wait())
    assert event["status"] == "done"
    assert json.loads(json.dumps(event)) == event
    assert event["value"] == (SENT_AT.isoformat() if make is device_trigger else [events_trigger().expected[0]])


@both
def test_it_gives_up_when_the_time_is_over_and_says_what_is_missing(make: Any) -> None:
    event = asyncio.run(fire(make(until=time.time() + 0.1)))
    assert event["status"] == "timeout"
    words = (
        "1 event and 1.25 EUR missing in Adjust"
        if make is events_trigger
        else "Adjust has no event f0ob4r of the device"
    )
    assert words in event["message"]


@both
def test_a_trigger_past_its_time_still_polls_once(adjust: SandboxServer, make: Any) -> None:
    """A triggerer that was down past the time starts the trigger again."""
    receive(adjust, 1, at=SENT_AT, gps_adid=DEVICE)
    assert asyncio.run(fire(make(until=time.time() - 3600, poke_interval=3600)))["status"] == "done"


@both
@pytest.mark.parametrize("changes", [{"api_token": "another-api-token"}, {"api_token": None}, {"app_token": None}])
def test_it_gives_up_at_once_where_waiting_changes_nothing(
    connect_reader: Connect, make: Any, changes: dict[str, Any]
) -> None:
    trigger = make()
    connect_reader(**changes)
    event = asyncio.run(fire(trigger))
    assert event["status"] == "refused"
    assert "another-api-token" not in event["message"]
    assert DEVICE not in event["message"]


def test_a_busy_service_is_polled_again(adjust: SandboxServer) -> None:
    receive(adjust, 1, at=SENT_AT)
    adjust.configure(report_fault_plan=["429"] * 5 + ["204"], retry_after=0)
    assert asyncio.run(fire(events_trigger()))["status"] == "done"


@both
def test_its_arguments_are_enough_to_restart_it(adjust: SandboxServer, make: Any) -> None:
    path, arguments = make().serialize()
    again = import_string(path)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)
    receive(adjust, 1, at=SENT_AT, gps_adid=DEVICE)
    assert asyncio.run(fire(again))["status"] == "done"
    for secret in (API_TOKEN, DEVICE):
        assert secret not in repr(again)


def test_the_log_of_a_trigger_names_no_device(adjust: SandboxServer, said: Said) -> None:
    logging.getLogger("httpx").setLevel(logging.WARNING)  # as Airflow sets it
    asyncio.run(fire(device_trigger(until=time.time() + 0.05)))
    assert "Adjust has no event f0ob4r of the device" in str(said)
    assert DEVICE not in str(said)
    assert API_TOKEN not in str(said)


def test_airflow_keeps_httpx_from_logging_urls() -> None:
    """httpx logs a request's URL, and a device id with it, at level INFO."""
    code = (
        "import logging\n"
        "from airflow.sdk.log import configure_logging\n"
        "configure_logging()\n"
        "print(logging.getLogger('httpx').getEffectiveLevel())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout.splitlines()[-1]) >= logging.WARNING


def test_nothing_that_sends_is_loaded_with_the_triggers() -> None:
    """A restarted triggerer runs its triggers again: what they had sent would be sent twice."""
    modules = [f"{airflow_provider_adjust.triggers.__name__}.{path.stem}" for path in FOLDER.glob("*.py")]
    code = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "ours = [name for name in sys.modules if name.startswith('airflow_provider_adjust.')]\n"
        "print(json.dumps(ours))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.removeprefix("airflow_provider_adjust.") for name in json.loads(done.stdout.splitlines()[-1])}
    assert "triggers.adjust_events_reported" in loaded
    sends = {
        "hooks.adjust_s2s",
        "s2s.delivery",
        "s2s.transports.choice",
        "s2s.transports.curl",
        "s2s.transports.requests",
        "operators",
        "transfers",
    }
    assert {name for name in loaded if any(name == each or name.startswith(f"{each}.") for each in sends)} == set()


def test_hours_of_waiting_cost_no_thread(adjust: SandboxServer) -> None:
    """Hundreds of triggers share one process, so they wait on its event loop."""

    async def wait() -> float:
        started = time.monotonic()
        triggers = [fire(events_trigger(poke_interval=0.2, until=time.time() + 0.4)) for _ in range(20)]
        events = await asyncio.gather(*triggers)
        assert {event["status"] for event in events} == {"timeout"}
        return time.monotonic() - started

    assert asyncio.run(wait()) < 20 * 0.4
