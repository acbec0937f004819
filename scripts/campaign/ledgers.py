"""The ledgers of a campaign's tasks: a SQLite database for each, or a server of the campaign's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from campaign.rows import Key

#: An Airflow connection, by the name of the memory.
Servers = Mapping[str, dict[str, Any]]


def ledger_connection(memory: str, folder: Path, servers: Servers) -> dict[str, Any] | None:
    """The Airflow connection to the ledger; None for a task with only a checkpoint."""
    if memory == "checkpoint":
        return None
    return {"conn_type": "sqlite", "host": str(folder / "ledger.db")} if memory == "sqlite" else servers[memory]


def claimed(connection: dict[str, Any], run_id: str) -> list[Key]:
    """The events that the run's last try was sending when it ended: it is unknown whether Adjust has them."""
    return _select(
        connection,
        "SELECT s.event_key, e.event_id FROM adjust_event e JOIN adjust_scope s ON s.id = e.scope_id "
        "JOIN adjust_try t ON t.id = e.try_id WHERE t.run_id = :given AND e.status = 0",
        run_id,
    )


def called_delivered(connection: dict[str, Any], story: str) -> list[Key]:
    """The events of a story that Adjust has according to the ledger."""
    return _select(
        connection,
        "SELECT event_token, event_id FROM adjust_delivery "
        "WHERE event_id LIKE :given AND status IN ('delivered', 'duplicate')",
        f"{story}-%",
    )


def engine_of(connection: dict[str, Any]) -> sa.Engine:
    kind = connection["conn_type"]
    if kind == "sqlite":
        url = sa.URL.create("sqlite", database=connection["host"])
    elif kind == "mysql":
        extra = connection["extra"]
        extra = json.loads(extra) if isinstance(extra, str) else extra
        url = sa.URL.create("mysql+pymysql", "root", host="localhost", database=connection["schema"], query=extra)
    else:
        query = {"host": connection["host"], "port": str(connection.get("port", 5432))}
        url = sa.URL.create("postgresql+psycopg2", "postgres", database="postgres", query=query)
    return sa.create_engine(url, poolclass=sa.pool.NullPool)


def _select(connection: dict[str, Any], query: str, given: str) -> list[Key]:
    with engine_of(connection).connect() as database:
        if not sa.inspect(database).has_table("adjust_event"):
            return []  # killed before it was made
        return [(event_token, event_id) for event_token, event_id in database.execute(sa.text(query), {"given": given})]
