"""Take the pictures of the page "Adjust deliveries" that the documentation shows, from a real Airflow and a real Chromium.

It starts an Airflow in a folder of its own and the local stand-in for Adjust, sends a fortnight of made-up purchases with a
ledger, opens the page in the menu, and stops everything again. `make docs SCREENSHOTS=1` runs it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow_in_chromium import chromium_page, needs_chromium
from local_airflow import LocalAirflow, local_airflow
from playwright.sync_api import FrameLocator, Page
from stop_on_signals import stop_on_signals

from airflow_provider_adjust.sandbox import SandboxServer

ROOT = Path(__file__).resolve().parent.parent
DAG = "shop_purchases"
#: With a plus, which an address must not lose.
RUN_ID = "manual__2026-05-01T00:00:00+00:00"


@contextmanager
def airflow_with_purchases(home: Path, **stand_in: Any) -> Iterator[tuple[LocalAirflow, SandboxServer]]:
    """An Airflow with the DAG and a ledger, and a stand-in with these settings."""
    token = "the-token-of-a-local-stand-in"  # noqa: S105 - opens nothing
    settings = {
        "AIRFLOW__ADJUST__LEDGER_CONN_IDS": "adjust_ledger",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "scripts" / "shown_dags"),
    }
    with SandboxServer(tokens=[token], **stand_in) as sandbox, local_airflow(home, **settings) as airflow:
        airflow.wait_until_ready(DAG)
        airflow.add_connection("adjust_ledger", conn_type="sqlite", host=str(home / "ledger.db"))
        extra = '{"app_token": "4w565xzmb54d", "environment": "sandbox"}'
        airflow.add_connection("adjust_default", conn_type="adjust", host=sandbox.url, password=token, extra=extra)
        yield airflow, sandbox


def send_a_fortnight(airflow: LocalAirflow) -> str:
    """Run the DAG to its end; return how it ended."""
    airflow.api("POST", f"dags/{DAG}/dagRuns", dag_run_id=RUN_ID, logical_date=None)
    return str(airflow.wait_for("the run's end", lambda: airflow.run_state(DAG, quote(RUN_ID))))


def open_tab_of_run(page: Page, airflow: LocalAirflow) -> FrameLocator:
    """Go to the run and click its tab, as a person would; return the frame with the page."""
    page.goto(f"{airflow.url}/dags/{DAG}/runs/{quote(RUN_ID)}")
    page.get_by_role("link", name="Adjust deliveries").click()
    return _frame(page)


def open_from_menu(page: Page, airflow: LocalAirflow) -> FrameLocator:
    """Go to the page by Airflow's menu; return the frame with the page."""
    page.goto(airflow.url)
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Adjust deliveries").click()
    return _frame(page)


def _frame(page: Page) -> FrameLocator:
    frame = page.frame_locator("iframe")
    frame.locator("svg rect.delivered").first.wait_for(state="attached")
    return frame


def take_pictures(airflow: LocalAirflow, folder: Path) -> None:
    """The page in light and in dark."""
    folder.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        with chromium_page(height=780, color_scheme=theme) as page:
            open_from_menu(page, airflow)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=folder / f"deliveries-page-{theme}.png")


def main() -> None:
    """Send the purchases, then take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "images")
    arguments = parser.parse_args()
    stop_on_signals()
    needs_chromium()
    with (
        tempfile.TemporaryDirectory(prefix="adjust-screenshots-") as home,
        airflow_with_purchases(Path(home) / "airflow", unknown_share=0.03, faults="stall=0.002", stall_seconds=1) as (
            airflow,
            _,
        ),
    ):
        # The run fails: some answers are lost on purpose, and events in doubt are held.
        print("the run ended:", send_a_fortnight(airflow))
        take_pictures(airflow, arguments.folder)


if __name__ == "__main__":
    main()
