"""`make docs SCREENSHOTS=1`: take the pictures of Airflow's UI that the documentation shows, in a real Chromium.

It starts what `make ui` starts, fills in the connection form, tests the connection, triggers the quick start and lets
last night's purchases be delivered, and stops everything again.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from airflow_in_chromium import ConnectionForm, chromium_page, needs_chromium, press_test, see_run, trigger
from demo import APP_TOKEN, ROOT, S2S_TOKEN
from local_airflow import LocalAirflow
from playwright.sync_api import Page
from stop_on_signals import stop_on_signals
from ui import adjust_ui

from airflow_provider_adjust.sandbox import SandboxServer


def take(page: Page, airflow: LocalAirflow, sandbox: SandboxServer, folder: Path) -> None:
    """Do what docs/start/quickstart.md says, and take a picture wherever it shows one."""
    host, _, port = sandbox.url.rpartition(":")
    form = ConnectionForm.add(page, airflow.url, "adjust_default")
    form.field("host").fill(host)
    form.field("port").fill(port)
    form.field("password").fill(S2S_TOKEN)
    form.unfold("Extra Fields")
    form.field("app_token").fill(APP_TOKEN)
    form.choose_environment("sandbox")
    page.set_viewport_size({"width": 1200, "height": 1500})
    form.dialog.screenshot(path=folder / "connection-form.png", animations="disabled")
    page.set_viewport_size({"width": 1200, "height": 800})
    form.save()

    press_test(page, airflow.url, "adjust_default")
    page.screenshot(path=folder / "connection-test.png", animations="disabled")

    see_run(page, airflow.url, "adjust_quickstart", trigger(page, airflow.url, "adjust_quickstart"))
    page.screenshot(path=folder / "quickstart-run.png", animations="disabled")

    # A DAG with a schedule and without catch-up runs its last interval as soon as it is unpaused.
    airflow.api("PATCH", "dags/adjust_revenue_sync", is_paused=False)
    [run] = airflow.wait_for("the night", lambda: airflow.api("GET", "dags/adjust_revenue_sync/dagRuns")["dag_runs"])
    see_run(page, airflow.url, "adjust_revenue_sync", run["dag_run_id"])
    page.screenshot(path=folder / "revenue-sync-run.png", animations="disabled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "images")
    arguments = parser.parse_args()
    stop_on_signals()
    needs_chromium()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="adjust-screenshots-") as home,
        adjust_ui(Path(home) / "ui") as (airflow, sandbox),
        chromium_page() as page,
    ):
        take(page, airflow, sandbox, arguments.folder)


if __name__ == "__main__":
    main()
