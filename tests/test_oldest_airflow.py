"""An Airflow that is too old is refused when a DAG is imported, with a message that says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from table import table

from airflow_provider_adjust.get_provider_info import get_provider_info
from airflow_provider_adjust.oldest_airflow import OLDEST, refuse_older_airflow

REPOSITORY = Path(__file__).resolve().parent.parent

#: What a DAG imports, one module a room.
DAG_IMPORTS = [
    "decorators.adjust_events",
    "hooks.adjust_s2s",
    "notifications.adjust_delivery_summary",
    "operators.adjust_send_events",
    "sensors.adjust_events_ready",
    "transfers.sql_to_adjust",
    "triggers.adjust_device_event",
]


#: Imported one after the other in one process, in which Airflow says that it is of another version.
IMPORT_ALL = """
import importlib, json, sys, airflow
airflow.__version__ = "3.0.6"
said = {}
for module in sys.argv[1:]:
    try:
        importlib.import_module(module)
        said[module] = "imported"
    except ImportError as error:
        said[module] = str(error)
print(json.dumps(said))
"""


@table("version", ["2.11.0", "3.0.0", "3.0.6"])
def test_an_older_one_is_refused_with_the_remedy(version: str) -> None:
    with pytest.raises(
        ImportError, match=rf"needs Apache Airflow 3\.1 or newer, and this is {version}\. Upgrade Airflow"
    ):
        refuse_older_airflow(version)


@table("version", ["3.1.0", "3.1.0rc1", "3.1.8", "3.3.2", "3.10.0", "4.0.0.dev0", "3.3.2+local"])
def test_a_newer_one_is_not(version: str) -> None:
    refuse_older_airflow(version)


def test_the_one_at_hand_is_new_enough() -> None:
    refuse_older_airflow()


@pytest.mark.airflow
def test_what_a_dag_imports_says_so_and_what_airflow_reads_at_its_start_is_harmless() -> None:
    """Were the latter refused too, every process of the deployment would end for want of this provider."""
    handlers = {entry["handler"].rpartition(".")[0] for entry in get_provider_info()["asset-uris"]}
    harmless = {"airflow_provider_adjust.get_provider_info", *handlers}
    modules = [*sorted(harmless), *(f"airflow_provider_adjust.{module}" for module in DAG_IMPORTS)]
    command = [sys.executable, "-c", IMPORT_ALL, *modules]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    assert {module for module, what in said.items() if what == "imported"} == harmless
    refused = [what for what in said.values() if what != "imported"]
    assert len(refused) == len(DAG_IMPORTS)
    assert all(what.startswith("airflow-provider-adjust needs Apache Airflow 3.1 or newer") for what in refused), said


def test_the_resolver_enforces_the_same_versions() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [airflow] = [each for each in map(Requirement, project["dependencies"]) if each.name == "apache-airflow"]
    assert str(airflow.specifier) == f">={OLDEST}"
