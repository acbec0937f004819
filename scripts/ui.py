"""`make ui`: an Airflow with the demo's purchases, a ledger and a local stand-in for Adjust.

It starts `airflow standalone`, saves the connections, has the last seven nights delivered, and runs until Ctrl-C.
All files are in `.ui/`, which each start recreates.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from demo import APP_TOKEN, ROOT, S2S_TOKEN, last_night, stand_in
from load_purchases import NIGHTS, load
from local_airflow import LocalAirflow, free_port, local_airflow
from rich.console import Console
from stop_on_signals import stop_on_signals

from airflow_provider_adjust.sandbox import SandboxServer

HOME = ROOT / ".ui"
#: The example that runs. The others wait, paused, under "All" in the list of DAGs.
NIGHTLY = "adjust_revenue_sync"

console = Console()


@contextmanager
def adjust_ui(home: Path, *, port: int | None = None) -> Iterator[tuple[LocalAirflow, SandboxServer]]:
    """An Airflow that knows the example DAGs, the warehouse, the ledger and the stand-in."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    load(f"sqlite:///{home}/warehouse.db", last_night())
    environment = {
        "AIRFLOW__ADJUST__FILES_FOLDER": str(home / "files"),
        "AIRFLOW__ADJUST__LEDGER_CONN_IDS": "adjust_ledger",
        "AIRFLOW__API__HIDE_PAUSED_DAGS_BY_DEFAULT": "True",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
    }
    with stand_in() as sandbox, local_airflow(home / "airflow", port=port, **environment) as airflow:
        airflow.wait_until_ready(NIGHTLY)
        airflow.add_connection("warehouse", conn_type="sqlite", host=str(home / "warehouse.db"))
        airflow.add_connection("adjust_ledger", conn_type="sqlite", host=str(home / "ledger.db"))
        yield airflow, sandbox


def save_adjust_connection(airflow: LocalAirflow, sandbox: SandboxServer) -> None:
    """Save the connection that a person would fill into the form."""
    extra = f'{{"app_token": "{APP_TOKEN}", "environment": "sandbox"}}'
    host, _, port = sandbox.url.rpartition(":")
    airflow.add_connection(
        "adjust_default", conn_type="adjust", host=host, port=int(port), password=S2S_TOKEN, extra=extra
    )


def deliver_the_nights(airflow: LocalAirflow) -> None:
    """Backfill the paused DAG up to and including the last night, then unpause it, so that the past goes first."""
    airflow.call_until_done(
        "POST",
        "backfills",
        dag_id=NIGHTLY,
        from_date=(last_night() - timedelta(days=NIGHTS)).isoformat(),
        to_date=(last_night() - timedelta(days=1)).isoformat(),
        max_active_runs=1,
        reprocess_behavior="failed",
    )
    airflow.call_until_done("PATCH", f"dags/{NIGHTLY}", is_paused=False)


def wait_for_ctrl_c() -> None:
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    # Everything is being stopped now, and a second Ctrl-C must not interrupt that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080, help="Airflow's port; a free one if it is taken")
    parser.add_argument("--home", type=Path, default=HOME, help="a folder of its own, made anew at each start")
    arguments = parser.parse_args()
    stop_on_signals()
    try:
        console.print("Starting Airflow takes half a minute")
        with adjust_ui(arguments.home, port=free_port(arguments.port)) as (airflow, sandbox):
            save_adjust_connection(airflow, sandbox)
            deliver_the_nights(airflow)
            console.print(f"Open {airflow.url}/dags/{NIGHTLY}", style="bold", soft_wrap=True)
            console.print(f"The stand-in's records: {sandbox.url}/_sandbox/stats", soft_wrap=True)
            console.print(f"Airflow's log: {airflow.log}", soft_wrap=True)
            console.print(f"{NIGHTLY} delivers the last seven nights now. Ctrl-C stops everything.", soft_wrap=True)
            wait_for_ctrl_c()
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # before Airflow was ready
    console.print("Airflow has stopped")


if __name__ == "__main__":
    main()
