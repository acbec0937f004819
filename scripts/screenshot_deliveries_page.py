"""Take the picture of the page "Adjust deliveries" that the documentation shows, from a real Airflow and a real Chromium.

Starts `airflow standalone` in a folder of its own and the local stand-in for Adjust, sends a fortnight of made-up
purchases with a ledger, opens the run's tab and the page in the menu, and stops everything again. Needs Playwright (the
dependency group `ui`) and a Chromium on the path, or named by the variable CHROMIUM.

    python scripts/screenshot_deliveries_page.py docs/images
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_adjust.sandbox import SandboxServer

TOKEN = "the-token-of-a-local-stand-in"  # noqa: S105 - opens nothing
#: With a plus, which an address must not lose.
RUN_ID = "manual__2026-05-01T00:00:00+00:00"
DAYS, ROWS = 14, 1400

DAG = '''
import math
from datetime import UTC, datetime, timedelta

from airflow.sdk import dag
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

DAYS, ROWS = {days}, {rows}


def purchases():
    """More on some days than on others, in two currencies."""
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    for number in range(ROWS):
        place = number / ROWS
        yield {{
            "order_id": f"order-{{number}}",
            "event": "subscription" if number % 3 == 0 else "purchase",
            "gps_adid": f"device-{{number % 400}}",
            "created_at": start + timedelta(days=DAYS) * (place + 0.02 * math.sin(place * 12)),
            "revenue": f"{{1 + number % 60}}.99",
            "currency": "EUR" if number % 4 == 0 else "USD",
        }}


@dag(schedule=None, catchup=False)
def shop_purchases():
    AdjustSendEventsOperator(
        task_id="send_purchases",
        events=sorted(purchases(), key=lambda row: row["created_at"]),
        event_tokens={{"purchase": "f0ob4r", "subscription": "sub5cr"}},
        id_field="order_id",
        ledger_conn_id="adjust_ledger",
        on_in_doubt="hold",
        max_rejected=ROWS,
        retries=0,
    )


shop_purchases()
'''


@dataclass(frozen=True)
class RunningAirflow:
    """An `airflow standalone` and its command line."""

    url: str
    environment: dict[str, str]

    def command(self, *words: str) -> str:
        return subprocess.run(  # noqa: S603 - Airflow's own command line
            [sys.executable, "-m", "airflow", *words], env=self.environment, capture_output=True, text=True
        ).stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 180) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.5)
    raise TimeoutError(f"{what} did not come within {seconds:.0f} s")


@contextmanager
def running_airflow(home: Path, sandbox: SandboxServer) -> Iterator[RunningAirflow]:
    """Start an Airflow that knows the DAG, the stand-in and the ledger; end it with all that it has started."""
    (home / "dags").mkdir(parents=True)
    (home / "dags" / "shop_purchases.py").write_text(DAG.format(days=DAYS, rows=ROWS), encoding="utf-8")
    port = free_port()
    adjust = {"app_token": "4w565xzmb54d", "environment": "sandbox"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__ADJUST__LEDGER_CONN_IDS": "adjust_ledger",
        "AIRFLOW_CONN_ADJUST_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(home / "ledger.db")}),
        "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(
            {"conn_type": "adjust", "host": sandbox.url, "password": TOKEN, "extra": adjust}
        ),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with (home / "standalone.log").open("w") as log:
        # A session of its own, so that all that it starts can be ended with it.
        standalone = subprocess.Popen(
            [sys.executable, "-m", "airflow", "standalone"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            airflow = RunningAirflow(f"http://127.0.0.1:{port}", environment)
            wait_for("the DAG", lambda: "shop_purchases" in airflow.command("dags", "list", "-o", "plain"))
            yield airflow
        finally:
            os.killpg(standalone.pid, signal.SIGKILL)
            standalone.wait()


def send_a_fortnight(airflow: RunningAirflow) -> str:
    """Run the DAG to its end; return how it ended."""
    airflow.command("dags", "trigger", "shop_purchases", "--run-id", RUN_ID)

    def ended() -> str | None:
        output = airflow.command("tasks", "states-for-dag-run", "shop_purchases", RUN_ID, "-o", "json")
        if "[" not in output:
            return None
        [task] = json.loads(output[output.index("[") :])
        return task["state"] if task["state"] in {"success", "failed"} else None

    return str(wait_for("the run's end", ended))


@contextmanager
def chromium_page(**options: Any) -> Iterator[Any]:
    """A page of a running Chromium."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as driver:
        # Root, as which CI runs, may not use the sandbox.
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser.new_context(viewport={"width": 1200, "height": 780}, **options).new_page()
        finally:
            browser.close()


def open_tab_of_run(page: Any, airflow: RunningAirflow) -> Any:
    """Go to the run and click its tab, as a person would; return the frame with the page."""
    page.goto(f"{airflow.url}/dags/shop_purchases/runs/{RUN_ID.replace('+', '%2B')}")
    page.get_by_role("link", name="Adjust deliveries").click()
    frame = page.frame_locator("iframe")
    frame.locator("#chart canvas").nth(1).wait_for()
    return frame


def open_from_menu(page: Any, airflow: RunningAirflow) -> Any:
    """Go to the page by Airflow's menu; return the frame with the page."""
    page.goto(airflow.url)
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Adjust deliveries").click()
    frame = page.frame_locator("iframe")
    frame.locator("#chart canvas").nth(1).wait_for()
    return frame


def take_pictures(airflow: RunningAirflow, folder: Path) -> None:
    """The page in light and in dark."""
    folder.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        with chromium_page(color_scheme=theme) as page:
            open_from_menu(page, airflow)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=folder / f"deliveries-page-{theme}.png")


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the pictures go")
    folder = parser.parse_args().folder
    home = Path(tempfile.mkdtemp(prefix="adjust-deliveries-page-"))
    try:
        with (
            SandboxServer(tokens=[TOKEN], unknown_share=0.03, faults="stall=0.002", stall_seconds=1) as sandbox,
            running_airflow(home / "airflow", sandbox) as airflow,
        ):
            # Failed, since some answers are lost on purpose, and what they leave in doubt is held.
            print("the run ended:", send_a_fortnight(airflow))
            take_pictures(airflow, folder)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
