"""The wheel, tested like a user's installation: in a separate virtual environment, without the source tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_adjust import __version__

REPOSITORY = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.airflow

Run = Callable[..., str]

DIST_INFO = f"airflow_provider_adjust-{__version__}.dist-info"


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def uv() -> str:
    beside_python = Path(sys.executable).with_name("uv")
    found = str(beside_python) if beside_python.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("needs uv, which `make test` installs")
    return found


@pytest.fixture(scope="module")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    digests = ("--build-constraints", REPOSITORY / "requirements" / "locked.txt", "--require-hashes")
    run(uv, "build", "--wheel", "--python", sys.executable, *digests, "--out-dir", out, REPOSITORY, cwd=out)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def in_clean_venv(uv: str, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Install the wheel beside the Airflow that runs these tests; return a function that runs a script of that venv."""
    place = tmp_path_factory.mktemp("installed")
    venv = place / "venv"
    python = venv / "bin" / "python"
    run(uv, "venv", "--python", sys.executable, venv, cwd=place)
    run(
        *(uv, "pip", "install", "--python", python, "--constraints", REPOSITORY / "requirements" / "constraints.txt"),
        *(f"apache-airflow=={version('apache-airflow')}", wheel),
        cwd=place,
    )
    # Nothing of the test run's environment may help: neither its source tree nor its Airflow.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "PYTHON", "VIRTUAL_ENV"))}
    env |= {"AIRFLOW_HOME": str(place / "home"), "PATH": f"{python.parent}{os.pathsep}{env['PATH']}"}

    def run_there(script: str, *arguments: str) -> str:
        return run(python.parent / script, *arguments, cwd=place, env=env)

    return run_there


def test_the_deliveries_page_is_complete(wheel: Path) -> None:
    folder = Path("airflow_provider_adjust/deliveries_page")
    files = [path for path in (REPOSITORY / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {path.relative_to(REPOSITORY).as_posix() for path in files}
    assert {f"{folder}/static/page.css", f"{folder}/templates/page.html"} <= expected
    assert expected <= set(zipfile.ZipFile(wheel).namelist())


def provider_rows(output: str) -> list[dict[str, Any]]:
    """Return the JSON that an `airflow ... --output json` printed, past any lines logged before it."""
    rows: list[dict[str, Any]] = json.loads(output[output.index("[{") :])
    return rows


# --- Its contents -----------------------------------------------------------------------------------------------------


def test_the_wheel_holds_the_package_its_data_and_its_licence_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    # A file under airflow/ would land in Airflow's own package and could shadow a module of it.
    assert {name.partition("/")[0] for name in names} == {"airflow_provider_adjust", DIST_INFO}
    assert names >= {
        "airflow_provider_adjust/py.typed",
        "airflow_provider_adjust/s2s/endpoints/event.schema.json",
        f"{DIST_INFO}/licenses/LICENSE",
    }
    assert not [name for name in names if "test" in Path(name).stem.split("_") or name.endswith(".pyc")]


def test_the_description_has_no_link_that_leads_nowhere_outside_the_repository(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        description = archive.read(f"{DIST_INFO}/METADATA").decode().partition("\n\n")[2]
    assert description.startswith("# airflow-provider-adjust")
    assert "pip install airflow-provider-adjust" in description
    assert not [link for link in re.findall(r"\]\(([^)]*)\)", description) if not link.startswith("https://")]
    assert "<!--" not in description


def test_every_source_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    package = REPOSITORY / "airflow_provider_adjust"
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("airflow_provider_adjust/")}
    sources = {
        path.relative_to(REPOSITORY).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert packed == sources


def test_the_entry_point_names_the_provider_dict(wheel: Path) -> None:
    parser = ConfigParser()
    with zipfile.ZipFile(wheel) as archive:
        parser.read_string(archive.read(f"{DIST_INFO}/entry_points.txt").decode())
    assert dict(parser["apache_airflow_provider"]) == {
        "provider_info": "airflow_provider_adjust.get_provider_info:get_provider_info"
    }


# --- Installed --------------------------------------------------------------------------------------------------------


def test_the_installed_package_is_the_wheels(in_clean_venv: Run) -> None:
    where = in_clean_venv("python", "-c", "import airflow_provider_adjust as p; print(p.__file__, p.__version__)")
    assert "site-packages" in where
    assert str(REPOSITORY / "airflow_provider_adjust") not in where
    assert where.split()[-1] == __version__


def test_airflow_starts_and_lists_the_provider(in_clean_venv: Run) -> None:
    """A provider dict that Airflow refuses stops every command."""
    [row] = provider_rows(in_clean_venv("airflow", "providers", "get", "airflow-provider-adjust", "--output", "json"))
    assert row["Provider"] == "airflow-provider-adjust"
    assert row["Version"] == __version__


def test_airflow_imports_the_hook(in_clean_venv: Run) -> None:
    rows = provider_rows(in_clean_venv("airflow", "providers", "hooks", "--output", "json"))
    [row] = [row for row in rows if row["connection_type"] == "adjust"]
    assert row == {
        "connection_type": "adjust",
        "class": "airflow_provider_adjust.hooks.adjust_s2s.AdjustS2SHook",
        "conn_id_attribute_name": "adjust_conn_id",
        "package_name": "airflow-provider-adjust",
        "hook_name": "Adjust S2S",
    }


#: One process for both, since Airflow is slow to import. The form comes first, as in the API server.
SHOW = """
import importlib
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.providers_manager import ProvidersManager

[form] = [m for m in HookMetaService.hook_meta_data() if m.connection_type == "adjust"]
widgets = ProvidersManager()._connection_form_widgets_from_metadata
sensitive = sorted(w.field_name for key, w in widgets.items() if "__adjust__" in key and w.is_sensitive)
for module in ("operators.adjust_send_events", "transfers.sql_to_adjust", "sensors.adjust_events_ready", "sandbox.server"):
    importlib.import_module(f"airflow_provider_adjust.{module}")
print(json.dumps({"form": form.model_dump(mode="json"), "sensitive": sensitive}))
"""


def test_the_ui_gets_the_form_and_what_a_dag_imports_needs_no_package_beyond_the_declared_ones(
    in_clean_venv: Run,
) -> None:
    shown = json.loads(in_clean_venv("python", "-c", SHOW).splitlines()[-1])
    standard, extra = shown["form"]["standard_fields"], shown["form"]["extra_fields"]

    assert shown["form"]["hook_name"] == "Adjust S2S"
    assert {name for name, field in standard.items() if field and field["hidden"]} == {"url_schema", "login"}
    assert (standard["host"]["title"], standard["host"]["placeholder"]) == ("Endpoint", "https://s2s.adjust.com")
    # Airflow masks the standard password by itself; the other secrets are secret only by their declared format.
    assert standard["password"]["title"] == "S2S security token"
    assert shown["sensitive"] == ["api_token", "digest_key"]
    assert extra["api_token"]["schema"]["format"] == "password"
    assert extra["environment"]["schema"]["enum"] == ["production", "sandbox"]
    assert extra["environment"]["value"] is None
    assert (extra["connect_timeout"]["value"], extra["read_timeout"]["value"]) == (5, 30)


#: Sends ten events to a stand-in for Adjust, and prints what sent them.
SEND = """
from datetime import UTC, datetime

from airflow_provider_adjust.s2s import Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.transports import Target
from airflow_provider_adjust.s2s.transports.choice import open_transport
from airflow_provider_adjust.sandbox import SandboxServer

options = RowOptions(app_token="4w565xzmb54d", event_token="f0ob4r", environment="sandbox", id_field="order_id")
rows = [{"order_id": str(number), "created_at": datetime.now(UTC), "gps_adid": f"device-{number}"} for number in range(10)]
transport = open_transport("auto", max_in_flight=4, timeout=(5.0, 5.0))
with SandboxServer() as server:
    route = Route(EventParser(options), Target(f"{server.url}/event", "token"))
    receipts = list(Sender({None: route}, transport, SendOptions(max_in_flight=4)).send(rows))
transport.close()
print(type(transport).__name__, sorted({receipt.outcome.value for receipt in receipts}), len(receipts))
"""


def test_libcurl_sends_by_default_and_requests_where_pycurl_is_taken_away(uv: str, in_clean_venv: Run) -> None:
    assert in_clean_venv("python", "-c", SEND).splitlines()[-1] == "CurlTransport ['delivered'] 10"
    python = in_clean_venv("python", "-c", "import sys; print(sys.executable)").strip()
    run(uv, "pip", "uninstall", "--python", python, "pycurl", cwd=Path(python).parent)
    assert in_clean_venv("python", "-c", SEND).splitlines()[-1] == "RequestsTransport ['delivered'] 10"
