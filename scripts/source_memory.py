"""Measure for each database driver that is installed what a query costs that is streamed: the table in docs/guides/warehouses.md.

    python scripts/source_memory.py
    python scripts/source_memory.py --only psycopg3 --rows 10000,100000

Rows have about 250 bytes. Each measurement has a process of its own, and its memory is counted above that of a query of one
row. Databases come from PyPI or from the system; what is not there is left out, and named. It needs Linux, and the Python of
`.venv-warehouses`, which `make test-warehouses` makes.
"""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

FETCH_SIZE = 2000
_LOAD = {
    "mariadb": (
        "CREATE TABLE purchases (number INT PRIMARY KEY, text VARCHAR(250))",
        "INSERT INTO purchases SELECT seq, REPEAT('x', 230) FROM seq_1_to_{rows}",
    ),
    "postgres": (
        "CREATE TABLE purchases (number INT PRIMARY KEY, text VARCHAR(250))",
        "INSERT INTO purchases SELECT number, REPEAT('x', 230) FROM generate_series(1, {rows}) AS number",
        "ANALYZE purchases",
    ),
}
_SQL = "SELECT number, text FROM purchases WHERE number <= {rows} ORDER BY number"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="10000,1000000", help="how many, separated by commas")
    parser.add_argument("--only", default="", help="drivers whose names have this in them")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(**json.loads(arguments.measure))))
        return
    sizes = [int(each) for each in arguments.rows.split(",")]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.environ |= {"AIRFLOW_HOME": folder, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
        head = ["driver", *(f"{rows:,} rows: memory, rows/s, first row" for rows in sizes), "killed in mid-stream"]
        print("|".join(["", *head, ""]))
        print("|".join(["", *("---" for _ in head), ""]))
        for name, given, session_of in settings(stack, Path(folder), max(sizes), arguments.only):
            cells = [_shown(_in_a_process(given | {"rows": rows})) for rows in sizes]
            print("|".join(["", name, *cells, _killed(given, session_of), ""]), flush=True)


def settings(stack: ExitStack, folder: Path, rows: int, only: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Each driver here, with what `measure` needs and, for servers, the warehouse that can kill."""
    yield from _embedded(folder, rows, only)
    yield from _servers(stack, rows, only)


def _embedded(folder: Path, rows: int, only: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    import sqlite3

    from own_warehouses import is_installed

    table = "CREATE TABLE purchases (number INTEGER PRIMARY KEY, text VARCHAR)"
    if only in "sqlite":
        path = folder / "purchases.db"
        with sqlite3.connect(path) as connection:
            connection.execute(table)
            connection.executemany("INSERT INTO purchases VALUES (?, ?)", ((n, "x" * 230) for n in range(1, rows + 1)))
        yield "SQLite", {"connection": {"conn_type": "sqlite", "host": str(path)}}, None
    if only in "duckdb" and is_installed("duckdb_provider"):
        import duckdb

        path = folder / "purchases.duckdb"
        with duckdb.connect(str(path)) as database:
            database.execute(table)
            database.execute(
                "INSERT INTO purchases SELECT n, repeat('x', 230) FROM range(1, ?) AS numbers(n)", [rows + 1]
            )
        yield "DuckDB", {"connection": {"conn_type": "duckdb", "host": str(path)}}, None


def _servers(stack: ExitStack, rows: int, only: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    from own_mariadb import is_installed as mariadb_is_installed
    from own_mariadb import own_mariadb
    from own_postgres import own_postgres
    from own_warehouses import DRIVERS, MODULES, is_installed, warehouse_of

    urls: dict[str, str] = {}
    for name, driver in DRIVERS.items():
        if only not in name:
            continue
        if not all(map(is_installed, MODULES[name])) or (driver.server == "mariadb" and not mariadb_is_installed()):
            print(f"not here: {name}", file=sys.stderr)
            continue
        if driver.server not in urls:
            server = own_mariadb() if driver.server == "mariadb" else own_postgres()
            urls[driver.server] = url = stack.enter_context(server).get_uri()
            with warehouse_of(driver, url) as warehouse:
                warehouse.run(*(each.format(rows=rows) for each in _LOAD[driver.server]))
        with warehouse_of(driver, urls[driver.server]) as warehouse:
            warehouse.hook()
            connection = json.loads(os.environ["AIRFLOW_CONN_WAREHOUSE"])
            yield name, {"connection": connection, "psycopg": driver.psycopg, "hook_class": driver.hook}, warehouse
            yield from _bridges(name, warehouse, urls[driver.server])


def _bridges(name: str, warehouse: Any, url: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """ODBC and JDBC to the same server, once for each."""
    import sqlalchemy as sa
    from own_warehouses import is_installed

    address = {"host": "127.0.0.1", "port": warehouse.proxy.port, "login": "postgres", "schema": "postgres"}
    jar = Path("/usr/share/java/postgresql.jar")
    if is_installed("pyodbc") and is_installed("airflow.providers.odbc"):
        import pyodbc

        if name == "pymysql" and "MariaDB Unicode" in pyodbc.drivers():
            socket = sa.make_url(url).query["unix_socket"]
            connection = {"conn_type": "odbc", "login": "root", "schema": "ledger", "extra": {"Socket": socket}}
            yield (
                "ODBC, MariaDB's driver",
                {"connection": connection, "hook_params": {"driver": "MariaDB Unicode"}},
                warehouse,
            )
        if name == "psycopg2" and "PostgreSQL Unicode" in pyodbc.drivers():
            for more, label in (
                ({}, "ODBC, psqlodbc"),
                ({"UseDeclareFetch": "1"}, "ODBC, psqlodbc, UseDeclareFetch=1"),
            ):
                connection = {"conn_type": "odbc", **address, "extra": more}
                yield label, {"connection": connection, "hook_params": {"driver": "PostgreSQL Unicode"}}, warehouse
    if name == "psycopg2" and is_installed("jaydebeapi") and jar.exists():
        host = f"jdbc:postgresql://127.0.0.1:{warehouse.proxy.port}/postgres"
        connection = {"conn_type": "jdbc", "host": host, "login": "postgres", "password": ""}
        driver = {"driver_path": str(jar), "driver_class": "org.postgresql.Driver"}
        yield "JDBC, Postgres' driver", {"connection": connection, "hook_params": driver}, warehouse


def measure(rows: int, **given: Any) -> dict[str, float]:
    """Memory above that of one row in MB, rows a second, and seconds to the first row, in this process."""
    hook = _hook(**given)
    from airflow_provider_adjust.sql_rows import stream_rows

    with stream_rows(hook, _SQL.format(rows=1), None, FETCH_SIZE) as found:
        list(found)
    _forget_peak()
    before = _memory("VmRSS")
    started = time.monotonic()
    first = None
    with stream_rows(hook, _SQL.format(rows=rows), None, FETCH_SIZE) as found:
        for _ in found:
            first = first or time.monotonic() - started
    seconds = time.monotonic() - started
    return {"memory": _memory("VmHWM") - before, "pace": rows / seconds, "first": first or 0.0}


def _hook(
    connection: dict[str, Any],
    hook_params: dict[str, Any] | None = None,
    psycopg: int | None = None,
    hook_class: str | None = None,
) -> Any:
    from own_warehouses import CONN_ID, CONNECTION, POSTGRES_HOOK

    from airflow_provider_adjust.sql_rows import sql_hook

    os.environ[CONNECTION] = json.dumps(connection)
    if psycopg is not None and connection["conn_type"] == "postgres":
        pkgutil.resolve_name(POSTGRES_HOOK).USE_PSYCOPG3 = psycopg == 3
    if hook_class is not None:
        return pkgutil.resolve_name(hook_class)(CONN_ID)
    return sql_hook(CONN_ID, hook_params)


def _forget_peak() -> None:
    """Let Linux restart its count of the peak: importing Airflow takes more than it keeps."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory(name: str) -> float:
    """MB of this process: VmRSS is what it has now, VmHWM the most that it had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024


def _in_a_process(given: dict[str, Any]) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _shown(found: dict[str, float]) -> str:
    return f"{found['memory']:,.0f} MB, {found['pace']:,.0f}, {found['first']:.2f} s"


def _killed(given: dict[str, Any], warehouse: Any) -> str:
    """What the driver says, after how many rows, and whether the server has anything left."""
    if warehouse is None:
        return "in the worker's own process"
    hook = _hook(**given)
    from airflow_provider_adjust.sql_rows import stream_rows

    read = 0
    try:
        with (
            warehouse.nothing_left() as session,
            stream_rows(hook, _SQL.format(rows=100_000), None, FETCH_SIZE) as found,
        ):
            for read, _ in enumerate(found, start=1):
                if read == 1:
                    warehouse.kill(session())
    except TimeoutError:
        return "a session is left"
    except Exception as error:
        return f"`{type(error).__name__}` after {read:,} rows; nothing left"
    return f"all {read:,} rows had been read before; nothing left"


if __name__ == "__main__":
    main()
