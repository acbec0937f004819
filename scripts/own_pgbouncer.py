"""A PgBouncer of a script's own in front of `own_postgres`, in transaction mode: without root or a container, and removed
with all its files at the end. It needs the system's `pgbouncer`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from own_postgres import connection_to as postgres_connection_to
from own_postgres import socket_folder
from running_server import running_server

_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
_PORT = 6432  # the name of a Unix socket; no port of the machine is taken
_CONFIGURATION = """
[databases]
postgres = host={postgres} dbname=postgres user=postgres
[pgbouncer]
pool_mode = {pool_mode}
default_pool_size = {pool_size}
auth_type = trust
auth_file = {folder}/users
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
unix_socket_mode = 0777
ignore_startup_parameters = extra_float_digits
"""


def is_installed() -> bool:
    return shutil.which("pgbouncer", path=_PATH) is not None


@contextmanager
def own_pgbouncer(postgres_url: str, *, pool_mode: str = "transaction", pool_size: int = 4) -> Iterator[str]:
    """Yield the URL of the server's database behind a pool that many clients share.

    :param pool_size: connections to the server. With fewer than there are clients, a client's next transaction runs on
        another client's connection, which is what transaction mode may break.
    :raises FileNotFoundError: PgBouncer is not installed.
    """
    program = shutil.which("pgbouncer", path=_PATH)
    if program is None:
        raise FileNotFoundError("PgBouncer is not installed: pgbouncer is not on the path")
    folder = Path(tempfile.mkdtemp(prefix="pgb-"))  # a socket's path must be short
    try:
        folder.chmod(0o777)
        settings: dict[str, Any] = {
            "postgres": socket_folder(postgres_url),
            "pool_mode": pool_mode,
            "pool_size": pool_size,
        }
        (folder / "ini").write_text(_CONFIGURATION.format(folder=folder, port=_PORT, **settings))
        (folder / "users").write_text('"postgres" ""\n')
        # It refuses to run as root; only the server's own user may enter the folder of the server's socket.
        owner = pwd.getpwuid(Path(settings["postgres"]).stat().st_uid).pw_name
        user = [f"--user={owner}"] if os.geteuid() == 0 else []
        url = f"postgresql://postgres:@/postgres?host={folder}&port={_PORT}"
        with running_server([program, *user, str(folder / "ini")], folder / "log", lambda: _connect(url)):
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def connection_to(url: str) -> dict[str, Any]:
    """Return an Airflow connection to the pool."""
    return postgres_connection_to(url) | {"port": _PORT}


def _connect(url: str) -> None:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"), poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
