"""A private MariaDB for a script: real, without root or a container, and removed with all its files at the end.

It needs the system's `mariadbd` and `mariadb-install-db` (Debian: `mariadb-server-core`), and PyMySQL to connect.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from running_server import running_server

PROGRAMS = ("mariadbd", "mariadb-install-db")
DATABASE = "ledger"
# Debian puts servers where only root's path reaches.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"])


@dataclass(frozen=True)
class MariaDb:
    """A running server; it listens on a Unix socket only."""

    socket: Path

    def get_uri(self) -> str:
        """The URL of an empty database, for SQLAlchemy and PyMySQL."""
        return f"mysql+pymysql://root@localhost/{DATABASE}?charset=utf8mb4&unix_socket={self.socket}"


def is_installed() -> bool:
    return all(shutil.which(program, path=_PATH) for program in PROGRAMS)


@contextmanager
def own_mariadb() -> Iterator[MariaDb]:
    """A running server.

    :raises FileNotFoundError: MariaDB is not installed.
    """
    if not is_installed():
        raise FileNotFoundError(f"MariaDB is not installed: {' and '.join(PROGRAMS)} are not on the path")
    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))  # a socket's path must be short
    try:
        data = f"--datadir={folder / 'data'}"
        # It runs as root only when it is told so, and as anybody else only when it is told nothing.
        user = ["--user=root"] if os.geteuid() == 0 else []
        install = [_path("mariadb-install-db"), "--no-defaults", data, *user]
        subprocess.run(  # noqa: S603
            [*install, "--auth-root-authentication-method=normal", "--skip-test-db"], check=True, capture_output=True
        )
        server = MariaDb(folder / "socket")
        options = [f"--socket={server.socket}", "--skip-networking", f"--pid-file={folder / 'pid'}", *user]
        # Small and fast: it must survive crashes of the clients, but not of the machine.
        options += ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=2"]
        command = [_path("mariadbd"), "--no-defaults", data, *options]
        with running_server(command, folder / "log", lambda: _make_database(server)):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def connection_to(url: str) -> dict[str, Any]:
    """Return an Airflow connection to the server's database."""
    return {
        "conn_type": "mysql",
        "host": "localhost",
        "login": "root",
        "schema": DATABASE,
        "extra": {"unix_socket": sa.make_url(url).query["unix_socket"], "charset": "utf8mb4"},
    }


def _make_database(server: MariaDb) -> None:
    """Make the empty database; it is an error while the server starts."""
    engine = sa.create_engine(sa.make_url(server.get_uri()).set(database=""), poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4"))


def _path(program: str) -> str:
    return shutil.which(program, path=_PATH) or program
