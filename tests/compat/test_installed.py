"""What must hold on every Airflow and Python that the provider says it runs on: `make test-all` runs this on each.

Here it runs on the Airflow at hand. There it runs outside the repository, against the built wheel, and so imports nothing
but what is installed.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import airflow
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.triggers.base import BaseTrigger
from packaging.version import Version
from warm_airflow import airflow_command

import airflow_provider_adjust
from airflow_provider_adjust.get_provider_info import get_provider_info
from airflow_provider_adjust.sandbox import SandboxServer

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
AIRFLOW = Version(airflow.__version__)
APP_TOKEN, EVENT_TOKEN, S2S_TOKEN = "4w565xzmb54d", "f0ob4r", "s2sTokenThatNobodyMaySee"
#: What an Airflow lacks, and so what does not import there (docs/reference/compatibility.md).
NEEDS_NEWER = {"airflow_provider_adjust.retry_policy": Version("3.3")}
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(airflow_provider_adjust.__path__, "airflow_provider_adjust.")
    if not module.name.endswith("__main__")
)

pytestmark = pytest.mark.airflow


def output_of(*arguments: str, **environment: str) -> str:
    done = airflow_command(*arguments, env=os.environ | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def imports(module: str) -> bool:
    """Tell whether the module is imported."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def test_every_module_is_imported_where_airflow_has_what_it_needs() -> None:
    too_old = {module for module, since in NEEDS_NEWER.items() if Version(AIRFLOW.base_version) < since}
    assert {module for module in MODULES if not imports(module)} == too_old


def test_airflow_accepts_the_provider_and_its_hook() -> None:
    manager = ProvidersManager()
    assert manager.providers["airflow-provider-adjust"].version == airflow_provider_adjust.__version__
    hook = manager.hooks["adjust"]
    assert hook is not None
    assert (hook.hook_name, hook.connection_id_attribute_name) == ("Adjust S2S", "adjust_conn_id")


#: In a process of its own, as in the API server: Airflow 3.1 must build the form before a hook has been imported.
SHOW_FORM = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
[form] = [form for form in HookMetaService.hook_meta_data() if form.connection_type == "adjust"]
print(json.dumps(form.model_dump(mode="json")))
"""


def test_the_connection_form_has_its_fields_and_hides_its_secrets() -> None:
    command = [sys.executable, "-c", SHOW_FORM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    form = json.loads(done.stdout.splitlines()[-1])
    assert form["standard_fields"]["password"]["title"] == "S2S security token"
    assert {"app_token", "environment", "api_token"} <= form["extra_fields"].keys()
    assert form["extra_fields"]["api_token"]["schema"]["format"] == "password"


def test_every_trigger_is_restored_from_what_it_serialized() -> None:
    from airflow_provider_adjust.triggers.adjust_device_event import AdjustDeviceEventTrigger
    from airflow_provider_adjust.triggers.adjust_events_reported import AdjustEventsReportedTrigger

    waiting = {"adjust_conn_id": "adjust_default", "app_token": None, "poke_interval": 60.0, "until": 2e9}
    reported = {"environment": None, "expected": [], "baseline": [], "tolerance": 0, "revenue_tolerance": "0.01"}
    triggers: list[BaseTrigger] = [
        AdjustDeviceEventTrigger(
            encrypted_device_id="encrypted", event_token=EVENT_TOKEN, since="2026-01-01T00:00:00+00:00", **waiting
        ),
        AdjustEventsReportedTrigger(**reported, timezone="UTC", **waiting),
    ]
    for trigger in triggers:
        path, arguments = trigger.serialize()
        module, _, name = path.rpartition(".")
        again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
        assert again.serialize() == (path, arguments)


def test_every_example_of_this_airflow_is_imported() -> None:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef,attr-defined]

    assert DagBag(str(EXAMPLES)).import_errors == {}


DAG = """
from airflow.sdk import dag, task
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.sensors.adjust_events_ready import AdjustEventsReadySensor
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

EVENT = {"event_token": "f0ob4r", "id_field": "order_id"}
QUERY = "SELECT order_id, created_at, gps_adid, revenue, currency FROM purchases WHERE order_id < 10 ORDER BY created_at"


@dag(schedule=None, default_args={"retries": 0})
def deliver():
    @task(show_return_value_in_logs=False)
    def load():
        import sqlite3, os
        with sqlite3.connect(os.environ["WAREHOUSE"]) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute("SELECT * FROM purchases WHERE order_id >= 10")]

    @task.adjust_events(**EVENT)
    def one():
        import sqlite3, os
        with sqlite3.connect(os.environ["WAREHOUSE"]) as database:
            database.row_factory = sqlite3.Row
            yield from map(dict, database.execute("SELECT * FROM one_more"))

    ready = AdjustEventsReadySensor(task_id="ready", sql_conn_id="warehouse", sql="SELECT COUNT(*) FROM purchases")
    ready >> SqlToAdjustOperator(task_id="from_sql", sql_conn_id="warehouse", sql=QUERY, **EVENT)
    AdjustSendEventsOperator(task_id="from_task", events=load(), **EVENT)
    one()


deliver()
"""


def fill_warehouse(path: Path) -> None:
    started = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    rows = [
        (
            number,
            (started + timedelta(seconds=number)).isoformat(),
            f"de71ce00-0000-4000-8000-{number:012x}",
            "1.25",
            "EUR",
        )
        for number in range(21)
    ]
    with sqlite3.connect(path) as database:
        for table, held in (("purchases", rows[:20]), ("one_more", rows[20:])):
            database.execute(f"CREATE TABLE {table} (order_id INTEGER, created_at, gps_adid, revenue, currency)")
            database.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?)", held)


def test_a_dag_delivers_from_a_query_a_task_and_a_function(airflow_db: Path, tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse.db"
    fill_warehouse(warehouse)
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "deliver.py").write_text(DAG)
    with SandboxServer(tokens=[S2S_TOKEN], app_tokens=[APP_TOKEN], event_tokens=[EVENT_TOKEN]) as sandbox:
        extra = {"app_token": APP_TOKEN, "environment": "production"}
        adjust = {"conn_type": "adjust", "host": sandbox.url, "password": S2S_TOKEN, "extra": extra}
        log = output_of(
            *("dags", "test", "deliver"),
            AIRFLOW__CORE__DAGS_FOLDER=str(tmp_path / "dags"),
            AIRFLOW_CONN_ADJUST_DEFAULT=json.dumps(adjust),
            AIRFLOW_CONN_WAREHOUSE=json.dumps({"conn_type": "sqlite", "host": str(warehouse)}),
            WAREHOUSE=str(warehouse),
        )
        devices = sorted(event["params"]["gps_adid"] for event in sandbox.events())
    assert devices == [f"de71ce00-0000-4000-8000-{number:012x}" for number in range(21)]
    assert S2S_TOKEN not in log
    assert "de71ce00" not in log


def test_the_command_line_has_its_commands() -> None:
    module = [sys.executable, "-m", "airflow_provider_adjust", "--help"]
    shown = subprocess.run(module, capture_output=True, text=True, timeout=120, check=True).stdout
    if Version("3.2") <= AIRFLOW:  # before, a provider could not add to Airflow's own
        assert "validate" in output_of("adjust", "--help")
    assert "validate" in shown
    assert get_provider_info()["cli"]
