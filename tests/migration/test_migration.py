"""What docs/migration.md says of a sender by hand and of the operator, seen on one day of purchases and the same troubles."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_adjust.sandbox import SandboxServer

DAGS = Path(__file__).parent / "dags"
TOKEN = "the-s2s-token-of-the-migration"
PURCHASES = 10
UNKNOWN = "38400000-8cf0-11bd-b23e-10b96e400003"

pytestmark = pytest.mark.airflow


@pytest.fixture
def midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def environment(tmp_path: Path, midnight: datetime, adjust_sandbox: SandboxServer) -> dict[str, str]:
    """Ten purchases of yesterday, of ten devices, and both ways to name the stand-in."""
    adjust_sandbox.configure(tokens=[TOKEN], app_tokens=["4w565xzmb54d"], event_tokens=["f0ob4r"])
    warehouse = sqlite3.connect(tmp_path / "warehouse.db")
    with warehouse:
        warehouse.execute("CREATE TABLE customers (customer_id, gps_adid)")
        warehouse.execute("CREATE TABLE purchases (order_id, customer_id, purchased_at, amount, currency)")
        for number in range(PURCHASES):
            bought_at = midnight - timedelta(hours=20 - number)
            device = f"38400000-8cf0-11bd-b23e-10b96e40000{number}"
            warehouse.execute("INSERT INTO customers VALUES (?, ?)", [number, device])
            purchase = [f"order-{number}", number, f"{bought_at:%F %T}", "1.25", "EUR"]
            warehouse.execute("INSERT INTO purchases VALUES (?, ?, ?, ?, ?)", purchase)
    warehouse.close()
    extra = {"app_token": "4w565xzmb54d", "environment": "production"}
    adjust = {"conn_type": "adjust", "host": adjust_sandbox.url, "password": TOKEN, "extra": extra}
    return {
        "ADJUST_URL": adjust_sandbox.url,
        "ADJUST_TOKEN": TOKEN,
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(adjust),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}),
        "REJECTED": tmp_path.as_uri(),
    }


def run(dag_id: str, midnight: datetime, environment: dict[str, str]) -> int:
    """One try of the DAG's run; return its exit code."""
    command = [sys.executable, "-m", "airflow", "dags", "test", dag_id, midnight.isoformat()]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=240)
    return done.returncode


@pytest.mark.parametrize(
    ("trouble", "by_hand", "with_provider"),
    [
        # (exit code, events recorded)
        pytest.param({}, (0, 10), (0, 10), id="none"),
        pytest.param({"fault_plan": [None, None, "503"]}, (1, 2), (0, 10), id="a 503 on the way"),
        pytest.param({"unknown_devices": [UNKNOWN]}, (1, 3), (0, 9), id="a device that Adjust does not know"),
        pytest.param({"tokens": ["another"], "enforce": False}, (0, 0), (1, 0), id="a wrong token, answered with 202"),
    ],
)
def test_the_same_trouble_by_hand_and_with_the_provider(
    airflow_db: Path,
    adjust_sandbox: SandboxServer,
    environment: dict[str, str],
    midnight: datetime,
    trouble: dict[str, Any],
    by_hand: tuple[int, int],
    with_provider: tuple[int, int],
) -> None:
    outcomes = []
    for dag_id in ("purchases_by_hand", "purchases_with_provider"):
        adjust_sandbox.reset()
        adjust_sandbox.configure(**trouble)
        code = run(dag_id, midnight, environment)
        outcomes.append((code, adjust_sandbox.stats()["recorded"]))
    assert outcomes == [by_hand, with_provider]
