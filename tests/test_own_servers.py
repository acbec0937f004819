"""The tests' own servers are real, are reached through the URL and the Airflow connection that they give, and leave nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import own_mariadb
import own_pgbouncer
import pytest
import sqlalchemy as sa
from running_server import running_server


def test_mariadb_answers_at_its_url(mariadb_url: str) -> None:
    with sa.create_engine(mariadb_url, poolclass=sa.pool.NullPool).connect() as connection:
        assert "MariaDB" in str(connection.scalar(sa.text("SELECT VERSION()")))
        assert connection.scalar(sa.text("SELECT DATABASE()")) == "ledger"
    extra = own_mariadb.connection_to(mariadb_url)["extra"]
    assert Path(extra["unix_socket"]).is_socket()


def test_pgbouncer_shares_the_servers_connections_between_transactions(pgbouncer_url: str) -> None:
    url = sa.make_url(pgbouncer_url).set(drivername="postgresql+psycopg2")
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    backends = set()
    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second) * 3:
            backends.add(connection.scalar(sa.text("SELECT pg_backend_pid()")))
            connection.commit()
    # Two clients that take turns need one of the server's connections.
    assert len(backends) == 1
    assert str(own_pgbouncer.connection_to(pgbouncer_url)["port"]) == url.query["port"]


def test_an_own_server_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not own_mariadb.is_installed():
        pytest.skip("MariaDB is not installed")
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")  # a socket's path must be short
    with own_mariadb.own_mariadb() as server:
        folder = server.socket.parent
        assert folder.is_dir()
    assert not folder.exists()


def test_a_server_that_ends_at_once_is_an_error_with_its_log(tmp_path: Path) -> None:
    def connect() -> None:
        raise ConnectionError("nobody answers")

    command = ["sh", "-c", "echo its words; exit 3"]
    with (
        pytest.raises(RuntimeError, match=r"(?s)nobody answers.*its words"),
        running_server(command, tmp_path / "log", connect),
    ):
        pass
