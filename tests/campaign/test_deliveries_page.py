"""From a DAG run to the run's tab, by a real scheduler, API server and Chromium: what was sent is what is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the dependency group ui is not installed")

from airflow_in_chromium import chromium, chromium_page
from playwright.sync_api import FrameLocator
from screenshot_deliveries_page import (
    DAG,
    RUN_ID,
    airflow_with_purchases,
    open_from_menu,
    open_tab_of_run,
    send_a_fortnight,
    take_pictures,
)
from shown_dags.shop_purchases import ROWS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.airflow,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium on the path, and CHROMIUM names none"),
]


def test_a_run_is_shown_in_its_tab_and_in_the_menu(tmp_path: Path) -> None:
    with airflow_with_purchases(tmp_path / "airflow", unknown_share=0.03) as (airflow, sandbox):
        assert send_a_fortnight(airflow) == "success"
        recorded = sandbox.stats()["recorded"]
        assert 0 < recorded < ROWS

        with chromium_page() as page:
            frame = open_tab_of_run(page, airflow)
            assert figures(frame) == {"Delivered": recorded, "Rejected": ROWS - recorded}
            assert RUN_ID in frame.locator(".active-filters").inner_text()

            frame.get_by_role("link", name="Runs", exact=True).click()
            frame.get_by_role("link", name="Task instance").click()
            page.wait_for_url(f"**/dags/{DAG}/runs/*/tasks/send_purchases*")
            page.get_by_text("send_purchases").first.wait_for()

            frame = open_from_menu(page, airflow)
            assert figures(frame) == {"Delivered": recorded, "Rejected": ROWS - recorded}

        take_pictures(airflow, tmp_path / "images")
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        "deliveries-page-light.png",
        "deliveries-page-dark.png",
    }


def figures(frame: FrameLocator) -> dict[str, int]:
    """The totals that are not zero."""
    text = frame.locator(".totals").inner_text()
    found = re.findall(r"(Delivered|Duplicate|Rejected|In doubt|Being sent|Held)\s+([\d,]+)", text)
    return {label: int(number.replace(",", "")) for label, number in found if number != "0"}
