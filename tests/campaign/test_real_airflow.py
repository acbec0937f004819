"""Tasks of a real scheduler and executor are killed with -9, and continue in their retries.

The campaign beside this file kills hundreds of times, in its own processes; this one shows that Airflow's own
retries and its task state store behave as the campaign assumes.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow import __version__ as airflow_version
from packaging.version import Version
from standalone import DAGS, Standalone, standalone, wait_for

from airflow_provider_adjust.sandbox import SandboxServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.airflow,
    pytest.mark.skipif(Version(airflow_version) < Version("3.3"), reason="the task state store came with 3.3"),
]

TOKENS = {"S2S": "s2s-token-of-the-test", "API": "api-token-of-the-test"}
ROWS, KILLS = 5000, 2


def write_rows(path: Path, memory: str) -> None:
    start = datetime.now(UTC) - timedelta(hours=2)
    lines = (
        {
            "order_id": f"{memory}-{place}",
            "gps_adid": f"{memory}-device-{place % 300}",
            "created_at": (start + timedelta(seconds=place)).isoformat(),
            "revenue": "1.25",
            "currency": "EUR",
        }
        for place in range(ROWS)
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def airflow(tmp_path: Path, adjust_sandbox: SandboxServer) -> Iterator[Standalone]:
    adjust_sandbox.configure(tokens=[TOKENS["S2S"]], latency=0.02)
    extra = {
        "app_token": "4w565xzmb54d",
        "environment": "sandbox",
        "api_token": TOKENS["API"],
        "api_endpoint": adjust_sandbox.url,
    }
    adjust = {"conn_type": "adjust", "host": adjust_sandbox.url, "password": TOKENS["S2S"], "extra": extra}
    settings = {
        "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(adjust),
        "AIRFLOW_CONN_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}),
        "TEST_START": datetime.now(UTC).isoformat(),
        "TEST_REJECTED": (tmp_path / "unused.jsonl").as_uri(),
    }
    with standalone(tmp_path, DAGS, "killed", **settings) as running:
        yield running


def test_killed_tasks_deliver_everything(airflow: Standalone, tmp_path: Path, adjust_sandbox: SandboxServer) -> None:
    for memory in ("checkpoint", "ledger"):
        write_rows(tmp_path / f"{memory}.jsonl", memory)
    airflow.command("dags", "trigger", "killed", "--run-id", "run")

    for number in range(1, KILLS + 1):
        for memory in ("checkpoint", "ledger"):
            note = tmp_path / f"{memory}.{number}.pid"
            wait_for(f"try {number} of {memory}", lambda note=note: note.exists() and note.read_text())
            # In the middle of its work: after some more events than there were when it began.
            before = adjust_sandbox.stats()["recorded"]
            wait_for("some events", lambda before=before: adjust_sandbox.stats()["recorded"] > before + 50)
            os.kill(int(note.read_text()), signal.SIGKILL)

    states = wait_for("the end", lambda: _ended(airflow.states("killed")))
    assert states == {"checkpoint": "success", "ledger": "success"}
    recorded = Counter(json.loads(event["params"]["callback_params"])["event_id"] for event in adjust_sandbox.events())
    assert set(recorded) == {f"{memory}-{place}" for memory in ("checkpoint", "ledger") for place in range(ROWS)}
    assert {event: count for event, count in recorded.items() if count > 1 and event.startswith("ledger")} == {}


def _ended(states: dict[str, str | None]) -> dict[str, str | None] | None:
    return states if set(states.values()) <= {"success", "failed", "upstream_failed"} else None
