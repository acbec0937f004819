"""Check that each warehouse's provider can be installed with this package and Airflow, and with the constraints.

    python scripts/warehouses.py                        # only resolve, in seconds
    python scripts/warehouses.py --install              # install each too, and import its hook, in minutes
    python scripts/warehouses.py --only snowflake
    python scripts/warehouses.py --table                # the table of docs/guides/warehouses.md

Each is resolved for the oldest and the newest Python, once with `requirements/constraints.txt` and once with Airflow's
release alone. A constraint that leaves a warehouse no release fails, and so does one that leaves it only an old release.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pin_dependencies import AIRFLOW, ROOT
from stop_on_signals import stop_on_signals

UV = Path(sys.executable).with_name("uv")
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
PYTHONS = ("3.11", "3.13")


class Warehouse(NamedTuple):
    """A warehouse, what of PyPI's it takes beside this package, and the hook that comes with that."""

    title: str
    packages: tuple[str, ...]
    #: The driver that the hook uses, which the provider brings.
    driver: str
    hook: str


WAREHOUSES = {
    "snowflake": Warehouse(
        "Snowflake",
        ("apache-airflow-providers-snowflake",),
        "snowflake-connector-python",
        "airflow.providers.snowflake.hooks.snowflake.SnowflakeHook",
    ),
    "redshift": Warehouse(
        "Amazon Redshift",
        ("apache-airflow-providers-amazon",),
        "redshift-connector",
        "airflow.providers.amazon.aws.hooks.redshift_sql.RedshiftSQLHook",
    ),
    "bigquery": Warehouse(
        "BigQuery",
        ("apache-airflow-providers-google",),
        "google-cloud-bigquery",
        "airflow.providers.google.cloud.hooks.bigquery.BigQueryHook",
    ),
    "databricks": Warehouse(
        "Databricks",
        ("apache-airflow-providers-databricks",),
        "databricks-sql-connector",
        "airflow.providers.databricks.hooks.databricks_sql.DatabricksSqlHook",
    ),
    "mysql": Warehouse(
        "MySQL, MariaDB",
        ("apache-airflow-providers-mysql",),
        "mysqlclient",
        "airflow.providers.mysql.hooks.mysql.MySqlHook",
    ),
    "postgres": Warehouse(
        "Postgres",
        ("apache-airflow-providers-postgres",),
        "psycopg2-binary",
        "airflow.providers.postgres.hooks.postgres.PostgresHook",
    ),
}

IMPORT = """
import importlib, sys
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator
module, _, name = sys.argv[1].rpartition(".")
getattr(importlib.import_module(module), name)
importlib.import_module(sys.argv[2])
"""
#: The module of a driver, where its name is not the package's.
MODULES = {
    "snowflake-connector-python": "snowflake.connector",
    "google-cloud-bigquery": "google.cloud.bigquery",
    "databricks-sql-connector": "databricks.sql",
    "mysqlclient": "MySQLdb",
    "psycopg2-binary": "psycopg2",
}


def run(*command: str | Path) -> str:
    """Return what the command printed; SystemExit with its error where it failed."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stderr[-4000:]}")
    return done.stdout


def oldest_accepted() -> dict[str, Requirement]:
    """Return pyproject.toml's bounds of what the warehouses take."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    return {requirement.name: requirement for requirement in map(Requirement, groups["warehouses"])}


def resolved(warehouse: Warehouse, python: str, *constraints: str | Path) -> dict[str, str]:
    """Return the releases that pip would install, by name."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write("\n".join([f"apache-airflow=={AIRFLOW}", str(ROOT), *warehouse.packages]))
        wanted.flush()
        printed = run(
            *(UV, "pip", "compile", "--quiet", "--no-annotate", "--no-header", "--python-version", python),
            *(wanted.name, *constraints),
        )
    pins = [Requirement(line) for line in printed.splitlines() if "==" in line]
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}


def check(warehouse: Warehouse, python: str, *constraints: str | Path) -> str:
    """Resolve the warehouse; return its packages' releases, or exit where one is older than what works."""
    releases = resolved(warehouse, python, *constraints)
    bounds = oldest_accepted()
    for package in warehouse.packages:
        if not bounds[package].specifier.contains(releases[package]):
            raise SystemExit(f"{warehouse.title}: {package} {releases[package]} is not {bounds[package]}")
    return ", ".join(f"{name} {releases[name]}" for name in dict.fromkeys((*warehouse.packages, warehouse.driver)))


def install(warehouse: Warehouse) -> None:
    """Install the warehouse with the constraints as a user does, and import what a DAG imports."""
    with tempfile.TemporaryDirectory(prefix="warehouse-") as folder:
        python = Path(folder, "venv", "bin", "python")
        run(UV, "venv", "--quiet", "--python", sys.executable, python.parent.parent)
        wanted = (f"apache-airflow=={AIRFLOW}", str(ROOT), *warehouse.packages)
        run(UV, "pip", "install", "--quiet", "--python", python, "-c", CONSTRAINTS, *wanted)
        run(UV, "pip", "check", "--quiet", "--python", python)
        module = MODULES.get(warehouse.driver, warehouse.driver.replace("-", "_"))
        run("env", f"AIRFLOW_HOME={folder}", python, "-c", IMPORT, warehouse.hook, module)


def table() -> str:
    """Return the Markdown table of what resolves together."""
    pins = [
        Requirement(line) for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    on_oldest = {
        pin.name: next(iter(pin.specifier)).version
        for pin in pins
        if pin.marker is None or pin.marker.evaluate({"python_version": "3.11", "python_full_version": "3.11.9"})
    }
    lines = ["| Warehouse | To install beside this package | Driver |", "|---|---|---|"]
    for warehouse in WAREHOUSES.values():
        packages = ", ".join(f"`{name}=={on_oldest[name]}`" for name in warehouse.packages)
        lines.append(f"| {warehouse.title} | {packages} | `{warehouse.driver}` {on_oldest[warehouse.driver]} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=WAREHOUSES, help="one warehouse")
    parser.add_argument("--install", action="store_true", help="also install each with the constraints")
    parser.add_argument("--table", action="store_true", help="print the documentation's table, and check nothing")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return
    stop_on_signals()
    for name in [arguments.only] if arguments.only else WAREHOUSES:
        warehouse = WAREHOUSES[name]
        for python in PYTHONS:
            print(f"{name}, Python {python}, constraints:   {check(warehouse, python, '-c', CONSTRAINTS)}", flush=True)
            print(f"{name}, Python {python}, Airflow alone: {check(warehouse, python)}", flush=True)
        if arguments.install:
            install(warehouse)
            print(f"{name}: installed, and {warehouse.hook.rpartition('.')[2]} imported", flush=True)


if __name__ == "__main__":
    main()
