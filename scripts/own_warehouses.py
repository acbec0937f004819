"""Airflow's hook for each database driver that is installed, to a real server of one's own behind a proxy.

The servers are those of `own_postgres.py` and `own_mariadb.py`. Tests and `source_memory.py` read through them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pkgutil
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from airflow.providers.common.sql.hooks.sql import DbApiHook
from cut_proxy import Proxy, proxy_to
from own_mariadb import DATABASE
from own_postgres import socket_folder

CONN_ID = "warehouse"
CONNECTION = "AIRFLOW_CONN_WAREHOUSE"
#: Seconds after which a server has noticed that a connection has ended.
_SOON = 20
_MYSQL_HOOK = "airflow.providers.mysql.hooks.mysql"
POSTGRES_HOOK = "airflow.providers.postgres.hooks.postgres"
_REDSHIFT_HOOK = "airflow.providers.amazon.aws.hooks.redshift_sql"


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class PyMySqlHook(DbApiHook):
    """Airflow has no hook that connects by PyMySQL; users write their own."""

    conn_name_attr = "mysql_conn_id"
    conn_type = "mysql"

    def get_conn(self) -> Any:
        import pymysql
        from pymysql import cursors

        given = self.get_connection(self.get_conn_id())
        # As Airflow's own hook reads the connection's extra.
        cursor = cursors.DictCursor if given.extra_dejson.get("cursor") == "dictcursor" else cursors.Cursor
        return pymysql.connect(
            host=given.host or "", user=given.login, database=given.schema, port=given.port or 0, cursorclass=cursor
        )


@dataclass(frozen=True)
class Driver:
    """A driver and the server that it is tried with."""

    server: str
    hook: str
    connection: dict[str, Any]
    #: What the driver's module is named, where several are installed and Airflow's hook chooses.
    psycopg: int | None = None
    rewrite: Callable[[bytes], bytes] = field(default=bytes)


def _plain_start(packet: bytes) -> bytes:
    """The first packet of Postgres' protocol without what only Redshift knows."""
    known = {b"user", b"database", b"application_name", b"client_encoding"}
    words = packet[8:].split(b"\0")
    pairs = [(name, value) for name, value in zip(words[::2], words[1::2], strict=False) if name in known]
    body = packet[4:8] + b"".join(name + b"\0" + value + b"\0" for name, value in pairs) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


DRIVERS = {
    "pymysql": Driver("mariadb", "own_warehouses:PyMySqlHook", {"conn_type": "mysql"}),
    "mysqlclient": Driver("mariadb", f"{_MYSQL_HOOK}:MySqlHook", {"conn_type": "mysql"}),
    "mysql-connector": Driver(
        "mariadb", f"{_MYSQL_HOOK}:MySqlHook", {"conn_type": "mysql", "extra": {"client": "mysql-connector-python"}}
    ),
    "psycopg2": Driver("postgres", f"{POSTGRES_HOOK}:PostgresHook", {"conn_type": "postgres"}, psycopg=2),
    "psycopg3": Driver("postgres", f"{POSTGRES_HOOK}:PostgresHook", {"conn_type": "postgres"}, psycopg=3),
    "redshift_connector": Driver(
        "postgres",
        f"{_REDSHIFT_HOOK}:RedshiftSQLHook",
        {"conn_type": "redshift", "password": "x", "extra": {"ssl": False}},
        rewrite=_plain_start,
    ),
}
#: What must be installed for each.
MODULES = {
    "pymysql": ("pymysql",),
    "mysqlclient": ("MySQLdb", _MYSQL_HOOK),
    "mysql-connector": ("mysql.connector", _MYSQL_HOOK),
    "psycopg2": ("psycopg2",),
    "psycopg3": ("psycopg",),
    "redshift_connector": ("redshift_connector", _REDSHIFT_HOOK),
}


class Warehouse:
    """A server, a proxy before it, and a hook that connects through the proxy."""

    def __init__(self, driver: Driver, url: str, proxy: Proxy) -> None:
        self.driver = driver
        self.proxy = proxy
        self._engine = sa.create_engine(url, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT")

    def hook(self, **extra: Any) -> DbApiHook:
        """Airflow's hook, to a connection with that extra."""
        mysql = self.driver.server == "mariadb"
        given: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.proxy.port,
            "login": "root" if mysql else "postgres",
            "schema": DATABASE if mysql else "postgres",
            **self.driver.connection,
        }
        given["extra"] = {**given.get("extra", {}), **extra}
        os.environ[CONNECTION] = json.dumps(given)
        if self.driver.psycopg is not None:
            # Airflow's hook takes psycopg 3 where both are installed.
            pkgutil.resolve_name(POSTGRES_HOOK).USE_PSYCOPG3 = self.driver.psycopg == 3
        hook: DbApiHook = pkgutil.resolve_name(self.driver.hook)(CONN_ID)
        return hook

    def run(self, *statements: str) -> list[Any]:
        """The rows of the last statement, which an administrator runs."""
        rows: list[Any] = []
        with self._engine.connect() as connection:
            for statement in statements:
                result = connection.execute(sa.text(statement))
                rows = list(result) if result.returns_rows else []
        return rows

    def sessions(self) -> set[int]:
        """The server's sessions, without the one that asks."""
        return {number for (number,) in self.run(_SESSIONS[self.driver.server])}

    def kill(self, session: int) -> None:
        self.run(f"KILL {session}" if self.driver.server == "mariadb" else f"SELECT pg_terminate_backend({session})")

    @contextmanager
    def nothing_left(self) -> Iterator[Callable[[], int]]:
        """Check that the context leaves nothing on the server. Yields a function that returns its one session."""
        before = self.sessions()

        def session() -> int:
            [number] = self.sessions() - before
            return number

        yield session
        end = time.monotonic() + _SOON
        while self.sessions() - before:
            if time.monotonic() > end:
                raise TimeoutError("a session is left")

    def wait(self, condition: str) -> None:
        """Ask the server until it says yes."""
        end = time.monotonic() + _SOON
        while not self.run(condition)[0][0]:
            if time.monotonic() > end:
                raise TimeoutError(f"never true: {condition}")


_SESSIONS = {
    "mariadb": "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()",
    # With the locks and prepared transactions that would outlive a session.
    "postgres": "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
}


@contextmanager
def warehouse_of(driver: Driver, url: str) -> Iterator[Warehouse]:
    """The server at that URL of `own_postgres` or `own_mariadb`, read through the driver."""
    made = sa.make_url(url)
    mysql = driver.server == "mariadb"
    socket = str(made.query["unix_socket"]) if mysql else f"{socket_folder(url)}/.s.PGSQL.5432"
    with proxy_to(socket, driver.rewrite) as proxy:
        yield Warehouse(driver, url, proxy)
