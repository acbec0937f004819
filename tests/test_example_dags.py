"""The example DAGs: each is imported, and those that account for a night run from two kinds of warehouse."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import airflow
import pytest
import sqlalchemy as sa
from example_files import EXAMPLES, REPOSITORY, load_module
from packaging.version import Version
from warm_airflow import airflow_command

from airflow_provider_adjust.sandbox import SandboxServer

APP_TOKEN = "4w565xzmb54d"
EVENT_TOKEN = "f0ob4r"
S2S_TOKEN = "the-s2s-token-of-the-example"
CUSTOMERS = 23_570


def examples() -> Any:
    """Airflow's collection of the examples."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef,attr-defined]

    return DagBag(str(EXAMPLES))


def test_every_example_is_imported_without_errors() -> None:
    bag = examples()
    assert bag.import_errors == {}
    expected = {path.name for path in EXAMPLES.glob("*.py")}
    if Version(airflow.__version__) < Version("3.2"):
        expected -= {"adjust_partitioned.py"}  # partitions came with 3.2
    assert {Path(dag.fileloc).name for dag in bag.dags.values()} == expected


def test_a_run_that_waits_for_the_past_leaves_a_slot_to_the_one_that_is_cleared() -> None:
    """With one slot, the waiting run takes it, and Airflow never starts the cleared one. A proof must end its night first."""
    stuck = {
        dag.dag_id
        for dag in examples().dags.values()
        if dag.max_active_runs == 1 and any(task.depends_on_past for task in dag.tasks)
    }
    assert stuck == {"adjust_prove_by_exports"}


@pytest.fixture(scope="module")
def load_purchases() -> ModuleType:
    """The script that fills the warehouse of the demo."""
    return load_module(REPOSITORY / "scripts" / "load_purchases.py")


def sqlite_warehouse(request: pytest.FixtureRequest, folder: Path) -> tuple[str, dict[str, Any]]:
    path = folder / "warehouse.db"
    return f"sqlite:///{path}", {"conn_type": "sqlite", "host": str(path)}


def postgres_warehouse(request: pytest.FixtureRequest, folder: Path) -> tuple[str, dict[str, Any]]:
    url: str = request.getfixturevalue("postgres_url")
    address = sa.make_url(url)
    fields = {"host": address.host or address.query["host"], "login": address.username, "schema": address.database}
    return url, {"conn_type": "postgres", **fields}


def in_warehouse(url: str, start: datetime, end: datetime) -> tuple[int, Decimal]:
    engine = sa.create_engine(url)
    query = sa.text("SELECT amount FROM purchases WHERE purchased_at >= :start AND purchased_at < :end")
    with engine.connect() as connection:
        times = {"start": start.strftime("%F %T"), "end": end.strftime("%F %T")}
        amounts = [Decimal(str(amount)).quantize(Decimal("0.01")) for (amount,) in connection.execute(query, times)]
    engine.dispose()
    return len(amounts), sum(amounts, Decimal(0))


def rows_of(url: str, query: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(sa.text(query))]
    engine.dispose()
    return rows


@pytest.mark.airflow
@pytest.mark.parametrize("dag_id", ["adjust_revenue_sync", "adjust_sharded"])
@pytest.mark.parametrize(("make_warehouse", "nights_ago"), [(sqlite_warehouse, 0), (postgres_warehouse, 1)])
def test_a_night_is_accounted_for_to_the_cent_whatever_the_warehouse(
    request: pytest.FixtureRequest,
    airflow_db: Path,
    tmp_path: Path,
    load_purchases: ModuleType,
    make_warehouse: Callable[[pytest.FixtureRequest, Path], tuple[str, dict[str, Any]]],
    nights_ago: int,
    dag_id: str,
) -> None:
    """The DAG and every argument are the same for both: only AIRFLOW_CONN_WAREHOUSE changes."""
    url, connection = make_warehouse(request, tmp_path)
    # An hour back, so that the last night has settled even just after midnight.
    until = (datetime.now(UTC) - timedelta(hours=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    load_purchases.load(url, until)
    end = until - timedelta(days=nights_ago)
    count, revenue = in_warehouse(url, end - timedelta(days=1), end)
    assert count > 100

    devices = [load_purchases.customer_row(f"{number:05}") for number in range(0, CUSTOMERS, 50)]
    settings: dict[str, Any] = {
        "tokens": [S2S_TOKEN],
        "app_tokens": [APP_TOKEN],
        "event_tokens": [EVENT_TOKEN],
        "unknown_devices": [row[name] for row in devices for name in ("gps_adid", "idfa") if row[name]],
    }
    with SandboxServer(**settings) as sandbox:
        adjust = {
            "conn_type": "adjust",
            "host": sandbox.url,
            "password": S2S_TOKEN,
            "extra": {"app_token": APP_TOKEN, "environment": "sandbox"},
        }
        environment = os.environ | {
            "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(adjust),
            "AIRFLOW_CONN_ADJUST_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}),
            "AIRFLOW_CONN_WAREHOUSE": json.dumps(connection),
            "AIRFLOW__ADJUST__FILES_FOLDER": str(tmp_path),
        }
        done = airflow_command("dags", "test", dag_id, end.isoformat(), env=environment)
        stats = sandbox.stats()
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-5000:]
    rejected = [
        json.loads(line) for path in (tmp_path / "rejected").rglob("*.jsonl") for line in path.read_text().splitlines()
    ]
    missing = sum((Decimal(str(line["row"]["revenue"])) for line in rejected), Decimal(0))
    assert rejected
    assert stats["recorded"] + len(rejected) == count
    assert Decimal(stats["revenue"]["USD"]) + missing == revenue
    assert (stats["order_violations"], stats["repeated_event_ids"]) == (0, 0)
    assert f"{count} purchases, {revenue} USD in the warehouse" in log
    assert S2S_TOKEN not in log
    if dag_id == "adjust_sharded":
        assert_customers_are_not_split(tmp_path, url)


def assert_customers_are_not_split(folder: Path, warehouse: str) -> None:
    """Every shard has sent, and each customer's purchases were sent by one."""
    shards = rows_of(f"sqlite:///{folder / 'ledger.db'}", "SELECT event_id, map_index FROM adjust_delivery")
    customers = dict(rows_of(warehouse, "SELECT order_id, customer_id FROM purchases"))
    assert {shard for _, shard in shards} == set(range(8))
    sent_by = {(customers[order], shard) for order, shard in shards}
    assert len(shards) > len(sent_by) == len({customer for customer, _ in sent_by})


@pytest.mark.airflow
def test_the_loop_is_closed_on_what_was_sent(airflow_db: Path, tmp_path: Path, load_purchases: ModuleType) -> None:
    """Wait, send, wait for the report, reconcile; one device is unknown to Adjust, which the tolerances allow."""
    until = (datetime.now(UTC) - timedelta(hours=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    url = f"sqlite:///{tmp_path / 'warehouse.db'}"
    load_purchases.load(url, until)
    customer = _one_customer(url, until)
    settings: dict[str, Any] = {
        "tokens": [S2S_TOKEN],
        "api_tokens": ["the-api-token-of-the-example"],
        "app_tokens": [APP_TOKEN],
        "event_tokens": [EVENT_TOKEN],
        "unknown_devices": [customer],
    }
    with SandboxServer(**settings) as sandbox:
        adjust = {
            "conn_type": "adjust",
            "host": sandbox.url,
            "password": S2S_TOKEN,
            "extra": {
                "app_token": APP_TOKEN,
                "environment": "sandbox",
                "api_token": "the-api-token-of-the-example",
                "report_endpoint": sandbox.url,
            },
        }
        environment = os.environ | {
            "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(adjust),
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}),
            "AIRFLOW_CONN_ADJUST_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}),
        }
        done = airflow_command("dags", "test", "adjust_close_the_loop", until.isoformat(), env=environment)
        stats = sandbox.stats()
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-5000:]
    assert "Adjust's report shows what is expected" in log
    assert "events warehouse  events ledger  events refused  events Adjust" in log
    assert stats["by_error"] == {"Device not found": 1}
    assert not any(secret in log for secret in (S2S_TOKEN, "the-api-token-of-the-example"))


@pytest.mark.airflow
def test_ad_revenue_is_sent_and_compared(airflow_db: Path, tmp_path: Path, load_purchases: ModuleType) -> None:
    """The whole DAG, on a real Airflow: what the warehouse's impressions earned is what Adjust's report shows."""
    until = (datetime.now(UTC) - timedelta(hours=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    url = f"sqlite:///{tmp_path / 'warehouse.db'}"
    load_purchases.load(url, until)
    night = f"shown_at >= '{until - timedelta(days=1):%F %T}' AND shown_at < '{until:%F %T}'"
    amounts = rows_of(url, f"SELECT revenue FROM ad_impressions WHERE {night}")
    api_token = "the-api-token-of-the-example"
    with SandboxServer(tokens=[S2S_TOKEN], api_tokens=[api_token], app_tokens=[APP_TOKEN]) as sandbox:
        extra = {
            "app_token": APP_TOKEN,
            "environment": "sandbox",
            "api_token": api_token,
            "report_endpoint": sandbox.url,
        }
        adjust = {"conn_type": "adjust", "host": sandbox.url, "password": S2S_TOKEN, "extra": extra}
        environment = os.environ | {
            "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(adjust),
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}),
            "AIRFLOW_CONN_ADJUST_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}),
            "AIRFLOW__ADJUST__FILES_FOLDER": str(tmp_path),
        }
        done = airflow_command("dags", "test", "adjust_ad_revenue", until.isoformat(), env=environment)
        stats = sandbox.stats()
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-5000:]
    assert stats["by_endpoint"] == {"ad_revenue": len(amounts)}
    assert len(amounts) > 100
    assert Decimal(stats["ad_revenue"]["USD"]) == sum(Decimal(str(amount)) for (amount,) in amounts)
    assert "A report sums ad revenue and does not count it" in log
    assert not any(secret in log for secret in (S2S_TOKEN, api_token))


def _one_customer(url: str, until: datetime) -> str:
    """The device of somebody who bought exactly once in the night before."""
    engine = sa.create_engine(url)
    query = sa.text(
        "SELECT MAX(c.gps_adid) FROM purchases p JOIN customers c ON c.customer_id = p.customer_id "
        "WHERE p.purchased_at >= :start AND p.purchased_at < :end AND p.amount > 0 AND c.gps_adid IS NOT NULL "
        "GROUP BY c.customer_id HAVING COUNT(*) = 1 LIMIT 1"
    )
    with engine.connect() as connection:
        times = {"start": (until - timedelta(days=1)).strftime("%F %T"), "end": until.strftime("%F %T")}
        found = str(connection.scalar(query, times))
    engine.dispose()
    return found
