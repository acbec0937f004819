"""The example that makes its rows in Python: it runs as it is, on a real Airflow and the sandbox."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from warm_airflow import airflow_command

from airflow_provider_adjust.sandbox import SandboxServer

SETTINGS = {"tokens": ["T"], "app_tokens": ["4w565xzmb54d"], "event_tokens": ["f0ob4r"]}
UNKNOWN = "00000000-0000-4000-8000-000000000003"


@pytest.mark.airflow
@pytest.mark.parametrize(("unknown_devices", "recorded", "missing"), [([], 80, 0), ([UNKNOWN], 76, 2)])
def test_renewals_are_sent_app_by_app(
    airflow_db: Path, tmp_path: Path, unknown_devices: list[str], recorded: int, missing: int
) -> None:
    with SandboxServer(**SETTINGS, unknown_devices=unknown_devices) as sandbox:
        connection = {
            "conn_type": "adjust",
            "host": sandbox.url,
            "password": "T",
            "extra": {"app_token": "4w565xzmb54d", "environment": "sandbox"},
        }
        environment = os.environ | {
            "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(connection),
            "AIRFLOW__ADJUST__FILES_FOLDER": str(tmp_path),
        }
        done = airflow_command("dags", "test", "adjust_from_python", env=environment)
        stats = sandbox.stats()
    log = done.stdout + done.stderr
    assert (done.returncode == 0) is (missing == 0), log[-5000:]
    assert stats["recorded"] == recorded
    assert (stats["order_violations"], stats["repeated_event_ids"]) == (0, 0)
    lines = [path.read_text().splitlines() for path in (tmp_path / "rejected").rglob("*.jsonl")]
    reasons = [[json.loads(line)["reason"] for line in of_one_app] for of_one_app in lines]
    assert reasons == [["device_not_found"] * missing] * missing
    assert UNKNOWN not in log
