"""docs/guides/migration.md compares a sender by hand with the operator: one day of purchases and the same faults."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pendulum
import pytest

from airflow_provider_adjust.sandbox import SandboxServer

DAGS = Path(__file__).parent / "dags"
TOKEN = "the-s2s-token-of-the-migration"
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
PURCHASES = 10
FOURTH_DEVICE = "38400000-8cf0-11bd-b23e-10b96e400003"

#: One try of a DAG's task: whether it failed.
Try = Callable[[str], bool]


@pytest.fixture
def try_once(tmp_path: Path, adjust_sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Try:
    """Ten purchases of yesterday, of ten devices, in a warehouse, and the stand-in where both DAGs look for Adjust."""
    adjust_sandbox.configure(tokens=[TOKEN], app_tokens=["4w565xzmb54d"], event_tokens=["f0ob4r"])
    warehouse = sqlite3.connect(tmp_path / "warehouse.db")
    with warehouse:
        warehouse.execute("CREATE TABLE customers (customer_id, gps_adid)")
        warehouse.execute("CREATE TABLE purchases (order_id, customer_id, purchased_at, amount, currency)")
        for number in range(PURCHASES):
            bought_at = MIDNIGHT - timedelta(hours=20 - number)
            device = f"38400000-8cf0-11bd-b23e-10b96e40000{number}"
            warehouse.execute("INSERT INTO customers VALUES (?, ?)", [number, device])
            purchase = [f"order-{number}", number, f"{bought_at:%F %T}", "1.25", "EUR"]
            warehouse.execute("INSERT INTO purchases VALUES (?, ?, ?, ?, ?)", purchase)
    warehouse.close()
    extra = {"app_token": "4w565xzmb54d", "environment": "production"}
    adjust = {"conn_type": "adjust", "host": adjust_sandbox.url, "password": TOKEN, "extra": extra}
    monkeypatch.setenv("ADJUST_URL", adjust_sandbox.url)
    monkeypatch.setenv("ADJUST_TOKEN", TOKEN)
    monkeypatch.setenv("AIRFLOW_CONN_ADJUST_DEFAULT", json.dumps(adjust))
    warehouse_connection = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse_connection))
    monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", str(tmp_path))

    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef,attr-defined]

    dags = DagBag(str(DAGS)).dags

    def run(dag_id: str) -> bool:
        task = dags[dag_id].get_task("send_purchases")
        end = pendulum.instance(MIDNIGHT)
        context: dict[str, Any] = {
            "dag": task.dag,
            "params": {},
            "ts_nodash": "20261118T000000",
            "data_interval_start": end.subtract(days=1),
            "data_interval_end": end,
        }
        task.render_template_fields(context)
        try:
            task.execute(context)
        except Exception:
            return True
        return False

    return run


@pytest.mark.parametrize(
    ("trouble", "by_hand", "with_provider"),
    [
        # (whether the task failed, events recorded)
        pytest.param({}, (False, 10), (False, 10), id="none"),
        pytest.param({"fault_plan": [None, None, "503"]}, (True, 2), (False, 10), id="a 503 on the way"),
        pytest.param(
            {"unknown_devices": [FOURTH_DEVICE]}, (True, 3), (False, 9), id="a device that Adjust does not know"
        ),
        pytest.param({"tokens": ["another"], "enforce": False}, (False, 0), (True, 0), id="a wrong token, and a 202"),
    ],
)
def test_the_same_trouble_by_hand_and_with_the_provider(
    adjust_sandbox: SandboxServer,
    try_once: Try,
    trouble: dict[str, Any],
    by_hand: tuple[bool, int],
    with_provider: tuple[bool, int],
) -> None:
    outcomes = []
    for dag_id in ("purchases_by_hand", "purchases_with_provider"):
        adjust_sandbox.reset()
        adjust_sandbox.configure(**trouble)
        failed = try_once(dag_id)
        outcomes.append((failed, adjust_sandbox.stats()["recorded"]))
    assert outcomes == [by_hand, with_provider]


def test_a_retry_by_hand_sends_again_what_had_arrived(adjust_sandbox: SandboxServer, try_once: Try) -> None:
    adjust_sandbox.configure(fault_plan=[None, None, "503"])
    assert try_once("purchases_by_hand")
    assert not try_once("purchases_by_hand")
    assert adjust_sandbox.stats()["recorded"] == PURCHASES + 2
    assert adjust_sandbox.stats()["repeated"] == 2
