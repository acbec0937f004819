"""`make demo`: real purchases go from an embedded warehouse to a local stand-in for Adjust, through a real Airflow.

It loads the CDNOW purchases into SQLite, runs the example DAG once for each of the last seven nights, and compares the
warehouse with the stand-in's records. It exits with 1 when they differ by a cent.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from load_purchases import NIGHTS, customer_row, load
from local_airflow import free_port, own_environment
from rich.console import Console
from rich.table import Table
from stop_on_signals import stop_on_signals

from airflow_provider_adjust.sandbox import SandboxServer

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
WAREHOUSE = HOME / "warehouse.db"
LEDGER = HOME / "ledger.db"
FILES = HOME / "files"
REJECTED = FILES / "rejected"
S2S_TOKEN = "demo-s2s-security-token"  # noqa: S105 - accepted by the stand-in only
APP_TOKEN = "4w565xzmb54d"  # noqa: S105 - the example in Adjust's documentation
EVENT_TOKEN = "f0ob4r"  # noqa: S105 - the example in Adjust's documentation

console = Console()


def airflow_environment(sandbox_url: str) -> dict[str, str]:
    """A throw-away Airflow with the example DAGs and two connections."""
    adjust = {
        "conn_type": "adjust",
        "host": sandbox_url,
        "password": S2S_TOKEN,
        "extra": {"app_token": APP_TOKEN, "environment": "sandbox"},
    }
    settings = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(adjust),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(WAREHOUSE)}),
        "AIRFLOW_CONN_ADJUST_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(LEDGER)}),
        "AIRFLOW__ADJUST__FILES_FOLDER": str(FILES),
    }
    return own_environment(HOME / "airflow", free_port(), **settings)


def run(command: list[str], environment: dict[str, str], log: Path) -> None:
    with log.open("a") as output:
        done = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)  # noqa: S603
    if done.returncode:
        console.print("".join(log.read_text().splitlines(keepends=True)[-40:]), markup=False)
        raise SystemExit(f"{' '.join(command[1:])} failed with {done.returncode}; its log is {log}")


def unknown_devices() -> list[str]:
    """The devices of every fiftieth customer: Adjust does not know them, as when an SDK is blocked."""
    rows = [customer_row(f"{number:05}") for number in range(0, 24_000, 50)]
    return [row[name] for row in rows for name in ("gps_adid", "idfa") if row[name]]


def stand_in() -> SandboxServer:
    """A stand-in for Adjust that accepts the demo's tokens and knows all but the unknown devices."""
    settings: dict[str, Any] = {
        "tokens": [S2S_TOKEN],
        "app_tokens": [APP_TOKEN],
        "event_tokens": [EVENT_TOKEN],
        "unknown_devices": unknown_devices(),
    }
    return SandboxServer(**settings)


def last_night() -> datetime:
    """The midnight until which there are purchases; an hour back, so that the last night has settled after midnight."""
    return (datetime.now(UTC) - timedelta(hours=1)).replace(hour=0, minute=0, second=0, microsecond=0)


def warehouse_totals() -> tuple[int, Decimal]:
    with sqlite3.connect(WAREHOUSE) as connection:
        amounts = [Decimal(str(amount)) for (amount,) in connection.execute("SELECT amount FROM purchases")]
    return len(amounts), sum(amounts, Decimal(0))


def rejected_rows() -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(REJECTED.rglob("*.jsonl")) for line in path.read_text().splitlines()]


def report(stats: dict[str, Any]) -> bool:
    """Print the comparison; return whether both sides agree."""
    purchases, revenue = warehouse_totals()
    recorded, booked = stats["recorded"], Decimal(stats["revenue"].get("USD", "0"))
    rejected = rejected_rows()
    missing = sum((Decimal(str(line["row"]["revenue"])) for line in rejected), Decimal(0))

    table = Table("", "events", "revenue in USD", title="Warehouse and Adjust (local stand-in)")
    table.columns[1].justify = table.columns[2].justify = "right"
    table.add_row("purchases in the warehouse", f"{purchases:,}", f"{revenue:,.2f}")
    table.add_row("recorded by the stand-in", f"{recorded:,}", f"{booked:,.2f}")
    for (outcome, reason), count in Counter((line["outcome"], line["reason"]) for line in rejected).most_common():
        lost = sum((Decimal(str(line["row"]["revenue"])) for line in rejected if line["reason"] == reason), Decimal(0))
        table.add_row(f"{outcome}: {reason}", f"{count:,}", f"{lost:,.2f}")
    table.add_row("difference", f"{purchases - recorded - len(rejected):,}", f"{revenue - booked - missing:,.2f}")
    console.print(table)
    console.print(f"out of order: {stats['order_violations']}, sent twice: {stats['repeated_event_ids']}")
    console.print(f"rejected events with reasons: {REJECTED}", soft_wrap=True)
    return (
        purchases == recorded + len(rejected)
        and revenue == booked + missing
        and not stats["order_violations"]
        and not stats["repeated_event_ids"]
    )


def main() -> None:
    stop_on_signals()
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    log = HOME / "airflow.log"
    until = last_night()
    count = load(f"sqlite:///{WAREHOUSE}", until)
    console.print(f"{count:,} purchases loaded into {WAREHOUSE}", soft_wrap=True)
    with stand_in() as sandbox:
        console.print(f"stand-in for Adjust at {sandbox.url}")
        environment = airflow_environment(sandbox.url)
        airflow = str(Path(sys.executable).with_name("airflow"))
        run([airflow, "db", "migrate"], environment, log)
        for night in range(NIGHTS, 0, -1):
            end = until - timedelta(days=night - 1)
            before = sandbox.stats()["recorded"]
            run([airflow, "dags", "test", "adjust_revenue_sync", end.isoformat()], environment, log)
            sent = sandbox.stats()["recorded"] - before
            console.print(f"night before {end:%Y-%m-%d}: {sent:,} purchases delivered")
        holds = report(sandbox.stats())
    console.print(f"Airflow's log: {log}", soft_wrap=True)
    if not holds:
        raise SystemExit("the warehouse and the stand-in differ")


if __name__ == "__main__":
    main()
