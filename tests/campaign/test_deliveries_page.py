"""From a DAG run to the run's tab, by a real scheduler, API server and Chromium: what was sent is what is shown."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from airflow_provider_adjust.sandbox import SandboxServer

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "screenshot_deliveries_page.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("playwright.sync_api")
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        pytest.skip("no chromium on the path")
    spec = importlib.util.spec_from_file_location("screenshot_deliveries_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # its dataclass looks there
    spec.loader.exec_module(module)
    return module


def test_a_run_is_shown_in_its_tab_and_in_the_menu(script: ModuleType, tmp_path: Path) -> None:
    with (
        SandboxServer(tokens=[script.TOKEN], unknown_share=0.03) as sandbox,
        script.running_airflow(tmp_path / "airflow", sandbox) as airflow,
    ):
        assert script.send_a_fortnight(airflow) == "success"
        recorded = sandbox.stats()["recorded"]
        assert 0 < recorded < script.ROWS

        with script.chromium_page() as page:
            frame = script.open_tab_of_run(page, airflow)
            assert figures(frame) == {"Delivered": recorded, "Rejected": script.ROWS - recorded}
            assert script.RUN_ID in frame.locator(".chosen").inner_text()

            frame.get_by_role("link", name="Runs", exact=True).click()
            frame.get_by_role("link", name="Task instance").click()
            page.wait_for_url("**/dags/shop_purchases/runs/*/tasks/send_purchases*")
            page.get_by_text("send_purchases").first.wait_for()

            frame = script.open_from_menu(page, airflow)
            assert figures(frame) == {"Delivered": recorded, "Rejected": script.ROWS - recorded}

        script.take_pictures(airflow, tmp_path / "images")
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        "deliveries-page-light.png",
        "deliveries-page-dark.png",
    }


def figures(frame: object) -> dict[str, int]:
    """The totals that are not zero."""
    text: str = frame.locator(".totals").inner_text()  # type: ignore[attr-defined]
    found = re.findall(r"(Delivered|Duplicate|Rejected|In doubt|Being sent|Held)\s+([\d,]+)", text)
    return {label: int(number.replace(",", "")) for label, number in found if number != "0"}
