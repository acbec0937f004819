"""On a real Airflow the sensors wait for Adjust in every mode, and the deferred ones survive the death of the triggerer."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import requests
from standalone import DAGS, Standalone, standalone, wait_for

from airflow_provider_adjust.sandbox import SandboxServer

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

S2S_TOKEN, API_TOKEN = "s2s-token-of-the-test", "api-token-of-the-test"
APP_TOKEN, EVENT_TOKEN = "4w565xzmb54d", "f0ob4r"
DEVICE = "660e1d86-6796-463a-be86-897993136018"
EVENTS = 20
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


@pytest.fixture
def airflow(tmp_path: Path, adjust_sandbox: SandboxServer) -> Iterator[Standalone]:
    lines = (
        {
            "order_id": f"order-{number}",
            "gps_adid": DEVICE if number == 0 else f"device-{number}",
            "created_at": (START + timedelta(seconds=number)).isoformat(),
            "revenue": "1.25",
            "currency": "EUR",
        }
        for number in range(EVENTS)
    )
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    adjust_sandbox.configure(
        tokens=[S2S_TOKEN],
        api_tokens=[API_TOKEN],
        app_tokens=[APP_TOKEN],
        event_tokens=[EVENT_TOKEN],
        report_delay=86_400,
    )
    connection = {
        "conn_type": "adjust",
        "host": adjust_sandbox.url,
        "password": S2S_TOKEN,
        "extra": {
            "app_token": APP_TOKEN,
            "environment": "sandbox",
            "api_token": API_TOKEN,
            "api_endpoint": adjust_sandbox.url,
            "report_endpoint": adjust_sandbox.url,
        },
    }
    settings = {
        "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(connection),
        "AIRFLOW_VAR_TEST_DEVICE": DEVICE,
        "AIRFLOW_VAR_TEST_SINCE": (START + timedelta(minutes=30)).isoformat(),
        "AIRFLOW_VAR_TEST_DAY": START.date().isoformat(),
        # A dead triggerer is noticed, and its triggers given to the next one, in seconds.
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
    }
    with standalone(tmp_path, DAGS, "reconcile", **settings) as running:
        yield running


def kill_triggerer(airflow: Standalone) -> None:
    """Kill it with all that it runs, as a node that goes away does."""
    family = psutil.Process(airflow.process.pid).children(recursive=True)
    triggerers = [process for process in family if "triggerer" in " ".join(process.cmdline())]
    assert triggerers
    victims = {child for process in triggerers for child in (process, *process.children(recursive=True))}
    for victim in victims:
        os.kill(victim.pid, signal.SIGKILL)
    psutil.wait_procs(victims, timeout=10)


def test_sensors_wait_in_every_mode_and_outlive_the_triggerer(
    airflow: Standalone, adjust_sandbox: SandboxServer, tmp_path: Path
) -> None:
    airflow.command("dags", "trigger", "reconcile", "--run-id", "run")
    waiting = {
        "send": "success",
        "poked": "running",
        "rescheduled": "up_for_reschedule",
        "deferred": "deferred",
        "probe": "deferred",
        "gives_up": "failed",
    }
    wait_for("all that waits", lambda: airflow.states("reconcile") == waiting, seconds=300)
    in_database = b"".join(path.read_bytes() for path in tmp_path.glob("airflow.db*"))
    assert DEVICE.encode() not in in_database
    assert API_TOKEN.encode() not in in_database

    kill_triggerer(airflow)
    adjust_sandbox.configure(report_delay=0)
    late = {
        "s2s": "1",
        "app_token": APP_TOKEN,
        "event_token": EVENT_TOKEN,
        "environment": "sandbox",
        "gps_adid": DEVICE,
    }
    late["created_at_unix"] = str(int((START + timedelta(minutes=40)).timestamp()))
    sent = requests.post(
        f"{adjust_sandbox.url}/event", data=late, headers={"Authorization": f"Bearer {S2S_TOKEN}"}, timeout=5
    )
    assert sent.ok
    wait_for("the others", lambda: airflow.states("reconcile")["rescheduled"] == "success")
    # What they wait for is there, and nobody looks.
    states = airflow.states("reconcile")
    assert {name: states[name] for name in ("poked", "deferred", "probe")} == {
        "poked": "success",
        "deferred": "deferred",
        "probe": "deferred",
    }

    airflow.start("triggerer")
    done = dict.fromkeys(("send", "poked", "rescheduled", "deferred", "probe"), "success") | {"gives_up": "failed"}
    wait_for("the deferred ones", lambda: airflow.states("reconcile") == done)

    stats = adjust_sandbox.stats()
    assert (stats["recorded"], stats["requests"]) == (EVENTS + 1, EVENTS + 1)
    logs = {path: path.read_text(errors="replace") for path in (tmp_path / "logs").rglob("*.log")}
    assert any("task_id=deferred" in str(path) and "trigger" in path.name for path in logs)
    for name in ("standalone", "triggerer"):
        logs[tmp_path / f"{name}.log"] = (tmp_path / f"{name}.log").read_text(errors="replace")
    for path, text in logs.items():
        assert not any(secret in text for secret in (DEVICE, API_TOKEN, S2S_TOKEN)), path
    [timeout] = [text for path, text in logs.items() if "task_id=gives_up" in str(path) and "trigger" not in path.name]
    assert "Sensor has timed out after 10 seconds" in timeout
    assert "1,000 events missing in Adjust" in timeout
